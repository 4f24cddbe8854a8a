//! Bodies go through as they are written, in both directions at once, and never lie in the host as a whole.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Method;
use tokio::time::timeout;
use wattle_tests::{Exchange, Stage, assert_echo_flows, forget_peak_memory, http_post, pattern, peak_memory};

const MIB: usize = 1 << 20;
const BODY: usize = 64 * MIB;
/// What the host may need more for a body, however long that is. Buffers of the body's way are a few hundred
/// kilobytes, and an instance of the component is a few megabytes.
const ROOM: u64 = 8 << 20;

/// A stage on which the guest runs, and the URL at which it sends back what it is sent.
async fn echo(guest: &str) -> (Stage, String) {
    let stage = Stage::start().await;
    let reference = stage.push(guest).await;
    stage.start_component(&reference, "echo", &[]).await.ok();
    let url = stage.expose("echo").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    (stage, format!("{url}/echo"))
}

async fn assert_flows(guest: &str) {
    let (_stage, url) = echo(guest).await;
    assert_echo_flows(&url).await;
}

#[tokio::test]
async fn a_chunk_comes_back_before_the_next_is_sent_wasi_0_2() {
    assert_flows("misbehave").await;
}

#[tokio::test]
async fn a_chunk_comes_back_before_the_next_is_sent_wasi_0_3() {
    assert_flows("echo-p3").await;
}

/// 64 MiB go through a host that never has much more than before in memory.
async fn assert_large_body(guest: &str) {
    let (stage, url) = echo(guest).await;
    // What the first calls leave behind is not the body's.
    http_post(&url, pattern(MIB)).await.unwrap();
    let body = pattern(BODY);
    let before = forget_peak_memory(stage.host.pid());
    let answer = http_post(&url, body.clone()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back, and not those that were sent", answer.body.len());
    let peak = peak_memory(stage.host.pid());
    assert!(peak < before + ROOM, "64 MiB took {} KiB", (peak - before) >> 10);
}

#[tokio::test]
async fn a_large_body_goes_through_in_little_memory_wasi_0_2() {
    assert_large_body("misbehave").await;
}

#[tokio::test]
async fn a_large_body_goes_through_in_little_memory_wasi_0_3() {
    assert_large_body("echo-p3").await;
}

/// Who sends and does not read is made to wait; nothing piles up in between.
async fn assert_waits_for_the_reader(guest: &str) {
    let (stage, url) = echo(guest).await;
    http_post(&url, pattern(MIB)).await.unwrap();
    let chunk = pattern(MIB / 4);
    let before = forget_peak_memory(stage.host.pid());
    let mut exchange = Exchange::open(Method::POST, &url).await.unwrap();
    let mut sent = 0;
    // The system's own buffers take some; then sending stops, which is what is awaited here.
    while sent < BODY {
        match timeout(Duration::from_secs(2), exchange.send(chunk.clone())).await {
            Ok(taken) => taken.unwrap(),
            Err(_) => break,
        }
        sent += chunk.len();
    }
    let peak = peak_memory(stage.host.pid());
    assert!(sent < BODY, "all was taken, and nobody read it");
    assert!(peak < before + ROOM, "{sent} bytes that nobody read took {} KiB", (peak - before) >> 10);

    assert_eq!(exchange.head().await.unwrap().status, 200);
    let mut read = 0;
    while read < sent {
        read += exchange.piece().await.unwrap().expect("the body goes on").len();
    }
}

#[tokio::test]
async fn a_slow_reader_holds_up_the_sender_wasi_0_2() {
    assert_waits_for_the_reader("misbehave").await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_the_sender_wasi_0_3() {
    assert_waits_for_the_reader("echo-p3").await;
}

#[tokio::test]
async fn calls_within_a_host_are_not_seen_on_nats() {
    let (stage, url) = echo("misbehave").await;
    let client = stage.nats.connect().await;
    let mut all = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    for _ in 0..20 {
        assert_eq!(http_post(&url, "a secret that stays here").await.unwrap().status, 200);
    }
    // Whatever the host had sent before is here when this one is.
    stage.inventory().await;
    client.publish("the-end", Bytes::new()).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let message = wattle_tests::within("the end of what was sent", all.next()).await.unwrap();
        if message.subject.as_str() == "the-end" {
            break;
        }
        assert!(!message.payload.windows(8).any(|part| part == b"a secret"), "on {}", message.subject);
        seen.push(message.subject.to_string());
    }
    assert!(seen.len() < 20, "20 calls within one process, and this on NATS: {seen:?}");
}
