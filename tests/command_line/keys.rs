//! Keys and signatures, without any lattice.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use wattle_tests::{Cli, Keys, guest, guest_path, now, sign_for, table_rows};

#[tokio::test]
async fn keys_are_made_shown_and_listed() {
    let cli = Cli::anywhere();
    let kinds = [
        ("account", "SA", 'A'),
        ("component", "SM", 'M'),
        ("provider", "SV", 'V'),
        ("host", "SN", 'N'),
        ("cluster", "SC", 'C'),
    ];
    for (kind, seed, public) in kinds {
        let key = cli.run(["keys", "gen", kind, "-o", "json"]).await.ok().json();
        assert!(key["seed"].as_str().unwrap().starts_with(seed), "{kind}");
        assert_eq!(key["seed"].as_str().unwrap().len(), 58, "{kind}");
        assert!(key["public_key"].as_str().unwrap().starts_with(public), "{kind}");
        assert_eq!(key["public_key"].as_str().unwrap().len(), 56, "{kind}");
    }
    let made = cli.run(["keys", "gen", "account", "--name", "release", "-o", "json"]).await.ok().json();
    let file = made["path"].as_str().unwrap();
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = cli.run(["keys", "get", "release"]).await.ok().stdout;
    assert!(shown.contains(made["public_key"].as_str().unwrap()), "{shown}");
    let seed = std::fs::read_to_string(file).unwrap();
    assert!(!shown.contains(seed.trim()), "a seed is shown to who asks for it only");
    let list = cli.run(["keys", "list", "-o", "json"]).await.ok().json();
    assert_eq!(list, json!([made]));
    let rows = table_rows(&cli.run(["keys", "list"]).await.ok().stdout);
    assert_eq!((rows.len(), rows[0]["NAME"].as_str(), rows[0]["KIND"].as_str()), (1, "release", "account"));
    cli.run(["keys", "gen", "account", "--name", "release"]).await.failed(&["release"]);
    assert_eq!(cli.run(["keys", "get", "nobody"]).await.failed(&["nobody"]).code, Some(3));
    let again = cli.run(["keys", "get", "release", "-o", "json"]).await.ok().json();
    assert_eq!(again, made, "the key that was there is still there");
}

#[tokio::test]
async fn a_signature_is_shown_with_what_it_says_and_whether_it_holds() {
    let cli = Cli::anywhere();
    let keys = Keys::generate();
    let (issuer, subject) =
        (keys.account_file().display().to_string(), keys.component_file().display().to_string());
    let file = guest_path("http-hello").display().to_string();
    let sign = ["claims", "sign", &file, "--issuer", &issuer, "--subject", &subject, "-d", "signed.wasm"];
    let details = ["--name", "Hello", "--version", "1.2.3", "--revision", "4", "--tag", "a", "--tag", "b"];
    let times = ["--call-alias", "acme/hello", "--expires-in-days", "30"];
    cli.run(sign.into_iter().chain(details).chain(times)).await.ok();

    let said = cli.run(["claims", "inspect", "signed.wasm", "-o", "json"]).await.ok().json();
    assert_eq!(said["issuer"], keys.public_key());
    assert_eq!(
        (&said["name"], &said["version"], &said["revision"]),
        (&json!("Hello"), &json!("1.2.3"), &json!(4))
    );
    assert_eq!((&said["tags"], &said["call_alias"]), (&json!(["a", "b"]), &json!("acme/hello")));
    assert_eq!((&said["valid"], &said["problem"]), (&json!(true), &json!(null)));
    assert!(said["expires"].as_u64().unwrap() > now());
    let text = cli.run(["claims", "inspect", "signed.wasm"]).await.ok().stdout;
    for part in ["Hello", "1.2.3", "a, b", "acme/hello", &keys.public_key(), "valid"] {
        assert!(text.contains(part), "`{part}` is not said: {text}");
    }

    let hello = guest("http-hello");
    for (name, bytes, problem) in [
        ("tampered.wasm", keys.sign_and_tamper(&hello, "Hello from", "Jello from"), "hash"),
        ("expired.wasm", sign_for(&keys, &hello, None, Some(now() - 10)), "expired"),
        ("early.wasm", sign_for(&keys, &hello, Some(now() + 1000), None), "not valid before"),
        ("unsigned.wasm", hello.clone(), "not signed"),
    ] {
        std::fs::write(cli.folder().join(name), bytes).unwrap();
        let outcome = cli.run(["claims", "inspect", name, "-o", "json"]).await;
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert_eq!(outcome.json()["valid"], false, "{outcome}");
        assert!(outcome.json()["problem"].as_str().unwrap().contains(problem), "{outcome}");
        let text = cli.run(["claims", "inspect", name]).await;
        assert!(text.code == Some(1) && text.stdout.contains("NOT VALID"), "{text}");
    }
}
