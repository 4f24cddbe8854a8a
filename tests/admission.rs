//! What may run, from where, signed by whom. What may not is in the tests of bad input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use serde_json::json;
use wattle_tests::{
    Cli, GREETING, Host, HostOptions, Keys, Nats, Registry, Stage, TlsRegistry, guest, guest_path,
};

/// A host with these options, a command line for it, and what they need.
async fn host(options: impl FnOnce(&Registry) -> HostOptions) -> (Cli, Host, Registry, Nats) {
    let nats = Nats::start().await;
    let registry = Registry::start().await;
    let host = Host::start(&nats, options(&registry)).await;
    (Cli::new(&nats), host, registry, nats)
}

#[tokio::test]
async fn unsigned_components_run_where_that_is_allowed_by_name() {
    let keys = Keys::generate();
    let options =
        |registry: &Registry| HostOptions::new().insecure(registry).trust(&keys).arg("--allow-unsigned");
    let (cli, _host, registry, _nats) = host(options).await;
    let unsigned = registry.put("hello", "1.0.0", &guest("http-hello")).await;
    cli.run(["start", "component", &unsigned, "unsigned"]).await.ok();
    // A signature that does not hold is worse than none.
    let tampered = keys.sign_and_tamper(&guest("http-hello"), "Hello from", "Jello from");
    let tampered = registry.put("tampered", "1.0.0", &tampered).await;
    cli.run(["start", "component", &tampered, "tampered"]).await.failed(&["hash"]);
}

#[tokio::test]
async fn a_star_stands_for_every_issuer() {
    let options =
        |registry: &Registry| HostOptions::new().insecure(registry).arg("--trusted-issuer").arg("*");
    let (cli, _host, registry, _nats) = host(options).await;
    let reference = registry.put("hello", "1.0.0", &Keys::generate().sign(&guest("http-hello"))).await;
    cli.run(["start", "component", &reference, "hello"]).await.ok();
    let unsigned = registry.put("hello", "2.0.0", &guest("http-hello")).await;
    cli.run(["start", "component", &unsigned, "unsigned"]).await.failed(&["not signed"]);
}

#[tokio::test]
async fn several_issuers_are_trusted_and_nobody_else() {
    let (one, two, three) = (Keys::generate(), Keys::generate(), Keys::generate());
    let both = format!("{},{}", one.public_key(), two.public_key());
    let options =
        |registry: &Registry| HostOptions::new().insecure(registry).env("WATTLE_TRUSTED_ISSUERS", &both);
    let (cli, _host, registry, _nats) = host(options).await;
    for (name, keys) in [("one", &one), ("two", &two)] {
        let reference = registry.put(name, "1.0.0", &keys.sign(&guest("http-hello"))).await;
        cli.run(["start", "component", &reference, name]).await.ok();
    }
    let reference = registry.put("three", "1.0.0", &three.sign(&guest("http-hello"))).await;
    cli.run(["start", "component", &reference, "three"]).await.failed(&[&three.public_key()]);
}

#[tokio::test]
async fn local_files_run_signed_or_not_where_files_are_allowed_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let signed = folder.path().join("signed.wasm");
    std::fs::write(&signed, Keys::generate().sign(&guest("http-hello"))).unwrap();
    let (signed, unsigned) = (signed.display().to_string(), guest_path("http-hello").display().to_string());

    let (cli, _host, _registry, _nats) = host(|_| HostOptions::new().arg("--allow-file-load")).await;
    cli.run(["start", "component", &unsigned, "unsigned"]).await.ok();
    cli.run(["start", "component", &signed, "of-a-stranger"]).await.ok();

    let (cli, _host, _registry, _nats) =
        host(|_| HostOptions::new().arg("--trusted-issuer").arg("*").arg("--allow-unsigned")).await;
    for file in [&signed, &unsigned] {
        cli.run(["start", "component", file, "hello"])
            .await
            .failed(&["file loading is disabled", "--allow-file-load"]);
    }
}

#[tokio::test]
async fn the_tag_latest_runs_where_it_is_allowed() {
    let keys = Keys::generate();
    let options =
        |registry: &Registry| HostOptions::new().insecure(registry).trust(&keys).arg("--allow-latest");
    let (cli, _host, registry, _nats) = host(options).await;
    let latest = registry.put("hello", "latest", &keys.sign(&guest("http-hello"))).await;
    cli.run(["start", "component", &latest, "by-tag"]).await.ok();
    cli.run(["start", "component", &registry.reference("hello"), "without-tag"]).await.ok();
}

#[tokio::test]
async fn components_run_by_digest_and_from_artifacts_of_older_types() {
    let stage = Stage::start().await;
    let signed = stage.keys.sign(&guest("http-hello"));
    for (number, older) in
        ["application/vnd.module.wasm.content.layer.v1+wasm", "application/vnd.oci.image.layer.v1.tar"]
            .into_iter()
            .enumerate()
    {
        let name = format!("older-{number}");
        stage.registry.put_as(&name, "1.0.0", &signed, older).await;
        stage.start_component(&stage.registry.reference(&format!("{name}:1.0.0")), &name, &[]).await.ok();
    }
    let digest = stage.registry.put_as("hello", "1.0.0", &signed, wattle_tests::WASM_LAYER).await;
    let pinned = stage.registry.reference(&format!("hello@{digest}"));
    stage.start_component(&pinned, "pinned", &[]).await.ok();
    let url = stage.expose("pinned").await;
    stage.wait_for_page(&url, GREETING).await;
    let inventory = stage.running().await[0].take();
    let shown = inventory.as_array().unwrap().iter().find(|component| component["id"] == "pinned").unwrap();
    assert_eq!(shown["image_ref"], pinned);
}

#[tokio::test]
async fn a_registry_of_one_s_own_authority_is_reached_over_tls() {
    let registry = TlsRegistry::start().await;
    let keys = Keys::generate();
    let nats = Nats::start().await;
    let cli = Cli::new(&nats);
    std::fs::write(cli.folder().join("hello.wasm"), keys.sign(&guest("http-hello"))).unwrap();
    let reference = registry.reference("shop/hello:1.0.0");
    let ca = registry.authority().display().to_string();
    cli.run(["push", &reference, "hello.wasm"]).await.failed(&["certificate"]);
    cli.run(["push", &reference, "hello.wasm", "--registry-ca", &ca]).await.ok();

    let config = cli.folder().join("host.json");
    let file =
        json!({ "registries": { registry.host(): { "ca": [ca] } }, "trusted_issuers": [keys.public_key()] });
    std::fs::write(&config, file.to_string()).unwrap();
    let stranger = Host::start(&nats, HostOptions::new().trust(&keys)).await;
    let friend = Host::start(&nats, HostOptions::new().arg("--config").arg(&config)).await;
    let (stranger, friend) = (stranger.id(), friend.id());
    let start = ["start", "component", &reference, "hello", "--host"];
    cli.run(start.into_iter().chain([stranger.as_str()])).await.failed(&["certificate"]);
    cli.run(start.into_iter().chain([friend.as_str()])).await.ok();
}

#[tokio::test]
async fn a_provider_program_is_verified_and_then_told_what_it_would_need() {
    let stage = Stage::start().await;
    let account = stage.keys.account_file().display().to_string();
    std::fs::write(stage.cli.folder().join("program"), "#!/bin/sh\n").unwrap();
    let target = format!("{}-linux=program", std::env::consts::ARCH);
    let create = async |issuer: &str, target: &str, file: &str| {
        let words = ["par", "create", "--name", "Store", "--vendor", "acme", "--binary", target, "-d", file];
        stage.cli.run(words.into_iter().chain(["--issuer", issuer])).await.ok();
        let reference = stage.registry.reference(&format!("{}:1.0.0", file.split('.').next().unwrap()));
        stage.cli.run(["push", &reference, file, "--insecure"]).await.ok();
        reference
    };
    let host = stage.host.id();
    let start = async |reference: &str| {
        let outcome = stage.cli.run(["start", "provider", reference, "store", "--host", &host]).await;
        let failed =
            stage.events.wait_for("provider_start_failed", |data| data["provider_ref"] == reference).await;
        (outcome, failed["error"].as_str().unwrap().to_owned())
    };

    let good = create(&account, &target, "good.par.gz").await;
    let (outcome, reason) = start(&good).await;
    outcome.failed(&[&reason, "Store", "unsealed calls of wasmCloud 1.x"]);

    stage.cli.run(["keys", "gen", "account", "--name", "stranger"]).await.ok();
    let strange = create("stranger", &target, "strange.par.gz").await;
    let (outcome, reason) = start(&strange).await;
    outcome.failed(&[&reason, "issuer"]);

    let elsewhere = create(&account, "pdp11-unix=program", "elsewhere.par.gz").await;
    let (outcome, reason) = start(&elsewhere).await;
    outcome.failed(&[&reason, "linux"]);

    // The program was changed after it was signed; uncompressed, so that it is found in the file.
    create(&account, &target, "changed.par").await;
    let mut bytes = std::fs::read(stage.cli.folder().join("changed.par")).unwrap();
    let place = bytes.windows(9).position(|window| window == b"#!/bin/sh").unwrap();
    bytes[place + 8] = b'z';
    std::fs::write(stage.cli.folder().join("changed.par"), &bytes).unwrap();
    let inspected = stage.cli.run(["claims", "inspect", "changed.par", "-o", "json"]).await;
    assert!(
        inspected.code == Some(1) && inspected.json()["problem"].as_str().unwrap().contains("hash"),
        "{inspected}"
    );
    let layer = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
    stage.registry.put_as("changed", "1.0.0", &bytes, layer).await;
    let (outcome, reason) = start(&stage.registry.reference("changed:1.0.0")).await;
    outcome.failed(&[&reason, "hash"]);
    assert_eq!(stage.running().await[1], json!([]));
}
