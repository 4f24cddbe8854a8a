//! How a host ends when it is told to.

use std::time::{Duration, Instant};

use http::Method;
use wattle_tests::{DEADLINE, Exchange, Signal, Stage, eventually, http, send_signal};

/// A host with a call that the component has taken: what is sent comes back, until it is ended.
async fn with_a_call() -> (Stage, Exchange, String) {
    let stage = Stage::start().await;
    let reference = stage.push("misbehave").await;
    stage.start_component(&reference, "echo", &[]).await.ok();
    let url = stage.expose("echo").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let mut call = Exchange::open(Method::POST, &format!("{url}/echo")).await.unwrap();
    call.send("one").await.unwrap();
    assert_eq!(call.head().await.unwrap().status, 200);
    assert_eq!(call.piece().await.unwrap().unwrap(), "one");
    (stage, call, format!("{url}/hello"))
}

/// The call goes on for this long after the signal, and to its end.
async fn assert_drains(signal: Signal, goes_on: Duration) {
    let (mut stage, mut call, url) = with_a_call().await;
    let signalled = Instant::now();
    send_signal(stage.host.pid(), signal);
    eventually("the host to take no more requests", DEADLINE, || async { http(&url).await.err() }).await;
    while signalled.elapsed() < goes_on {
        call.send("more").await.unwrap();
        let piece = call.piece().await;
        let piece =
            piece.unwrap_or_else(|error| panic!("cut off after {:?}: {error:#}", signalled.elapsed()));
        assert_eq!(piece.unwrap(), "more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(stage.host.is_running(), "the call still runs");
    call.finish();
    assert_eq!(call.piece().await.unwrap(), None);
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));
    stage.events.wait_for("host_stopped", |_| true).await;
    assert_eq!(stage.events.named("host_stopped").len(), 1);
}

#[tokio::test]
async fn sigterm_lets_a_request_finish() {
    assert_drains(Signal::TERM, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn ctrl_c_does_the_same() {
    assert_drains(Signal::INT, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_request_may_take_some_seconds_to_finish() {
    assert_drains(Signal::TERM, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_keep_the_host() {
    let (mut stage, _call, _) = with_a_call().await;
    let signalled = Instant::now();
    stage.host.term();
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(15), "it took {:?}", signalled.elapsed());
    stage.events.wait_for("host_stopped", |_| true).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut stage, _call, url) = with_a_call().await;
    stage.host.term();
    eventually("the host to take no more requests", DEADLINE, || async { http(&url).await.err() }).await;
    let second = Instant::now();
    stage.host.term();
    let exit = stage.host.wait_exit().await;
    assert!(exit.code().is_some_and(|code| code != 0), "that is no orderly end: {exit:?}");
    assert!(second.elapsed() < Duration::from_secs(1), "at once took {:?}", second.elapsed());
}

#[tokio::test]
async fn a_signal_ends_a_host_that_still_waits_for_nats() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("nats://127.0.0.1:{}", wattle_tests::free_port());
    let mut host = wattle_tests::daemon(folder.path(), ["host", "--nats-url", &url], &[]);
    host.wait_for_log("joining the lattice").await;
    host.term();
    assert_eq!(host.wait_exit().await.code(), Some(0), "{}", host.log());
}
