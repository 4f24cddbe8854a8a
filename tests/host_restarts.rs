//! A host that is started again is the one that it was, and does what it did.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use serde_json::{Value, json};
use wattle_tests::{DEADLINE, GREETING, HostOptions, NatsOptions, Stage, eventually, guest, http, reworded};

const NEW_GREETING: &str = "Hello from Weaver!\n";

/// A stage on which the example answers at the URL.
async fn serving() -> (Stage, String) {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &["--count", "7", "--annotation", "team=blue"]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    (stage, url)
}

/// The options of a stage's host.
fn options(stage: &Stage) -> HostOptions {
    HostOptions::new().trust(&stage.keys).insecure(&stage.registry).arg("--allow-file-load")
}

/// All links, as a host that is caught up knows them.
async fn links(stage: &Stage) -> Value {
    stage.control.request("link.get", "").await["response"].take()
}

/// Waits until the host shows that it runs this.
async fn wait_for_running(stage: &Stage, expected: &Value) {
    eventually(&format!("the host to run {expected:#}"), DEADLINE, || async {
        let mut inventory = stage.control.try_request(&format!("host.get.{}", stage.host.id()), "").await?;
        let inventory = inventory["response"].take();
        let running = json!([inventory["components"], inventory["providers"]]);
        (running == *expected && inventory["problems"] == Value::Null).then_some(())
    })
    .await;
}

#[tokio::test]
async fn host_restarts() {
    let (mut stage, url) = serving().await;
    let limits = ["--max-memory", "64MiB", "--max-execution-time", "30s", "--config", "http-hello"];
    let reference = stage.push("misbehave").await;
    stage.start_component(&reference, "limited", &limits).await.ok();
    stage.start_component(&reference, "stopped", &[]).await.ok();
    stage.cli.run(["stop", "component", "stopped"]).await.ok();
    let (id, before, linked) = (stage.host.id(), stage.running().await, links(&stage).await);
    assert_eq!(before[0].as_array().unwrap().len(), 2);

    stage.host.kill9();
    // What the tag stands for now is another program, and then nobody can be asked what it stands for.
    let second = stage.keys.sign(&reworded(&guest("http-hello"), GREETING, NEW_GREETING));
    stage.registry.put("http-hello", "1.0.0", &second).await;
    stage.registry.stop();
    stage.host.start_again().await;

    stage.wait_for_page(&url, GREETING).await;
    wait_for_running(&stage, &before).await;
    assert_eq!(stage.host.id(), id);
    assert_eq!(links(&stage).await, linked);
    let scaled = stage.events.named("component_scaled");
    let back = scaled.iter().filter(|data| data["component_id"] == "hello").count();
    assert_eq!(back, 2, "it is told that the component is back: {scaled:#?}");

    // And once more: what was brought back is remembered as well.
    stage.host.kill9();
    stage.host.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
    wait_for_running(&stage, &before).await;
}

#[tokio::test]
async fn what_was_changed_is_what_comes_back() {
    let (mut stage, url) = serving().await;
    let second = stage.keys.sign(&reworded(&guest("http-hello"), GREETING, NEW_GREETING));
    let reference = stage.registry.put("http-hello", "2.0.0", &second).await;
    stage.cli.run(["scale", "component", "hello", "3"]).await.ok();
    stage.cli.run(["update", "component", "hello", &reference]).await.ok();
    let before = stage.running().await;
    stage.host.kill9();
    stage.host.start_again().await;
    stage.wait_for_page(&url, NEW_GREETING).await;
    wait_for_running(&stage, &before).await;
    assert_eq!((&before[0][0]["max_instances"], &before[0][0]["image_ref"]), (&json!(3), &json!(reference)));
}

#[tokio::test]
async fn a_host_that_was_stopped_goes_on_when_it_is_started_again() {
    let (mut stage, url) = serving().await;
    let (id, before) = (stage.host.id(), stage.running().await);
    stage.cli.run(["stop", "host", &id]).await.ok();
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));
    assert!(http(&url).await.is_err());
    stage.host.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
    wait_for_running(&stage, &before).await;
    assert_eq!(stage.host.id(), id);
}

#[tokio::test]
async fn a_host_forgets_where_it_is_told_to() {
    let (mut stage, _url) = serving().await;
    let id = stage.host.id();
    stage.cli.run(["stop", "host", &id, "--forget"]).await.ok();
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));
    stage.host.start_again().await;
    assert_eq!(stage.running().await, json!([[], []]));
    assert_eq!(stage.host.id(), id, "it is the same host all the same");
    assert_eq!(links(&stage).await.as_array().unwrap().len(), 1, "links are the lattice's");
}

#[tokio::test]
async fn a_fresh_host_starts_empty() {
    let (mut stage, _url) = serving().await;
    let id = stage.host.id();
    stage.host.kill9();
    let usual = options(&stage);
    stage.host.set_options(usual.clone().arg("--fresh"));
    stage.host.start_again().await;
    assert_eq!(stage.running().await, json!([[], []]));
    assert_eq!(stage.host.id(), id);

    // What is started from now on is the list from now on.
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "new", &[]).await.ok();
    let before = stage.running().await;
    stage.host.kill9();
    stage.host.set_options(usual);
    stage.host.start_again().await;
    wait_for_running(&stage, &before).await;
    assert_eq!(before[0].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_deployment_manager_started_is_left_to_it() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    let managed = ["--annotation", "wasmcloud.dev/managed-by=wadm"];
    stage.start_component(&reference, "managed", &managed).await.ok();
    stage.start_component(&reference, "own", &[]).await.ok();
    let host = stage.host.id();
    let start = ["start", "provider", "builtin://http-server"];
    stage.cli.run(start.into_iter().chain(["managed-http", "--host", &host]).chain(managed)).await.ok();
    stage.cli.run(start.into_iter().chain(["own-http", "--host", &host])).await.ok();
    let mut expected = stage.running().await;
    for list in expected.as_array_mut().unwrap() {
        list.as_array_mut().unwrap().retain(|entry| entry["id"].as_str().unwrap().starts_with("own"));
        assert_eq!(list.as_array().unwrap().len(), 1);
    }
    stage.host.kill9();
    stage.host.start_again().await;
    wait_for_running(&stage, &expected).await;
}

#[tokio::test]
async fn what_cannot_come_back_yet_is_tried_again() {
    let (mut stage, url) = serving().await;
    let before = stage.running().await;
    stage.host.kill9();
    // Neither in the cache nor in the registry.
    std::fs::remove_dir_all(stage.host.data_dir().join("artifacts")).unwrap();
    std::fs::remove_dir_all(stage.host.data_dir().join("code")).unwrap();
    stage.registry.stop();
    stage.host.start_again().await;
    let problem = eventually("the host to say what is missing", DEADLINE, || async {
        let problems = stage.inventory().await["problems"].take();
        problems.as_array()?.iter().find(|problem| problem.as_str().unwrap().contains("hello")).cloned()
    })
    .await;
    assert!(problem.as_str().unwrap().contains("component hello does not run: "), "{problem}");
    assert_eq!(stage.running().await[0], json!([]));

    stage.registry.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
    wait_for_running(&stage, &before).await;
}

#[tokio::test]
async fn a_host_that_restarts_without_jetstream_serves_and_says_that_its_state_is_stale() {
    let (mut stage, url) = serving().await;
    let before = stage.running().await;
    let copy = stage.host.data_dir().join("state.json");
    eventually("the host's copy of the state to have the link", DEADLINE, || async {
        std::fs::read_to_string(&copy).ok().filter(|text| text.contains("to-hello")).map(drop)
    })
    .await;
    stage.host.kill9();
    stage.registry.stop();
    stage.nats.stop().await;
    stage.nats.set_options(NatsOptions { jetstream: false, ..NatsOptions::default() });
    stage.nats.start_again_on_same_port().await;

    stage.host.launch_again();
    stage.wait_for_page(&url, GREETING).await;
    stage.host.wait_not_ready("JetStream").await;
    let inventory = eventually("the host to answer", DEADLINE, || async {
        let reply = stage.control.try_request(&format!("host.get.{}", stage.host.id()), "").await?;
        Some(reply["response"].clone())
    })
    .await;
    assert_eq!(json!([inventory["components"], inventory["providers"]]), before);
    let problems = inventory["problems"].to_string();
    assert!(problems.contains("JetStream"), "{problems}");
    let shown = stage.cli.run(["get", "inventory"]).await.ok().stdout;
    assert!(shown.contains("problem: ") && shown.contains("JetStream"), "{shown}");

    // Nobody answers for a state that nobody has.
    stage.cli.run(["get", "links"]).await.failed(&["no host answered"]);
    stage.cli.run(["config", "put", "a", "b=c"]).await.failed(&["no host answered"]);

    stage.nats.stop().await;
    stage.nats.set_options(NatsOptions::default());
    stage.nats.start_again_on_same_port().await;
    stage.host.wait_ready().await;
    wait_for_running(&stage, &before).await;
    assert_eq!(links(&stage).await.as_array().unwrap().len(), 1);
    stage.cli.run(["config", "put", "a", "b=c"]).await.ok();
    assert_eq!(http(&url).await.unwrap().text(), GREETING);

    let says = problems.contains("stale") || problems.contains("last known");
    assert!(says, "what it knew before is used, and nobody is told: {problems}");
}

#[tokio::test]
async fn a_host_serves_on_while_nats_is_gone_and_follows_what_changed_meanwhile() {
    let (mut stage, url) = serving().await;
    stage.nats.stop().await;
    stage.host.wait_not_ready("not connected to NATS").await;
    for _ in 0..3 {
        assert_eq!(http(&url).await.unwrap().text(), GREETING);
    }
    stage.nats.start_again_on_same_port().await;
    stage.host.wait_ready().await;
    stage.cli.run(["link", "del", "http-server", "wasi", "http", "--name", "to-hello"]).await.ok();
    eventually("the link to be gone", DEADLINE, || async { http(&url).await.err() }).await;
}
