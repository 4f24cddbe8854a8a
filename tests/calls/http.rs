//! HTTP across the lattice: the server on one host, the component on another, and components that ask components.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use wattle_tests::{
    Exchange, Fleet, GREETING, assert_echo_flows, forget_peak_memory, http, http_post, peak_memory, within,
};

const MIB: usize = 1 << 20;
/// What each host may need more for a body, however long that is.
const ROOM: u64 = 32 << 20;
/// Long enough that a component which still runs would have been heard of several times.
const SILENCE: Duration = Duration::from_secs(1);

/// The server on the first host, a guest on the second, and the URL.
async fn across(guest: &str) -> (Fleet, String) {
    let fleet = Fleet::start(2).await;
    fleet.run_guest(1, guest, guest, &[]).await;
    let url = fleet.expose(0, guest, "/hello").await;
    (fleet, url)
}

/// The server and a guest on one host, and the URL.
async fn within_a_host(guest: &str) -> (Fleet, String) {
    let fleet = Fleet::start(1).await;
    fleet.run_guest(0, guest, guest, &[]).await;
    let url = fleet.expose(0, guest, "/hello").await;
    (fleet, url)
}

/// The server on the first host, a gateway on the second, and on the third what it passes requests on to.
async fn through(gateway: &str, guest: &str) -> (Fleet, String) {
    let fleet = Fleet::start(3).await;
    fleet.run_guest(1, gateway, gateway, &[]).await;
    fleet.run_guest(2, guest, guest, &[]).await;
    fleet.link(gateway, guest, "wasi:http/outgoing-handler,client,handler").await;
    let url = fleet.expose(0, gateway, "/hello").await;
    (fleet, url)
}

#[tokio::test]
async fn a_component_answers_http_on_another_host() {
    let fleet = Fleet::start(2).await;
    fleet.run_guest(1, "hello", "http-hello", &[]).await;
    let url = fleet.expose(0, "hello", "/").await;
    assert_eq!(http(&url).await.unwrap().text(), GREETING);
    // And where it stops, its server says so, and goes on when it is back.
    fleet.stop(1, "hello").await;
    assert_eq!(http(&url).await.unwrap().status, 503);
    fleet.run_guest(0, "hello", "http-hello", &[]).await;
    assert_eq!(http(&url).await.unwrap().text(), GREETING);
}

#[tokio::test]
async fn a_component_sees_the_request_as_it_was_made() {
    let (_fleet, url) = across("misbehave").await;
    let answer = http(&format!("{url}/headers?a=b%20c")).await.unwrap().text();
    let authority = url.strip_prefix("http://").unwrap();
    assert!(answer.contains("method: Method::Get\npath: /headers?a=b%20c\n"), "{answer}");
    assert!(answer.contains(&format!("authority: {authority}\n")), "{answer}");
}

/// Trailers come back behind the body.
async fn assert_trailers(url: &str) {
    let authority = url.strip_prefix("http://").unwrap();
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\
         TE: trailers\r\nConnection: close, TE\r\n\r\n5\r\nwoven\r\n0\r\nx-sum: 42\r\n\r\n"
    );
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the whole response", stream.read_to_string(&mut answer)).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no body: {answer}"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && body.contains("woven"), "{answer}");
    assert!(body.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn trailers_follow_within_a_host_wasi_0_2() {
    let (_fleet, url) = within_a_host("misbehave").await;
    assert_trailers(&url).await;
}

#[tokio::test]
async fn trailers_follow_within_a_host_wasi_0_3() {
    let (_fleet, url) = within_a_host("echo-p3").await;
    assert_trailers(&url).await;
}

#[tokio::test]
async fn bodies_stream_across_and_trailers_follow_wasi_0_2() {
    let (_fleet, url) = across("misbehave").await;
    assert_echo_flows(&format!("{url}/echo")).await;
    assert_trailers(&url).await;
}

#[tokio::test]
async fn bodies_stream_across_and_trailers_follow_wasi_0_3() {
    let (_fleet, url) = across("echo-p3").await;
    assert_echo_flows(&format!("{url}/echo")).await;
    assert_trailers(&url).await;
}

#[tokio::test]
async fn a_component_asks_the_component_it_is_linked_to_wasi_0_2() {
    let (fleet, url) = through("gateway", "misbehave").await;
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
    assert_eq!(http(&format!("{url}/nowhere")).await.unwrap().status, 404);
    assert_echo_flows(&format!("{url}/echo")).await;
    assert_trailers(&url).await;
    fleet.unlink("gateway", "wasi:http/outgoing-handler").await;
    let refused = http(&format!("{url}/hello")).await.unwrap();
    assert_eq!(refused.status, 502, "without a link there is no way out: {}", refused.text());
}

#[tokio::test]
async fn a_component_asks_the_component_it_is_linked_to_wasi_0_3() {
    let (_fleet, url) = through("gateway-p3", "echo-p3").await;
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
    assert_echo_flows(&format!("{url}/echo")).await;
    assert_trailers(&url).await;
}

#[tokio::test]
async fn components_of_two_generations_ask_each_other() {
    let (_fleet, url) = through("gateway", "echo-p3").await;
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
    let (_fleet, url) = through("gateway-p3", "misbehave").await;
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
}

#[tokio::test]
async fn a_large_body_crosses_in_little_memory() {
    let (fleet, url) = across("misbehave").await;
    let url = format!("{url}/echo");
    http_post(&url, vec![1; MIB]).await.unwrap();
    let before: Vec<_> = fleet.hosts.iter().map(|host| forget_peak_memory(host.pid())).collect();
    let body: Bytes = (0..64 * MIB).map(|place| ((place * 31) >> 7) as u8).collect();
    let answer = http_post(&url, body.clone()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back, and not those that were sent", answer.body.len());
    for (number, (host, before)) in fleet.hosts.iter().zip(before).enumerate() {
        let more = peak_memory(host.pid()).saturating_sub(before);
        println!("64 MiB each way took host {number} {} KiB", more >> 10);
        assert!(more < ROOM, "64 MiB took host {number} {} KiB", more >> 10);
    }
}

#[tokio::test]
async fn who_reads_slowly_holds_up_the_component_on_the_other_host() {
    let (fleet, url) = across("misbehave").await;
    http(&format!("{url}/big?bytes=1000000")).await.unwrap();
    let before = forget_peak_memory(fleet.hosts[1].pid());
    let bytes = 64 * MIB;
    let mut exchange = Exchange::open(Method::GET, &format!("{url}/big?bytes={bytes}")).await.unwrap();
    exchange.finish();
    assert_eq!(exchange.head().await.unwrap().status, 200);
    // Nobody reads for a while: what the component writes has nowhere to go.
    sleep(SILENCE).await;
    for host in &fleet.hosts {
        let more = peak_memory(host.pid()).saturating_sub(before);
        assert!(host.pid() == fleet.hosts[0].pid() || more < ROOM, "{} KiB piled up", more >> 10);
    }
    let mut read = 0;
    while let Some(piece) = exchange.piece().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn a_component_whose_caller_went_away_is_stopped_on_the_other_host() {
    let (fleet, url) = across("misbehave").await;
    let ticks = || fleet.hosts[1].log().matches("tick").count();
    // Before it answered, and after.
    for path in ["/tick?ms=20", "/tick-body?ms=20"] {
        let before = ticks();
        let mut exchange = Exchange::open(Method::GET, &format!("{url}{path}")).await.unwrap();
        exchange.finish();
        if path.contains("body") {
            assert_eq!(exchange.head().await.unwrap().status, 200);
            assert_eq!(exchange.piece().await.unwrap().unwrap(), "first\n");
        }
        let runs = || async { (ticks() > before + 3).then_some(()) };
        wattle_tests::eventually("the component to run", wattle_tests::DEADLINE, runs).await;
        drop(exchange);
        let gone = Instant::now();
        sleep(Duration::from_secs(1)).await;
        let (then, after) = (ticks(), gone.elapsed());
        sleep(SILENCE).await;
        assert_eq!(ticks(), then, "{path}: it ran on {after:?} after its caller was gone");
    }
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().text(), "hello\n");
}

#[tokio::test]
async fn a_deadline_travels() {
    let fleet = Fleet::start(2).await;
    fleet.run_guest(1, "misbehave", "misbehave", &["--max-execution-time", "1s"]).await;
    let url = fleet.expose(0, "misbehave", "/hello").await;
    let start = Instant::now();
    let answer = http(&format!("{url}/tick?ms=20")).await.unwrap();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
    let ticks = || fleet.hosts[1].log().matches("tick").count();
    let then = ticks();
    sleep(SILENCE).await;
    assert!(ticks() <= then + 1, "it runs on behind its deadline");
}
