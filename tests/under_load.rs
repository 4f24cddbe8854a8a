//! A host that goes while it is used: killed, drained, cut off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{Method, Request};
use tokio::sync::Mutex;
use tokio::time::Instant;
use wattle_tests::{
    Fleet, GREETING, Load, Machine, Nats, NatsOptions, Shots, eventually, fetch, guest, reworded,
};

const CALLERS: usize = 64;
/// Calls a second that there have to be, or the test shows nothing.
const RATE: f64 = 2_000.0;
/// Calls before and after what happens.
const CALLS: usize = 8_000;
/// Calls that wait in the component on the host that goes, and nowhere else.
const WAITING: usize = 8;
/// A call ends a moment after the host has said so: two processors are shared by all.
const MARGIN: Duration = Duration::from_millis(250);

/// One after another, or they load each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The second host's answer is the usual one.
const SECOND: &str = GREETING;
/// The third host's answer.
const THIRD: &str = "Hello from Weaver!\n";

/// The server on the first host; `hello` on the second and the third, with answers of their own; `slow` on the second.
/// Gives the URLs of both.
async fn prepare(fleet: &Fleet) -> (String, String) {
    fleet.run_guest(1, "hello", "http-hello", &[]).await;
    fleet.run(2, "hello", &reworded(&guest("http-hello"), SECOND, THIRD), &[]).await;
    fleet.run_guest(1, "slow", "misbehave", &[]).await;
    (fleet.expose(0, "hello", "/").await, fleet.expose(0, "slow", "/hello").await)
}

/// Calls that run in `slow`, made now: how long each takes until it ends, and its status.
async fn waiting(fleet: &Fleet, slow: &str) -> Vec<tokio::task::JoinHandle<(Instant, u16)>> {
    let calls = (0..WAITING)
        .map(|_| {
            let request = Request::post(format!("{slow}/tick?ms=1000")).body(Bytes::new()).unwrap();
            tokio::spawn(async move {
                let answer = fetch(request).await;
                (Instant::now(), answer.map_or(0, |answer| answer.status))
            })
        })
        .collect();
    eventually("the calls to run", wattle_tests::DEADLINE, || async {
        (fleet.hosts[1].log().matches("first tick").count() == WAITING).then_some(())
    })
    .await;
    calls
}

/// Those calls end with an answer that says that they failed, within this time of `gone`.
async fn assert_waiting_end(
    calls: Vec<tokio::task::JoinHandle<(Instant, u16)>>,
    gone: Instant,
    within: Duration,
) {
    let ended: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let longest = ended.iter().map(|(end, _)| end.saturating_duration_since(gone)).max().unwrap_or_default();
    println!("{} calls that ran on the host ended within {longest:?}", ended.len());
    assert!(longest < within + MARGIN, "the last of them ended after {longest:?}: {ended:?}");
    assert!(ended.iter().all(|(_, status)| (500..600).contains(status)), "{ended:?}");
}

/// Before what happened at `gone`, both hosts answered, and enough.
fn assert_load(shots: &Shots, start: Instant, gone: Instant) {
    let before = shots.between(start, gone);
    println!("before: {before}");
    assert!(before.answered_with(SECOND) > 0 && before.answered_with(THIRD) > 0, "only one host is used");
    assert!(before.rate() >= RATE, "{:.0} calls/s are no load", before.rate());
    assert_eq!(before.0.iter().filter(|shot| shot.end < gone && shot.answer.is_err()).count(), 0);
}

/// At most one call of each caller failed, all of them soon after `gone`, and those made later are answered by the third
/// host.
fn assert_only_those_in_flight_failed(shots: &Shots, gone: Instant, within: Duration) {
    let failed = shots.failed();
    let longest =
        failed.iter().map(|shot| shot.end.saturating_duration_since(gone)).max().unwrap_or_default();
    println!(
        "{} of {} calls failed, the last {longest:?} after the host was gone",
        failed.len(),
        shots.0.len()
    );
    for shot in failed.iter().take(3) {
        println!("  made {:?} after it: {:?}", shot.start.saturating_duration_since(gone), shot.answer);
    }
    assert!(failed.len() <= CALLERS, "{} calls failed, and {CALLERS} were in flight", failed.len());
    assert!(longest < within + MARGIN, "a call in flight ended {longest:?} after the host was gone");
    let end = shots.0.iter().map(|shot| shot.end).max().unwrap();
    let after = shots.between(gone + within + MARGIN, end);
    println!("after: {after}");
    assert!(after.failed().is_empty() && after.answered_with(SECOND) == 0);
    assert!(after.answered_with(THIRD) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_killed_under_load() {
    const WITHIN: Duration = Duration::from_secs(1);
    let _alone = ALONE.lock().await;
    let mut fleet = Fleet::start(3).await;
    let (hello, slow) = prepare(&fleet).await;
    let load = Load::start(CALLERS, &Method::POST, &hello);
    load.answers(CALLS / 4).await;
    let waiting = waiting(&fleet, &slow).await;
    let start = Instant::now();
    load.answers(CALLS).await;
    let gone = Instant::now();
    fleet.hosts[1].kill9();
    assert_waiting_end(waiting, gone, WITHIN).await;
    load.answers(CALLS).await;
    let shots = load.stop().await;
    assert_load(&shots, start, gone);
    assert_only_those_in_flight_failed(&shots, gone, WITHIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_drained_under_load() {
    let _alone = ALONE.lock().await;
    let mut fleet = Fleet::start(3).await;
    let (hello, _) = prepare(&fleet).await;
    let load = Load::start(CALLERS, &Method::POST, &hello);
    load.answers(CALLS / 4).await;
    let start = Instant::now();
    load.answers(CALLS).await;
    let gone = Instant::now();
    fleet.cli.run(["stop", "host", &fleet.hosts[1].id()]).await.ok();
    assert_eq!(fleet.hosts[1].wait_exit().await.code(), Some(0));
    let stopped = Instant::now();
    load.answers(CALLS).await;
    let shots = load.stop().await;
    assert_load(&shots, start, gone);
    println!("while it drained: {}", shots.between(gone, stopped));
    println!("after: {}", shots.between(stopped, Instant::now()));
    assert!(shots.failed().is_empty(), "{shots}");
    assert_eq!(shots.between(stopped, Instant::now()).answered_with(SECOND), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_cut_off() {
    const WITHIN: Duration = Duration::from_secs(5);
    let _alone = ALONE.lock().await;
    let machine = match Machine::new() {
        Ok(machine) => machine,
        Err(reason) => {
            println!("machine_cut_off is skipped: no machine of its own can be made here: {reason}");
            return;
        }
    };
    // The machine does not see our loopback interface.
    let mut nats = Nats::prepare(NatsOptions::default());
    let config = format!("listen: \"0.0.0.0:{}\"\n", nats.address().port());
    nats.set_options(NatsOptions { config, ..NatsOptions::default() });
    nats.start_again_on_same_port().await;
    let mut fleet = Fleet::empty(nats).await;
    fleet.join(|options| options).await;
    fleet.join(|options| options.on(&machine)).await;
    fleet.join(|options| options).await;
    let (hello, slow) = prepare(&fleet).await;
    let load = Load::start(CALLERS, &Method::POST, &hello);
    load.answers(CALLS / 4).await;
    let waiting = waiting(&fleet, &slow).await;
    let start = Instant::now();
    load.answers(CALLS).await;
    let gone = Instant::now();
    machine.cut_off();
    assert_waiting_end(waiting, gone, WITHIN).await;
    load.answers(CALLS).await;
    let shots = load.stop().await;
    assert_load(&shots, start, gone);
    assert_only_those_in_flight_failed(&shots, gone, WITHIN);
}
