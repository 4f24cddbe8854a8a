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

/// What the second and the third host answer.
const ANSWERS: [&str; 2] = [GREETING, "Hello from Weaver!\n"];

/// The server on the first host; `hello` on the second and the third, with answers of their own; `slow` nowhere yet.
struct Scene {
    fleet: Fleet,
    load: Option<Load>,
    slow: String,
    /// The host that will go: the one that answers more.
    goes: usize,
    /// When the load was as it should be.
    start: Instant,
}

impl Scene {
    /// The load is of calls that may not be made twice, or of such that may: POST or GET.
    async fn set(fleet: Fleet, method: Method) -> Self {
        let hello = guest("http-hello");
        for (host, answer) in [1, 2].into_iter().zip(ANSWERS) {
            fleet.run(host, "hello", &reworded(&hello, GREETING, answer), &[]).await;
        }
        let url = fleet.expose(0, "hello", "/").await;
        let first = Load::start(CALLERS, &method, &url);
        first.answers(CALLS / 4).await;
        let first = first.stop().await;
        let answers = ANSWERS.map(|answer| first.answered_with(answer));
        println!("{answers:?} of {} calls were answered by the second and the third host", first.0.len());
        let goes = if answers[0] >= answers[1] { 1 } else { 2 };
        fleet.run_guest(goes, "slow", "misbehave", &[]).await;
        let slow = fleet.expose(0, "slow", "/hello").await;
        let load = Load::start(CALLERS, &method, &url);
        load.answers(CALLS / 4).await;
        Self { fleet, load: Some(load), slow, goes, start: Instant::now() }
    }

    /// Waits until so many more calls were answered.
    async fn answers(&self, more: usize) {
        self.load.as_ref().unwrap().answers(more).await;
    }

    /// Waits until calls that were made after this moment were answered, too.
    async fn answers_after(&self, moment: Instant) {
        while Instant::now() < moment {
            self.answers(CALLERS).await;
        }
        self.answers(CALLS).await;
    }

    /// Ends the load, and gives all of its calls.
    async fn stop(&mut self) -> Shots {
        self.load.take().unwrap().stop().await
    }

    /// The answer of the host that goes.
    fn lost(&self) -> &'static str {
        ANSWERS[self.goes - 1]
    }

    /// The answer of the one that stays.
    fn kept(&self) -> &'static str {
        ANSWERS[2 - self.goes]
    }

    /// Makes calls that run until their caller is gone, on the host that goes, and waits until they run.
    async fn waiting(&self) -> Vec<Waiting> {
        let calls = (0..WAITING)
            .map(|_| {
                let request =
                    Request::post(format!("{}/tick?ms=1000", self.slow)).body(Bytes::new()).unwrap();
                tokio::spawn(async move {
                    let answer = fetch(request).await;
                    (Instant::now(), answer.map_or(0, |answer| answer.status))
                })
            })
            .collect();
        let host = &self.fleet.hosts[self.goes];
        eventually("the calls to run", wattle_tests::DEADLINE, || async {
            (host.log().matches("first tick").count() == WAITING).then_some(())
        })
        .await;
        calls
    }

    /// Before what happened at `gone`, the host that went answered, and there was load enough.
    fn assert_load(&self, shots: &Shots, gone: Instant) {
        let before = shots.ended_between(self.start, gone);
        println!("before: {before}");
        assert!(before.failed().is_empty(), "{before}");
        assert!(before.answered_with(self.lost()) > 0, "the host that went was not used");
        let rate = before.0.len() as f64 / (gone - self.start).as_secs_f64();
        assert!(rate >= RATE, "{rate:.0} calls/s are no load");
    }

    /// At most one call of each caller failed, all of them soon after `gone`, and those made later are answered by the
    /// host that stayed.
    fn assert_only_those_in_flight_failed(&self, shots: &Shots, gone: Instant, within: Duration) {
        let failed = shots.failed();
        let longest = failed.iter().map(|shot| shot.end.saturating_duration_since(gone)).max();
        let (longest, all) = (longest.unwrap_or_default(), shots.0.len());
        println!("{} of {all} calls failed, the last {longest:?} after the host was gone", failed.len());
        for shot in failed.iter().take(3) {
            println!("  made {:?} after it: {:?}", shot.start.saturating_duration_since(gone), shot.answer);
        }
        assert!(failed.len() <= CALLERS, "{} calls failed, and {CALLERS} were in flight", failed.len());
        assert!(longest < within + MARGIN, "a call in flight ended {longest:?} after the host was gone");
        let after = shots.made_between(gone + within + MARGIN, Instant::now());
        println!("after: {after}");
        assert!(after.failed().is_empty() && after.answered_with(self.lost()) == 0);
        assert!(after.answered_with(self.kept()) > 0);
    }
}

/// A call: when it ended, and its status.
type Waiting = tokio::task::JoinHandle<(Instant, u16)>;

/// Those calls end with an answer that says that they failed, within this time of `gone`.
async fn assert_waiting_end(calls: Vec<Waiting>, gone: Instant, within: Duration) {
    let ended: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let longest = ended.iter().map(|(end, _)| end.saturating_duration_since(gone)).max().unwrap_or_default();
    println!("{} calls that ran on the host ended within {longest:?}", ended.len());
    assert!(longest < within + MARGIN, "the last of them ended after {longest:?}: {ended:?}");
    assert!(ended.iter().all(|(_, status)| (500..600).contains(status)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_killed_under_load() {
    const WITHIN: Duration = Duration::from_secs(1);
    let _alone = ALONE.lock().await;
    let mut scene = Scene::set(Fleet::start(3).await, Method::POST).await;
    let waiting = scene.waiting().await;
    scene.answers(CALLS).await;
    let gone = Instant::now();
    scene.fleet.hosts[scene.goes].kill9();
    assert_waiting_end(waiting, gone, WITHIN).await;
    scene.answers_after(gone + WITHIN + MARGIN).await;
    let shots = scene.stop().await;
    scene.assert_load(&shots, gone);
    scene.assert_only_those_in_flight_failed(&shots, gone, WITHIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_may_be_repeated_are_when_their_host_is_killed() {
    let _alone = ALONE.lock().await;
    let mut scene = Scene::set(Fleet::start(3).await, Method::GET).await;
    scene.answers(CALLS).await;
    let gone = Instant::now();
    scene.fleet.hosts[scene.goes].kill9();
    scene.answers(CALLS).await;
    let shots = scene.stop().await;
    scene.assert_load(&shots, gone);
    println!("all: {shots}");
    assert!(shots.failed().is_empty(), "{shots}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_drained_under_load() {
    let _alone = ALONE.lock().await;
    let mut scene = Scene::set(Fleet::start(3).await, Method::POST).await;
    scene.answers(CALLS).await;
    let gone = Instant::now();
    let host = &mut scene.fleet.hosts[scene.goes];
    scene.fleet.cli.run(["stop", "host", &host.id()]).await.ok();
    assert_eq!(host.wait_exit().await.code(), Some(0));
    let stopped = Instant::now();
    scene.answers(CALLS).await;
    let shots = scene.stop().await;
    scene.assert_load(&shots, gone);
    println!("while it drained: {}", shots.made_between(gone, stopped));
    let after = shots.made_between(stopped, Instant::now());
    println!("after: {after}");
    assert!(shots.failed().is_empty(), "{shots}");
    assert_eq!(after.answered_with(scene.lost()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_cut_off() {
    const WITHIN: Duration = Duration::from_secs(5);
    let _alone = ALONE.lock().await;
    let machines = match (Machine::new(), Machine::new()) {
        (Ok(one), Ok(other)) => [one, other],
        (Err(reason), _) | (_, Err(reason)) => {
            println!("machine_cut_off is skipped: no machine of its own can be made here: {reason}");
            return;
        }
    };
    // The machines do not see our loopback interface.
    let mut nats = Nats::prepare(NatsOptions::default());
    let config = format!("listen: \"0.0.0.0:{}\"\n", nats.address().port());
    nats.set_options(NatsOptions { config, ..NatsOptions::default() });
    nats.start_again_on_same_port().await;
    let mut fleet = Fleet::empty(nats).await;
    fleet.join(|options| options).await;
    for machine in &machines {
        fleet.join(|options| options.on(machine)).await;
    }
    let mut scene = Scene::set(fleet, Method::POST).await;
    let waiting = scene.waiting().await;
    scene.answers(CALLS).await;
    let gone = Instant::now();
    machines[scene.goes - 1].cut_off();
    assert_waiting_end(waiting, gone, WITHIN).await;
    scene.answers_after(gone + WITHIN + MARGIN).await;
    let shots = scene.stop().await;
    scene.assert_load(&shots, gone);
    scene.assert_only_those_in_flight_failed(&shots, gone, WITHIN);
}
