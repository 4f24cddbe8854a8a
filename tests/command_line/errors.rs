//! A command that fails says what, on what, why, what to do, and has an exit code of its own kind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use wattle_tests::{Cli, DEADLINE, Host, HostOptions, Nats, Stage, eventually, free_port, guest_path};

#[tokio::test]
async fn exit_codes_tell_what_kind_of_failure_it_was() {
    let stage = Stage::start().await;
    let cli = &stage.cli;
    for (words, code) in [
        (&["get", "hosts"][..], 0),
        (&["frobnicate"], 2),
        (&["get", "hosts", "--frobnicate"], 2),
        (&["start", "component", "registry.example/a:1"], 2),
        (&["start", "component", "not a reference", "a"], 2),
        (&["start", "component", "registry.example/a:1", "not.an.id"], 2),
        (&["get", "hosts", "--lattice", "a.b"], 2),
        (&["get", "hosts", "--timeout", "soon"], 2),
        (&["link", "put", "a", "b", "wasi", "http"], 2),
        (&["get", "inventory", "no-such-host"], 3),
        (&["get", "config", "no-such-config"], 3),
        (&["stop", "component", "no-such-component"], 3),
        (&["scale", "component", "no-such-component", "3"], 3),
        (&["update", "component", "no-such-component", "registry.example/a:1"], 3),
        (&["stop", "provider", "no-such-provider"], 3),
        (&["stop", "host", "no-such-host"], 3),
        (&["label", "no-such-host", "a=b"], 3),
        (&["keys", "get", "no-such-key"], 3),
        (&["start", "component", "registry.example/a:1", "a", "--constraint", "zone=moon"], 3),
        (&["link", "put", "a", "b", "wasi", "http", "--interface", "x", "--source-config", "none"], 1),
        (&["claims", "inspect", "no-such-file.wasm"], 3),
    ] {
        let outcome = cli.run(words).await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
        if code != 0 {
            assert!(outcome.stdout.is_empty() && outcome.stderr.starts_with("error:"), "{outcome}");
            let json = cli.run(words.iter().chain(&["-o", "json"])).await;
            assert_eq!(json.code, Some(code), "{json}");
            let error: Value = serde_json::from_str(&json.stderr).unwrap_or_else(|_| panic!("{json}"));
            assert!(error["error"].is_string() && json.stdout.is_empty(), "{json}");
        }
    }
}

#[tokio::test]
async fn no_server_and_no_host_are_told_apart() {
    let port = free_port();
    let nowhere = Cli::anywhere().env("WATTLE_NATS_URL", format!("nats://127.0.0.1:{port}"));
    let outcome =
        nowhere.run(["get", "hosts"]).await.failed(&["cannot reach the lattice", "WATTLE_NATS_URL"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");

    let nats = Nats::start().await;
    let cli = Cli::new(&nats);
    assert_eq!(cli.run(["get", "hosts", "-o", "json"]).await.ok().json(), json!([]));
    assert!(cli.run(["get", "hosts"]).await.ok().stdout.contains("no host answered in lattice"));
    for words in [
        &["get", "inventory"][..],
        &["get", "links"],
        &["config", "put", "a", "b=c"],
        &["start", "component", "registry.example/a:1", "a"],
        &["start", "provider", "builtin://http-server", "a"],
    ] {
        let outcome = cli.run(words).await.failed(&["no host answered", nats.lattice()]);
        assert_eq!(outcome.code, Some(3), "{outcome}");
    }
}

#[tokio::test]
async fn a_timeout_is_kept_and_says_what_was_waited_for() {
    // A registry that takes the connection and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let stage = Stage::start_with(|options| options.arg("--allow-insecure").arg(&address)).await;
    let reference = format!("{address}/hello:1.0.0");
    let start = Instant::now();
    let outcome = stage.start_component(&reference, "hello", &["--timeout", "1s"]).await;
    let outcome = outcome.failed(&["did not say within 1s", "component_scaled", "hello", "--timeout"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(start.elapsed() < Duration::from_secs(5), "1s took {:?}", start.elapsed());
    let start = Instant::now();
    stage.start_component(&reference, "hello", &["--no-wait"]).await.ok();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn where_nobody_bids_each_host_is_named_with_its_reason() {
    let stage = Stage::start_with(|options| options.arg("--label").arg("zone=attic")).await;
    let shy = HostOptions::new().arg("--label").arg("zone=moon").arg("--component-auction=false");
    let shy = Host::start(&stage.nats, shy).await;
    let bare = Host::start(&stage.nats, HostOptions::new()).await;
    let reference = stage.push("http-hello").await;
    let start = ["start", "component", &reference, "hello", "--constraint", "zone=moon"];
    let outcome = stage.cli.run(start).await.failed(&["no host made a bid for component `hello`"]);
    assert_eq!(outcome.code, Some(3));
    for (host, reason) in [
        (stage.host.id(), "its label zone is `attic`, not `moon`"),
        (shy.id(), "did not bid"),
        (bare.id(), "it has no label zone"),
    ] {
        let line =
            outcome.stderr.lines().find(|line| line.contains(&host)).unwrap_or_else(|| panic!("{outcome}"));
        assert!(line.contains(reason), "{outcome}");
    }
    // What runs somewhere already is not a matter of labels.
    stage.start_component(&reference, "hello", &[]).await.ok();
    let start = ["start", "component", &reference, "hello", "--constraint", "zone=attic"];
    stage.cli.run(start).await.failed(&["already runs it"]);
}

#[tokio::test]
async fn a_command_that_waits_reports_the_event_s_reason() {
    let stage = Stage::start().await;
    let good = stage.push("http-hello").await;
    let missing = stage.registry.reference("http-hello:9.9.9");
    let outcome = stage.start_component(&missing, "hello", &[]).await;
    let reason = stage.events.scale_failed("hello").await;
    let outcome = outcome.failed(&[&reason, &stage.host.id(), "hello"]);
    assert_eq!(outcome.code, Some(1));

    stage.start_component(&good, "updated", &[]).await.ok();
    let update = stage.cli.run(["update", "component", "updated", &missing]).await;
    let reason = stage.events.scale_failed("updated").await;
    assert_eq!(update.failed(&[&reason, "updated"]).code, Some(1));

    let host = stage.host.id();
    let start = ["start", "provider", "builtin://no-such-thing", "p", "--host", &host];
    let outcome = stage.cli.run(start).await;
    let failed = stage.events.wait_for("provider_start_failed", |data| data["provider_id"] == "p").await;
    let outcome = outcome.failed(&[failed["error"].as_str().unwrap(), "no-such-thing"]);
    assert_eq!(outcome.code, Some(1));
}

#[tokio::test]
async fn a_command_that_waits_notices_that_its_host_stops() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let stage = Stage::start_with(|options| options.arg("--allow-insecure").arg(&address)).await;
    let reference = format!("{address}/hello:1.0.0");
    let host = stage.host.id();
    let stop = async {
        // The host is at it: it has asked the registry.
        let _connection = silent.accept().await.unwrap();
        stage.cli.run(["stop", "host", &host]).await
    };
    let (start, stop) = futures::join!(stage.start_component(&reference, "hello", &[]), stop);
    stop.ok();
    let outcome = start.failed(&["hello"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let known = ["stopped in the meantime", "stopping"];
    assert!(known.iter().any(|reason| outcome.stderr.contains(reason)), "{outcome}");
}

#[tokio::test]
async fn actor_is_accepted_for_component() {
    let stage = Stage::start().await;
    let first = stage.push("http-hello").await;
    let second =
        stage.registry.put("http-hello", "2.0.0", &stage.keys.sign(&wattle_tests::guest("misbehave"))).await;
    let run = async |words: &[&str]| stage.cli.run(words).await.ok();
    run(&["start", "actor", &first, "hello"]).await;
    run(&["scale", "actor", "hello", "5"]).await;
    run(&["update", "actor", "hello", &second]).await;
    let component = stage.running().await[0][0].take();
    assert_eq!((&component["image_ref"], &component["max_instances"]), (&json!(second), &json!(5)));
    run(&["stop", "actor", "hello"]).await;
    assert_eq!(stage.running().await[0], json!([]));
}

#[tokio::test]
async fn a_local_file_is_named_as_people_name_it() {
    let stage = Stage::start().await;
    std::fs::copy(guest_path("http-hello"), stage.cli.folder().join("hello.wasm")).unwrap();
    stage.cli.run(["start", "component", "./hello.wasm", "hello"]).await.ok();
    let shown = stage.running().await[0][0]["image_ref"].take();
    let path = stage.cli.folder().canonicalize().unwrap().join("hello.wasm");
    assert_eq!(shown, format!("file://{}", path.display()));
    let outcome =
        stage.cli.run(["start", "component", "./hallo.wasm", "hello"]).await.failed(&["there is no file"]);
    assert_eq!(outcome.code, Some(2));
    // By a part of its name a host is meant as well.
    let hosts = stage.cli.run(["get", "hosts", "-o", "json"]).await.ok().json();
    let name = hosts[0]["friendly_name"].as_str().unwrap().split('-').next().unwrap().to_owned();
    stage.cli.run(["stop", "component", "hello", "--host", &name]).await.ok();
    eventually("nothing to run", DEADLINE, || async {
        (stage.running().await[0] == json!([])).then_some(())
    })
    .await;
}
