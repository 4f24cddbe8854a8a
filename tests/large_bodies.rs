//! Bodies far larger than any buffer cross the lattice, up and down at once, and no host holds much of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use http::Method;
use wattle_tests::{
    Exchange, Host, HostOptions, Nats, Stage, forget_peak_memory, guest_path, http_post, pattern, peak_memory,
};

const MIB: usize = 1 << 20;
const BODY: usize = 1024 * MIB;
/// What a host may need more for it.
const ROOM: u64 = 32 << 20;

/// Bytes of what is sent again and again: without a divisor in common with the size of any buffer.
const PIECE: usize = MIB - 7;

/// The HTTP server runs on one host, the component that sends everything back on the other.
async fn echo_across(guest: &str) -> (Stage, Host, String) {
    let cluster = wattle_identity::keys::KeyPair::generate(wattle_identity::keys::KeyKind::Cluster).unwrap();
    let nats = Nats::start().await;
    let stage = Stage::start_on(nats, |options| options.env("WATTLE_CLUSTER_SEED", &*cluster.seed())).await;
    let options = HostOptions::new().arg("--allow-file-load").env("WATTLE_CLUSTER_SEED", &*cluster.seed());
    let other = Host::start(&stage.nats, options).await;
    let file = format!("file://{}", guest_path(guest).display());
    stage.cli.run(["start", "component", &file, "echo", "--host", &other.id()]).await.ok();
    let url = stage.expose("echo").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    (stage, other, format!("{url}/echo"))
}

async fn assert_a_gibibyte_each_way(guest: &str) {
    let (stage, other, url) = echo_across(guest).await;
    http_post(&url, pattern(PIECE)).await.unwrap();
    let hosts = [("http server's", stage.host.pid()), ("component's", other.pid())];
    let before = hosts.map(|(_, process)| forget_peak_memory(process));

    let mut exchange = Exchange::open(Method::POST, &url).await.unwrap();
    let mut upload = exchange.upload();
    let sending = tokio::spawn(async move {
        let piece = pattern(PIECE);
        let mut left = BODY;
        while left > 0 {
            let piece = piece.slice(..piece.len().min(left));
            left -= piece.len();
            upload.send(piece).await.unwrap();
        }
    });
    assert_eq!(exchange.head().await.unwrap().status, 200);
    let pattern = pattern(PIECE);
    let mut read = 0;
    while let Some(piece) = exchange.piece().await.unwrap() {
        let mut piece = &piece[..];
        while !piece.is_empty() {
            let expected = &pattern[read % pattern.len()..];
            let length = expected.len().min(piece.len());
            assert!(piece[..length] == expected[..length], "other bytes came back, behind {read}");
            (read, piece) = (read + length, &piece[length..]);
        }
    }
    sending.await.unwrap();
    assert_eq!(read, BODY, "all of it came back");

    for ((name, process), before) in hosts.into_iter().zip(before) {
        let more = peak_memory(process).saturating_sub(before);
        println!("{guest}: the {name} host took {} KiB more, from {} KiB", more >> 10, before >> 10);
        assert!(more < ROOM, "1 GiB took {} KiB of the {name} host", more >> 10);
    }
}

#[tokio::test]
async fn a_gibibyte_goes_each_way_across_the_lattice_wasi_0_2() {
    assert_a_gibibyte_each_way("misbehave").await;
}

#[tokio::test]
async fn a_gibibyte_goes_each_way_across_the_lattice_wasi_0_3() {
    assert_a_gibibyte_each_way("echo-p3").await;
}
