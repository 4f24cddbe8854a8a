//! Streams and futures between components, on two hosts and on one.

use wattle_tests::{Fleet, forget_peak_memory, peak_memory};

const MIB: u64 = 1 << 20;
/// What a host may need more for a stream, however long that is.
const ROOM: u64 = 32 << 20;

/// `runs` on the first host, linked to `mill` on the host of this number.
async fn mills(host: usize) -> Fleet {
    let fleet = Fleet::start(host + 1).await;
    fleet.run_guest(0, "runs", "mill", &[]).await;
    fleet.run_guest(host, "mill", "mill", &[]).await;
    fleet.link("runs", "mill", "acme:streams/mill").await;
    fleet
}

async fn run(fleet: &Fleet, function: &str, arguments: &[&str]) -> String {
    fleet.ask("runs", &format!("acme:streams/runs.{function}"), arguments).await
}

async fn assert_streams_flow(host: usize) {
    let fleet = mills(host).await;
    for through in ["\"pass\"", "\"grind\""] {
        for count in ["0", "1", "1000000"] {
            assert_eq!(run(&fleet, "bytes", &[through, count]).await, format!("ok({count})"), "{through}");
        }
    }
    assert_eq!(run(&fleet, "texts", &["500"]).await, "ok(500)");
    assert_eq!(run(&fleet, "numbers", &["1000"]).await, "ok(1000)");
    assert_eq!(run(&fleet, "later", &["\"in time\""]).await, "\"(in time)\"");
    let weight = run(&fleet, "weigh", &["1000"]).await;
    assert!(weight.starts_with("(1000, "), "{weight}");
}

#[tokio::test]
async fn streams_and_futures_cross_from_host_to_host() {
    assert_streams_flow(1).await;
}

#[tokio::test]
async fn streams_and_futures_pass_within_a_host() {
    assert_streams_flow(0).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_no_short_one() {
    for host in [0, 1] {
        let fleet = mills(host).await;
        fleet.call("runs", "acme:streams/runs.broken", &[]).await.failed(&["runs"]);
    }
}

#[tokio::test]
async fn a_long_stream_takes_little_memory() {
    let fleet = mills(1).await;
    run(&fleet, "bytes", &["\"grind\"", &MIB.to_string()]).await;
    let before: Vec<_> = fleet.hosts.iter().map(|host| forget_peak_memory(host.pid())).collect();
    let count = (64 * MIB).to_string();
    assert_eq!(run(&fleet, "bytes", &["\"grind\"", &count]).await, format!("ok({count})"));
    for (number, (host, before)) in fleet.hosts.iter().zip(before).enumerate() {
        let more = peak_memory(host.pid()).saturating_sub(before);
        println!("64 MiB each way took host {number} {} KiB", more >> 10);
        assert!(more < ROOM, "64 MiB took host {number} {} KiB", more >> 10);
    }
}
