//! JetStream is not there, is another one, or was lost.

use serde_json::{Value, json};
use wattle_tests::{
    Cli, DEADLINE, GREETING, Host, HostOptions, Nats, NatsOptions, Stage, eventually, guest_path,
};

/// The host says everywhere that it can't reach the lattice's state, and why; it runs and answers, but starts nothing.
async fn assert_without_state(nats: &Nats, host: &mut Host, words: &[&str]) {
    let says_all = |text: &str, place: &str| {
        for word in words {
            assert!(text.contains(word), "{place} does not say `{word}`: {text}");
        }
    };
    says_all(&host.wait_not_ready(words[0]).await, "/readyz");
    says_all(&host.wait_for_log(words[0]).await, "the log");

    let control = nats.control().await;
    let inventory = eventually("the host to answer", DEADLINE, || async {
        let reply = control.try_request(&format!("host.get.{}", host.id()), "").await?;
        reply["response"].is_object().then(|| reply["response"].clone())
    })
    .await;
    says_all(&inventory["problems"].to_string(), "the inventory");
    assert_eq!(inventory["components"], json!([]));

    let cli = Cli::new(nats);
    let file = format!("file://{}", guest_path("http-hello").display());
    let id = host.id();
    let start = cli.run(["start", "component", &file, "hello", "--host", &id]).await.failed(words);
    assert!(start.stderr.contains(&id), "{start}");
    cli.run(["config", "put", "a", "b=c"]).await.failed(&["no host answered"]);
    assert!(host.is_running());
}

fn options() -> HostOptions {
    HostOptions::new().arg("--allow-file-load")
}

#[tokio::test]
async fn bad_input_jetstream_missing() {
    let mut nats = Nats::start_with(NatsOptions { jetstream: false, ..NatsOptions::default() }).await;
    let mut host = Host::launch(&nats, options());
    let url = nats.url();
    assert_without_state(&nats, &mut host, &["JetStream is not available", &url]).await;

    // The operator turns it on: the host needs no restart.
    nats.stop().await;
    nats.set_options(NatsOptions::default());
    nats.start_again_on_same_port().await;
    host.wait_ready().await;
    Cli::new(&nats).run(["config", "put", "a", "b=c"]).await.ok();
}

#[tokio::test]
async fn bad_input_jetstream_in_another_domain() {
    let domain = |name: &str| NatsOptions { domain: Some(name.to_owned()), ..NatsOptions::default() };
    let mut nats = Nats::start_with(domain("core")).await;
    let mut host = Host::launch(&nats, options().arg("--js-domain").arg("hub"));
    let url = nats.url();
    assert_without_state(&nats, &mut host, &["JetStream domain `hub`", &url]).await;

    nats.stop().await;
    nats.set_options(domain("hub"));
    nats.start_again_on_same_port().await;
    host.wait_ready().await;
    Cli::new(&nats).run(["config", "put", "a", "b=c"]).await.ok();
}

/// A stage whose component answers at the URL.
async fn serving() -> (Stage, String) {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    (stage, url)
}

/// The host knows the new, empty state, and everything can be put there again.
async fn assert_starts_over(stage: &mut Stage) {
    eventually("the host to know that there are no links any more", DEADLINE, || async {
        let reply = stage.control.try_request("link.get", "").await?;
        (reply["response"] == Value::Array(Vec::new())).then_some(())
    })
    .await;
    stage.host.wait_ready().await;
    let running = stage.running().await;
    assert_eq!(
        running[0][0]["id"], "hello",
        "what the host was told to run does not depend on the state: {running}"
    );

    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_jetstream_lost_and_made_anew() {
    let (mut stage, _) = serving().await;
    stage.nats.kill9();
    stage.nats.wipe_store();
    stage.nats.start_again_on_same_port().await;
    assert_starts_over(&mut stage).await;
}

#[tokio::test]
async fn bad_input_buckets_deleted_while_the_host_runs() {
    let (mut stage, _) = serving().await;
    for bucket in ["LATTICEDATA", "CONFIGDATA"] {
        let stream = format!("$JS.API.STREAM.DELETE.KV_{bucket}_{}", stage.nats.lattice());
        let reply = stage.control.client().request(stream, "".into()).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(reply["success"], true, "{reply}");
    }
    assert_starts_over(&mut stage).await;
}

#[tokio::test]
async fn bad_input_state_that_is_no_state() {
    let (mut stage, url) = serving().await;
    for (bucket, key) in [
        ("LATTICEDATA", "COMPONENT_broken"),
        ("LATTICEDATA", "CLAIMS_broken"),
        ("LATTICEDATA", "SOMETHING_else"),
        ("CONFIGDATA", "broken"),
    ] {
        let subject = format!("$KV.{bucket}_{}.{key}", stage.nats.lattice());
        stage.control.client().request(subject, "{ no JSON".into()).await.unwrap();
    }
    stage.wait_for_page(&url, GREETING).await;
    stage.host.wait_ready().await;
    stage.assert_host_lives().await;
    // Nor is it in the way at the next start.
    stage.host.kill9();
    stage.host.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
}
