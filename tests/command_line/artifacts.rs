//! Into a registry and out of it again.

use data_encoding::BASE64;
use http::{Request, header};
use serde_json::{Value, json};
use wattle_tests::{
    Cli, Host, HostOptions, Keys, Nats, PASSWORD, Registry, USER, fetch, guest, guest_path, sha256,
};

/// A folder with a signed component in it.
fn with_component(cli: Cli, keys: &Keys) -> (Cli, Vec<u8>) {
    let signed = keys.sign(&guest("http-hello"));
    std::fs::write(cli.folder().join("hello.wasm"), &signed).unwrap();
    (cli, signed)
}

async fn manifest(registry: &Registry, name: &str, reference: &str) -> Value {
    let url = format!("http://{}/v2/{name}/manifests/{reference}", registry.host());
    let request = Request::get(url).header(header::ACCEPT, "application/vnd.oci.image.manifest.v1+json");
    let answer = fetch(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn what_is_pushed_is_what_is_pulled() {
    let registry = Registry::start().await;
    let (cli, signed) = with_component(Cli::anywhere(), &Keys::generate());
    let reference = registry.reference("shop/hello:1.0.0");
    let push = [
        "push",
        &reference,
        "hello.wasm",
        "--insecure",
        "--annotation",
        "org.example.team=blue",
        "-o",
        "json",
    ];
    let pushed = cli.run(push).await.ok().json();
    assert_eq!(pushed["digest"], sha256(&signed));
    let again = cli.run(push).await.ok().json();
    assert_eq!(again, pushed, "the same component is the same artifact");

    let stored = manifest(&registry, "shop/hello", "1.0.0").await;
    assert_eq!(stored["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(stored["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(stored["annotations"]["org.example.team"], "blue");

    let pinned = pushed["pinned"].as_str().unwrap();
    assert!(pinned.contains("@sha256:"), "{pinned}");
    for (reference, file) in [(reference.as_str(), "by-tag.wasm"), (pinned, "by-digest.wasm")] {
        let pull = ["pull", reference, "--insecure", "-d", file, "-o", "json"];
        let pulled = cli.run(pull).await.ok().json();
        assert_eq!((&pulled["kind"], &pulled["digest"]), (&json!("component"), &pushed["digest"]));
        assert!(std::fs::read(cli.folder().join(file)).unwrap() == signed, "{file} is another component");
    }
    // The usual name is the artifact's, and what is there is not written over.
    let pull = ["pull", &reference, "--insecure"];
    cli.run(pull).await.failed(&["hello.wasm", "--force"]);
    std::fs::write(cli.folder().join("hello.wasm"), "precious").unwrap();
    cli.run(pull.into_iter().chain(["--force"])).await.ok();
    assert!(std::fs::read(cli.folder().join("hello.wasm")).unwrap() == signed, "it is another component");
    let inspected = cli.run(["claims", "inspect", &reference, "--insecure", "-o", "json"]).await.ok().json();
    assert_eq!(inspected["valid"], true);
}

#[tokio::test]
async fn a_provider_archive_goes_in_and_out_as_well() {
    let registry = Registry::start().await;
    let cli = Cli::anywhere();
    std::fs::write(cli.folder().join("program"), "#!/bin/sh\n").unwrap();
    let create = [
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
    cli.run(create).await.ok();
    let reference = registry.reference("shop/kv:1.0.0");
    let pushed = cli.run(["push", &reference, "kv.par.gz", "--insecure", "-o", "json"]).await.ok().json();
    assert_eq!(pushed["kind"], "provider");
    let pulled =
        cli.run(["pull", &reference, "--insecure", "-d", "back.par.gz", "-o", "json"]).await.ok().json();
    assert_eq!(pulled["kind"], "provider");
    let read = |name: &str| std::fs::read(cli.folder().join(name)).unwrap();
    assert!(read("back.par.gz") == read("kv.par.gz"), "it is another archive");
}

#[tokio::test]
async fn what_a_host_would_refuse_is_said_before_it_is_pushed() {
    let registry = Registry::start().await;
    let (cli, _) = with_component(Cli::anywhere(), &Keys::generate());
    let unsigned = guest_path("http-hello").display().to_string();
    let reference = registry.reference("shop/hello:1.0.0");
    let pushed = cli.run(["push", &reference, &unsigned, "--insecure"]).await.ok();
    assert!(pushed.stderr.contains("not signed"), "{pushed}");
    std::fs::write(cli.folder().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    cli.run(["push", &reference, "core.wasm", "--insecure"])
        .await
        .failed(&["core module", "wasm-tools component new"]);
    std::fs::write(cli.folder().join("text"), "hello").unwrap();
    cli.run(["push", &reference, "text", "--insecure"])
        .await
        .failed(&["neither WebAssembly nor a provider archive"]);

    let (latest, bare) = (registry.reference("shop/hello:latest"), registry.reference("shop/hello"));
    for latest in [&latest, &bare] {
        cli.run(["push", latest, "hello.wasm", "--insecure"]).await.failed(&["latest", "--allow-latest"]);
    }
    cli.run(["push", &latest, "hello.wasm", "--insecure", "--allow-latest"]).await.ok();
    for latest in [&latest, &bare] {
        cli.run(["pull", latest, "--insecure"]).await.failed(&["latest"]);
        cli.run(["pull", latest, "--insecure", "--allow-latest", "--force", "-d", "latest.wasm"]).await.ok();
    }
    cli.run(["push", &registry.reference("a:1"), "hello.wasm"]).await.failed(&["--insecure"]);
    let missing =
        cli.run(["pull", &registry.reference("shop/none:1"), "--insecure"]).await.failed(&["shop/none:1"]);
    assert_eq!(missing.code, Some(3), "{missing}");
}

#[tokio::test]
async fn a_registry_with_a_password_is_opened_by_flag_variable_and_docker_configuration() {
    let registry = Registry::start_with_login().await;
    let keys = Keys::generate();
    let reference = registry.reference("shop/hello:1.0.0");
    let push = ["push", &reference, "hello.wasm", "--insecure"];

    let (cli, _) = with_component(Cli::anywhere(), &keys);
    cli.run(push).await.failed(&["anonymous"]);
    cli.run(push.into_iter().chain(["--user", USER, "--password", "wrong"])).await.failed(&[USER]);
    cli.run(push.into_iter().chain(["--user", USER, "--password", PASSWORD])).await.ok();

    let login = |registry: String| {
        let cli = Cli::anywhere().env("WATTLE_OCI_REGISTRY", registry);
        cli.env("WATTLE_OCI_REGISTRY_USER", USER).env("WATTLE_OCI_REGISTRY_PASSWORD", PASSWORD)
    };
    let (cli, _) = with_component(login("registry.example".to_owned()), &keys);
    cli.run(push).await.failed(&["anonymous"]); // the password of one registry is not told to another
    let (cli, signed) = with_component(login(registry.host()), &keys);
    cli.run(push).await.ok();

    // The user's docker configuration, for the command line and for a host.
    let cli = Cli::anywhere();
    let docker = cli.folder().join("home/.docker");
    std::fs::create_dir(&docker).unwrap();
    let login = BASE64.encode(format!("{USER}:{PASSWORD}").as_bytes());
    let config = json!({ "auths": { registry.host(): { "auth": login } } });
    std::fs::write(docker.join("config.json"), config.to_string()).unwrap();
    cli.run(["pull", &reference, "--insecure", "-d", "back.wasm"]).await.ok();
    assert!(std::fs::read(cli.folder().join("back.wasm")).unwrap() == signed, "it is another component");

    let nats = Nats::start().await;
    let options = HostOptions::new().trust(&keys).insecure(&registry);
    let host = Host::start(&nats, options.env("DOCKER_CONFIG", &docker)).await;
    Cli::new(&nats).run(["start", "component", &reference, "hello"]).await.ok();
    assert!(!host.log().contains(PASSWORD) && !host.log().contains(&login));
}
