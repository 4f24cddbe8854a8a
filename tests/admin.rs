//! The admin address of a host: is it alive, is it ready, what does it count.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use bytes::Bytes;
use futures::future::join_all;
use http::{Method, Request};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wattle_tests::{Answer, DEADLINE, Host, HostOptions, Nats, NatsOptions, Stage, eventually, fetch, http};

async fn ask(method: Method, url: String) -> Answer {
    fetch(Request::builder().method(method).uri(url).body(Bytes::new()).unwrap()).await.unwrap()
}

/// The value of one line of the metrics, 0 where there is none.
async fn metric(host: &Host, name: &str, labels: &[(&str, &str)]) -> f64 {
    let text = http(&format!("{}/metrics", host.admin_url())).await.unwrap().text();
    let fits = |line: &&str| {
        let (found, _) = line.split_once(['{', ' ']).unwrap_or_default();
        found == name && labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    text.lines().filter(fits).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn alive_and_ready_are_answered_with_their_status() {
    let stage = Stage::start().await;
    let url = stage.host.admin_url();
    for path in ["/livez", "/readyz"] {
        let answer = ask(Method::GET, format!("{url}{path}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status":"ok"}"#));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let metrics = ask(Method::GET, format!("{url}/metrics")).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(metrics.text().ends_with("# EOF\n"));
    for path in ["/livez", "/readyz", "/metrics"] {
        let head = ask(Method::HEAD, format!("{url}{path}")).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = ask(method.clone(), format!("{url}{path}")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.headers["allow"], "GET, HEAD");
        }
    }
    for path in ["/", "/livez/", "/healthz", "/metrics/x"] {
        assert_eq!(ask(Method::GET, format!("{url}{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_host_is_alive_before_it_is_ready() {
    let nats = Nats::start_with(NatsOptions { jetstream: false, ..NatsOptions::default() }).await;
    let host = Host::launch(&nats, HostOptions::new());
    let reason = host.wait_not_ready("JetStream").await;
    let said: serde_json::Value = serde_json::from_str(&reason).unwrap();
    assert_eq!(said["status"], "failure");
    assert!(said["reason"].as_str().unwrap().contains("JetStream"), "{said}");
    let answer = host.readyz().await.unwrap();
    assert_eq!(answer.status, 500);
    let alive = http(&format!("{}/livez", host.admin_url())).await.unwrap();
    assert_eq!((alive.status, alive.text().as_str()), (200, r#"{"status":"ok"}"#));
    assert_eq!(metric(&host, "wattle_state_ready", &[]).await, 0.0);
}

#[tokio::test]
async fn calls_are_counted_by_their_outcome() {
    let stage = Stage::start_with(|options| options.arg("--max-queued-calls").arg("1")).await;
    let reference = stage.push("misbehave").await;
    stage.start_component(&reference, "counted", &["--count", "1", "--max-execution-time", "4s"]).await.ok();
    let url = stage.expose("counted").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let count = async |outcome: &str| {
        let labels = [("source", "http-server"), ("target", "counted"), ("outcome", outcome)];
        metric(&stage.host, "wattle_calls_total", &labels).await
    };
    let before = count("ok").await;
    for _ in 0..5 {
        assert_eq!(http(&format!("{url}/hello")).await.unwrap().status, 200);
    }
    assert_eq!(count("ok").await, before + 5.0);
    assert_eq!(http(&format!("{url}/trap")).await.unwrap().status, 500);
    assert_eq!(http(&format!("{url}/trap")).await.unwrap().status, 500);
    assert_eq!(count("failed").await, 2.0);
    assert_eq!(http(&format!("{url}/hang")).await.unwrap().status, 504);
    assert_eq!(count("timeout").await, 1.0);

    // One runs, one waits, and the others are too many.
    let sleep = format!("{url}/sleep?ms=1000");
    let answers = join_all((0..5).map(|_| http(&sleep))).await;
    let mut statuses: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503]);
    assert_eq!(count("busy").await, 3.0);

    // Whoever goes away is counted as well.
    let address = url.strip_prefix("http://").unwrap();
    eventually("a call to be counted as canceled", DEADLINE, || async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(format!("GET /hang HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await.unwrap();
        drop(client);
        (count("canceled").await > 0.0).then_some(())
    })
    .await;
    // All calls are over when one more gets its turn and nothing changes any more.
    eventually("the last call to be counted", DEADLINE, || async {
        let (before, answer) = (count("canceled").await, http(&format!("{url}/hello")).await.unwrap());
        (answer.status == 200 && count("canceled").await == before).then_some(())
    })
    .await;
    let all = metric(&stage.host, "wattle_call_duration_seconds_count", &[("target", "counted")]).await;
    let mut sum = 0.0;
    for outcome in ["ok", "failed", "timeout", "busy", "canceled"] {
        sum += count(outcome).await;
    }
    assert_eq!(all, sum, "every call has a duration and one outcome");
}

#[tokio::test]
async fn what_runs_and_what_is_refused_is_counted() {
    let stage = Stage::start().await;
    let host = &stage.host;
    assert_eq!(metric(host, "wattle_state_ready", &[]).await, 1.0);
    for name in ["wattle_components", "wattle_providers", "wattle_links"] {
        assert_eq!(metric(host, name, &[]).await, 0.0, "{name}");
    }
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    eventually("the page", DEADLINE, || async { http(&url).await.ok() }).await;
    for name in ["wattle_components", "wattle_providers", "wattle_links"] {
        assert_eq!(metric(host, name, &[]).await, 1.0, "{name}");
    }
    stage.cli.run(["stop", "component", "hello"]).await.ok();
    assert_eq!(metric(host, "wattle_components", &[]).await, 0.0);

    let id = host.id();
    let label = json!({ "key": "hostcore.os", "value": "plan9" }).to_string();
    for (operation, payload) in [
        (format!("label.put.{id}"), label.as_str()),
        (format!("component.scale.{id}"), "no JSON"),
        (format!("component.update.{id}"), "{"),
        (format!("component.update.{id}"), r#"{"component_id":"none","new_component_ref":"r/a:1"}"#),
        (format!("provider.stop.{id}"), r#"{"provider_id":"none"}"#),
    ] {
        let command = operation.rsplit_once('.').unwrap().0;
        let before = metric(host, "wattle_refused_commands_total", &[("command", command)]).await;
        assert_eq!(stage.control.request(&operation, payload.to_owned()).await["success"], false);
        let after = metric(host, "wattle_refused_commands_total", &[("command", command)]).await;
        assert_eq!(after, before + 1.0, "{command}");
    }
}
