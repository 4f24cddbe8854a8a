//! A component that misbehaves costs one error response, and nothing else.

use std::time::{Duration, Instant};

use futures::future::join_all;
use wattle_tests::{GREETING, Stage, http};

/// What one call of the component may take.
const LIMITS: [&str; 4] = ["--max-execution-time", "2s", "--max-memory", "32MiB"];

/// A stage on which the test component runs, and its URL.
async fn stage_with(guest: &str) -> (Stage, String) {
    let stage = Stage::start().await;
    let reference = stage.push(guest).await;
    stage.start_component(&reference, "wild", &LIMITS).await.ok();
    let url = stage.expose("wild").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    (stage, url)
}

/// A request for this path gets this status, soon after the limit; the next one is served.
async fn assert_costs_one_response(guest: &str, path: &str, status: u16) {
    let (mut stage, url) = stage_with(guest).await;
    let before = stage.running().await;
    for _ in 0..2 {
        let start = Instant::now();
        let answer = http(&format!("{url}{path}")).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(start.elapsed() < Duration::from_secs(10), "{path} took {:?}", start.elapsed());
        // Clients are told what they may know: which component it was, and not how the host is built.
        assert!(answer.text().contains("wild") && answer.text().lines().count() == 1, "{}", answer.text());
        let answer = http(&format!("{url}/hello")).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello\n"));
    }
    assert_eq!(stage.running().await, before);
    // The operator is told more.
    stage.host.wait_for_log(&format!("status={status}")).await;
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_component_loops() {
    assert_costs_one_response("misbehave", "/loop", 504).await;
}

#[tokio::test]
async fn bad_input_component_traps() {
    assert_costs_one_response("misbehave", "/trap", 500).await;
}

#[tokio::test]
async fn bad_input_component_exhausts_memory() {
    assert_costs_one_response("misbehave", "/memory", 500).await;
}

#[tokio::test]
async fn bad_input_component_hangs() {
    assert_costs_one_response("misbehave", "/hang", 504).await;
}

#[tokio::test]
async fn bad_input_component_gives_no_response() {
    assert_costs_one_response("misbehave", "/no-response", 500).await;
}

#[tokio::test]
async fn bad_input_component_of_wasi_0_3_loops() {
    assert_costs_one_response("echo-p3", "/loop", 504).await;
}

#[tokio::test]
async fn bad_input_component_of_wasi_0_3_traps() {
    assert_costs_one_response("echo-p3", "/trap", 500).await;
}

#[tokio::test]
async fn bad_input_component_of_wasi_0_3_hangs() {
    assert_costs_one_response("echo-p3", "/hang", 504).await;
}

#[tokio::test]
async fn bad_input_component_breaks_off_its_body() {
    let (mut stage, url) = stage_with("misbehave").await;
    let mut exchange =
        wattle_tests::Exchange::open(http::Method::GET, &format!("{url}/slow-body")).await.unwrap();
    exchange.finish();
    assert_eq!(exchange.head().await.unwrap().status, 200);
    assert_eq!(exchange.piece().await.unwrap().unwrap(), "first\n");
    // The status is out already: that the rest is missing must not look like the end.
    exchange.piece().await.unwrap_err();
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_component_that_loops_does_not_stop_others() {
    let (stage, url) = stage_with("misbehave").await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let other = stage.expose("hello").await;
    stage.wait_for_page(&other, GREETING).await;

    // More than the machine has processors, so that each is taken.
    let path = format!("{url}/loop");
    let loops = join_all((0..16).map(|_| async { http(&path).await.unwrap().status }));
    let others = async {
        for _ in 0..10 {
            let answer = http(&other).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, GREETING));
        }
        Instant::now()
    };
    let (loops, others_ended) = tokio::join!(loops, others);
    let loops_ended = Instant::now();
    assert!(others_ended < loops_ended, "the other component had to wait until all loops were over");
    assert!(loops.iter().all(|status| *status == 504), "{loops:?}");
}
