//! The program itself, as far as it needs neither NATS nor a registry.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn wattle(home: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(words)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .output()
        .unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_component_is_signed_and_inspected() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let line = ["claims", "sign", "hello.wasm", "--tag", "a", "--tag", "b", "-o", "json"];
    let signed = wattle(home, &line);
    assert!(signed.status.success(), "{}", errors(&signed));
    assert!(errors(&signed).contains("default-account"), "the new key is announced");

    let inspected = wattle(home, &["claims", "inspect", "hello_s.wasm", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(0));
    let said = json(&inspected);
    assert_eq!((said["kind"].as_str(), said["name"].as_str()), (Some("component"), Some("hello")));
    assert_eq!(said["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(said["subject"], json(&signed)["subject"]);
    let key = wattle(home, &["keys", "get", "default-account", "-o", "json"]);
    assert_eq!(said["issuer"], json(&key)["public_key"]);

    let again = wattle(home, &line);
    assert_eq!(json(&again)["subject"], said["subject"], "the component keeps its id");
    assert_eq!(errors(&again), "");

    let unsigned = wattle(home, &["claims", "inspect", "hello.wasm", "-o", "json"]);
    assert_eq!(unsigned.status.code(), Some(1));
    assert_eq!(json(&unsigned)["valid"], false);
}

#[test]
fn a_signature_from_the_past_is_told_from_one_that_holds() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let later = wattle(
        home,
        &["claims", "sign", "hello.wasm", "--not-before-in-days", "1", "--destination", "later.wasm"],
    );
    assert!(later.status.success(), "{}", errors(&later));
    let inspected = wattle(home, &["claims", "inspect", "later.wasm", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(1));
    assert!(json(&inspected)["problem"].as_str().unwrap().contains("not valid before"));
}

#[test]
fn a_core_module_is_signed_with_a_warning_that_helps() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let signed = wattle(home, &["claims", "sign", "core.wasm"]);
    assert!(signed.status.success());
    assert!(errors(&signed).contains("wasm-tools component new"), "{}", errors(&signed));
}

#[test]
fn a_provider_archive_is_made_and_inspected() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("program"), "#!/bin/sh").unwrap();
    let line = [
        "par",
        "create",
        "--name",
        "kv",
        "--vendor",
        "acme",
        "--binary",
        "x86_64-linux=program",
        "-d",
        "kv.par.gz",
    ];
    let made = wattle(home, &line);
    assert!(made.status.success(), "{}", errors(&made));
    let inspected = wattle(home, &["par", "inspect", "kv.par.gz", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(0));
    let said = json(&inspected);
    assert_eq!((said["kind"].as_str(), said["vendor"].as_str()), (Some("provider"), Some("acme")));
    assert!(said["target_hashes"]["x86_64-linux"].is_string());
}

#[test]
fn errors_have_codes_and_a_form_for_programs() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (line, code) in [
        (&["keys", "get", "nobody", "-o", "json"][..], 3),
        (&["claims", "inspect", "missing.wasm", "-o", "json"], 3),
        (&["push", "registry.example/a:1", "missing.wasm", "-o", "json"], 3),
        (&["push", "registry.example/a", "missing.wasm", "-o", "json"], 2),
        (&["start", "component", "registry.example/a:1", "not.an.id", "-o", "json"], 2),
        (&["get", "hosts", "--nats-url", "nats://127.0.0.1:1", "-o", "json"], 1),
        (&["host", "--config", "missing.json", "-o", "json"], 3),
        (&["host", "--nats-url", "nats://ada:hunter2@hub", "-o", "json"], 2),
        (&["host", "--cluster-seed", "BAD", "-o", "json"], 2),
        (&["host", "--allow-insecure", "http://hub", "-o", "json"], 2),
        (&["up", "--nats-port", "0", "-o", "json"], 2),
    ] {
        let output = wattle(home, line);
        assert_eq!(output.status.code(), Some(code), "{line:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        let error = error["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("hunter2"), "{line:?}");
        assert!(output.stdout.is_empty(), "{line:?}");
    }
}

#[test]
fn a_bad_setting_is_told_without_the_usage_of_the_program() {
    let home = tempfile::tempdir().unwrap();
    let refused = wattle(home.path(), &["host", "--cluster-seed", "BAD"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = errors(&refused);
    assert!(told.starts_with("error: --cluster-seed: ") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_bad_seed_in_the_environment_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["claims", "sign", "hello.wasm"])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("WATTLE_ISSUER_SEED", "SABAD")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", errors(&refused));
    assert!(errors(&refused).contains("WATTLE_ISSUER_SEED") && !errors(&refused).contains("SABAD"));
}

#[test]
fn swapped_words_of_push_are_noticed() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let refused = wattle(home.path(), &["push", "hello.wasm", "registry.example/hello:1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("the reference comes first"), "{}", errors(&refused));
}

#[test]
fn up_explains_the_flags_that_mean_something_else_there() {
    let home = tempfile::tempdir().unwrap();
    let help = wattle(home.path(), &["up", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for part in ["[default: core]", "wattle/up]", "--data-dir"] {
        assert!(help.contains(part), "{help}");
    }
    assert!(!help.contains("./host_config.json") && !help.contains("the NATS server's own"), "{help}");
}

#[test]
fn a_key_is_printed_once_or_kept() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let printed = json(&wattle(home, &["keys", "gen", "account", "-o", "json"]));
    assert_eq!(printed["kind"], "account");
    assert!(printed["seed"].as_str().unwrap().starts_with("SA"));
    let kept = json(&wattle(home, &["keys", "gen", "cluster", "--name", "lab", "-o", "json"]));
    assert!(kept.get("seed").is_none());
    let shown = json(&wattle(home, &["keys", "get", "lab", "--seed", "-o", "json"]));
    assert!(shown["seed"].as_str().unwrap().starts_with("SC"));
    let list = json(&wattle(home, &["keys", "list", "-o", "json"]));
    assert_eq!(list[0]["public_key"], kept["public_key"]);
}

#[test]
fn every_shell_gets_its_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = wattle(home.path(), &["completions", shell]);
        assert!(script.status.success());
        assert!(String::from_utf8_lossy(&script.stdout).contains("inventory"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
mod children {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_child_dies_with_its_parent_even_when_that_is_killed() {
        let mut parent = Command::new("sh")
            .arg("-c")
            .arg("\"$0\" exec-child --parent $$ -- sleep 600 & echo $!; wait")
            .arg(env!("CARGO_BIN_EXE_wattle"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let status = format!("/proc/{}/cmdline", line.trim());
        let command = || std::fs::read_to_string(&status).unwrap_or_default();
        until("the child has become the other program", || command().starts_with("sleep"));
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the child is gone", || command().is_empty());
    }

    #[test]
    fn a_child_of_somebody_else_does_not_start() {
        let home = tempfile::tempdir().unwrap();
        let refused = wattle(home.path(), &["exec-child", "--parent", "1", "--", "touch", "made"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(errors(&refused).contains("not the parent"), "{}", errors(&refused));
        assert!(!home.path().join("made").exists());
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "waited 10 s: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs `wattle` in the folder, with the text as its standard input.
fn with_input(home: &Path, words: &[&str], text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(words)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_client_is_certified_by_a_stored_cluster_key() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let cluster = wattle(home, &["keys", "gen", "cluster", "--name", "lab", "-o", "json"]);
    let cluster = json(&cluster)["public_key"].as_str().unwrap().to_owned();
    let line = ["cluster", "issue", "--cluster-key", "lab", "--lattice", "lab", "--new-key", "alice.nk"];
    let line = [&line[..], &["--may-call", "hello,echo", "--may-spy", "hello", "--expires", "2d"]].concat();
    let issued = wattle(home, &line);
    assert!(issued.status.success(), "{}", errors(&issued));
    let certificate = String::from_utf8(issued.stdout).unwrap();
    assert_eq!(certificate.lines().count(), 1, "nothing else goes to standard output");
    let seed = std::fs::read_to_string(home.join("alice.nk")).unwrap();
    assert!(seed.starts_with("SU") && !errors(&wattle(home, &line)).contains(seed.trim()));
    assert_eq!(std::fs::read_to_string(home.join("alice.nk")).unwrap(), seed, "a seed is not replaced");

    let inspected = with_input(home, &["cluster", "inspect", "-", "-o", "json"], &certificate);
    assert_eq!(inspected.status.code(), Some(0), "{}", errors(&inspected));
    let said = json(&inspected);
    let own = &said["certificates"][0];
    assert_eq!((own["role"].as_str(), own["lattice"].as_str()), (Some("client"), Some("lab")));
    assert_eq!(own["may_call"], serde_json::json!(["echo", "hello"]));
    assert_eq!(
        (&own["may_spy"], &own["answers_for"]),
        (&serde_json::json!(["hello"]), &serde_json::json!([]))
    );
    assert_eq!(own["issuer"], cluster.as_str());
    let life = own["expires"].as_u64().unwrap() - own["not_before"].as_u64().unwrap();
    assert_eq!(life, 2 * 24 * 3600);
    assert_eq!((said["valid"].as_bool(), said["issuer_compared"].as_bool()), (Some(true), Some(false)));

    // Again for the same key, from the file with its seed, and into a file that only its owner reads.
    let again =
        ["cluster", "issue", "alice.nk", "--cluster-key", "lab", "--lattice", "lab", "--may-call", "all"];
    let again = wattle(home, &[&again[..], &["-d", "alice.jwt", "-o", "json"]].concat());
    assert!(again.status.success(), "{}", errors(&again));
    assert_eq!((&json(&again)["subject"], &json(&again)["may_call"]), (&own["subject"], &"all".into()));
    let mode = std::fs::metadata(home.join("alice.jwt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_certificate_that_is_not_good_is_told_and_why() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for name in ["lab", "other"] {
        assert!(wattle(home, &["keys", "gen", "cluster", "--name", name]).status.success());
    }
    let host = json(&wattle(home, &["keys", "gen", "host", "-o", "json"]))["public_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let line =
        ["cluster", "issue", &host, "--cluster-key", "lab", "--answers-for", "hello", "-d", "edge.jwt"];
    let issued = wattle(home, &line);
    assert!(errors(&issued).contains("--cluster-issuer C"), "{}", errors(&issued));
    let key = |name| {
        json(&wattle(home, &["keys", "get", name, "-o", "json"]))["public_key"].as_str().unwrap().to_owned()
    };
    let (trusted, stranger) = (key("lab"), key("other"));
    let inspect = |more: &[&str]| wattle(home, &[&["cluster", "inspect", "edge.jwt"], more].concat());
    let good = inspect(&["--cluster-issuer", &trusted]);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{text}");
    for line in ["role         host", "answers for  hello", "speaks for   hello", "lattice      default"] {
        assert!(text.contains(line), "{text}");
    }
    for (more, why) in [
        (&["--cluster-issuer", stranger.as_str()][..], "not one of the cluster issuers"),
        (&["--lattice", "attic"], "it is for the lattice `default`"),
    ] {
        let bad = inspect(more);
        let text = String::from_utf8_lossy(&bad.stdout).into_owned();
        assert!(bad.status.code() == Some(1) && text.contains("NO: ") && text.contains(why), "{text}");
    }
    std::fs::write(home.join("junk.jwt"), "a.b.c").unwrap();
    assert_eq!(wattle(home, &["cluster", "inspect", "junk.jwt"]).status.code(), Some(1));
    assert_eq!(wattle(home, &["cluster", "inspect", "missing.jwt"]).status.code(), Some(3));
}

#[test]
fn what_a_role_can_not_have_is_not_issued() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert!(wattle(home, &["keys", "gen", "cluster", "--name", "lab"]).status.success());
    let public = |kind| {
        json(&wattle(home, &["keys", "gen", kind, "-o", "json"]))["public_key"].as_str().unwrap().to_owned()
    };
    let (host, user, account) = (public("host"), public("user"), public("account"));
    let mistyped = format!("{}A", &host[..55]);
    for (words, why) in [
        (&[host.as_str(), "--may-call", "hello"][..], "may_call"),
        (&[&user, "--answers-for", "hello", "--may-call", "x"], "a client speaks only for itself"),
        (&[&user], "--may-call"),
        (&[&user, "--role", "provider"], "--answers-for"),
        (&[&user, "--role", "provider", "--answers-for", "all"], "list the ids"),
        (&[&user, "--role", "host"], "has a host key"),
        (&[&account, "--may-call", "x"], "account key"),
        (&[&user, "--may-call", "a b"], "letters, digits"),
        (&[&user, "--may-call", "all,x"], "`all`"),
        (&[&mistyped], "checksum"),
    ] {
        let refused = wattle(home, &[&["cluster", "issue", "--cluster-key", "lab"], words].concat());
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {}", errors(&refused));
        assert!(errors(&refused).contains(why), "{words:?}: {}", errors(&refused));
        assert!(refused.stdout.is_empty());
    }
    let nobody = wattle(home, &["cluster", "issue", &user, "--may-call", "x"]);
    assert!(
        nobody.status.code() == Some(2) && errors(&nobody).contains("--cluster-key"),
        "{}",
        errors(&nobody)
    );
    let bad = wattle(home, &["cluster", "issue", &user, "--may-call", "x", "--cluster-seed", "SCNOTASEED"]);
    assert!(bad.status.code() == Some(2) && !errors(&bad).contains("SCNOTASEED"), "{}", errors(&bad));
}
