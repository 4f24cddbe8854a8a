//! What runs is scaled, updated, labelled and stopped while it is used; each change is told once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use wattle_tests::{DEADLINE, Exchange, GREETING, Stage, eventually, guest, http, reworded};

/// The example in its second version says this.
const NEW_GREETING: &str = "Hello from Weaver!\n";

/// A stage on which a guest runs under its own name, and its URL.
async fn stage_with(guest: &str, flags: &[&str]) -> (Stage, String) {
    let stage = Stage::start().await;
    let reference = stage.push(guest).await;
    stage.start_component(&reference, guest, flags).await.ok();
    let url = stage.expose(guest).await;
    (stage, url)
}

/// How long six calls of a second each take when they are made at once.
async fn six_calls(url: &str) -> Duration {
    let start = Instant::now();
    let answers = join_all((0..6).map(|_| http(url))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().text() == "slept\n"));
    start.elapsed()
}

#[tokio::test]
async fn calls_beyond_the_count_wait_for_their_turn() {
    let (stage, url) = stage_with("misbehave", &["--count", "2"]).await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let sleep = format!("{url}/sleep?ms=1000");
    let took = six_calls(&sleep).await;
    assert!(took >= Duration::from_secs(3), "two at once and six of a second each took {took:?}");

    stage.cli.run(["scale", "component", "misbehave", "6"]).await.ok();
    let took = six_calls(&sleep).await;
    assert!(took < Duration::from_secs(3), "six at once of a second each took {took:?}");

    stage.cli.run(["scale", "component", "misbehave", "1"]).await.ok();
    let took = six_calls(&sleep).await;
    assert!(took >= Duration::from_secs(6), "one at a time and six of a second each took {took:?}");

    assert_eq!(stage.running().await[0][0]["max_instances"], 1);
    let counts = stage.events.named("component_scaled");
    let counts: Vec<_> = counts.iter().map(|data| data["max_instances"].as_u64().unwrap()).collect();
    assert_eq!(counts, [2, 6, 1]);
    stage.cli.run(["scale", "component", "misbehave", "0"]).await.ok();
    assert_eq!(stage.running().await[0], json!([]));
}

#[tokio::test]
async fn a_scale_changes_the_count_and_nothing_else() {
    let stage = Stage::start().await;
    for name in ["colours", "shapes"] {
        stage.cli.run(["config", "put", name, "a=b"]).await.ok();
    }
    let reference = stage.push("http-hello").await;
    let flags = ["--annotation", "team=blue", "--config", "shapes", "--config", "colours"];
    let limits = ["--max-memory", "64MiB", "--max-execution-time", "30s"];
    stage.start_component(&reference, "hello", &[&flags[..], &limits[..]].concat()).await.ok();
    let mut expected = stage.running().await;
    assert_eq!(expected[0][0]["config"], json!(["shapes", "colours"]));
    expected[0][0]["max_instances"] = json!(5);
    stage.cli.run(["scale", "component", "hello", "5"]).await.ok();
    assert_eq!(stage.running().await, expected);
    expected[0][0]["config"] = json!(["colours"]);
    stage.cli.run(["scale", "component", "hello", "5", "--config", "colours"]).await.ok();
    assert_eq!(stage.running().await, expected);
}

/// Somebody who asks for the same page all the time.
struct Visitors {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Visitors {
    fn start(url: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let visit = |_| {
            let (url, stop, answered) = (url.to_owned(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answers.push(match http(&url).await {
                        Ok(answer) if answer.status == 200 => answer.text(),
                        other => format!("{other:?}"),
                    });
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                answers
            })
        };
        let tasks = (0..4).map(visit).collect();
        Self { stop, answered, tasks }
    }

    /// Waits until this many more were answered.
    async fn answered(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        let enough = || async { (self.answered.load(Ordering::Relaxed) >= goal).then_some(()) };
        eventually(&format!("{more} more answers"), DEADLINE, enough).await;
    }

    /// Every answer that was given.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        join_all(self.tasks).await.into_iter().flat_map(|answers| answers.unwrap()).collect()
    }
}

#[tokio::test]
async fn an_update_fails_no_request() {
    let (stage, url) = stage_with("http-hello", &["--count", "3", "--annotation", "team=blue"]).await;
    stage.wait_for_page(&url, GREETING).await;
    let second = stage.keys.sign(&reworded(&guest("http-hello"), GREETING, NEW_GREETING));
    let reference = stage.registry.put("http-hello", "2.0.0", &second).await;

    let visitors = Visitors::start(&url);
    visitors.answered(20).await;
    let update = ["update", "component", "http-hello", &reference, "-o", "json"];
    let updated = stage.cli.run(update).await.ok().json();
    assert_eq!(updated["host_ids"], json!([stage.host.id()]));
    assert_eq!(http(&url).await.unwrap().text(), NEW_GREETING, "when the command is done, so is the update");
    visitors.answered(20).await;
    let answers = visitors.stop().await;
    let failed: Vec<_> =
        answers.iter().filter(|answer| *answer != GREETING && *answer != NEW_GREETING).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {:?}", failed.len(), answers.len(), failed[0]);
    assert!(
        answers.iter().any(|answer| answer == GREETING)
            && answers.iter().any(|answer| answer == NEW_GREETING)
    );

    let component = &stage.running().await[0][0];
    assert_eq!((&component["image_ref"], &component["max_instances"]), (&json!(reference), &json!(3)));
    assert_eq!(component["annotations"], json!({ "team": "blue" }));
    let again = stage.cli.run(update).await.ok().json();
    assert_eq!((&again["host_ids"], &again["unchanged_host_ids"]), (&json!([]), &json!([stage.host.id()])));
}

/// A call that the component has taken: what is sent comes back, until it is ended.
async fn call_that_runs(url: &str) -> Exchange {
    let mut call = Exchange::open(Method::POST, &format!("{url}/echo")).await.unwrap();
    call.send("one").await.unwrap();
    assert_eq!(call.head().await.unwrap().status, 200);
    assert_eq!(call.piece().await.unwrap().unwrap(), "one");
    call
}

/// The call goes on as if nothing had happened, to its end.
async fn assert_goes_on(mut call: Exchange) {
    call.send("two").await.unwrap();
    assert_eq!(call.piece().await.unwrap().unwrap(), "two");
    call.finish();
    assert_eq!(call.piece().await.unwrap(), None);
}

#[tokio::test]
async fn a_call_that_runs_during_an_update_is_finished() {
    let (stage, url) = stage_with("misbehave", &[]).await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let second = stage.keys.sign(&reworded(&guest("misbehave"), "slept\n", "dozed\n"));
    let reference = stage.registry.put("misbehave", "2.0.0", &second).await;

    let call = call_that_runs(&url).await;
    stage.cli.run(["update", "component", "misbehave", &reference]).await.ok();
    assert_eq!(http(&format!("{url}/sleep?ms=1")).await.unwrap().text(), "dozed\n");
    assert_goes_on(call).await;
}

#[tokio::test]
async fn a_call_that_runs_is_finished_though_its_component_is_stopped() {
    let (stage, url) = stage_with("misbehave", &[]).await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let call = call_that_runs(&url).await;
    stage.cli.run(["stop", "component", "misbehave"]).await.ok();
    assert_eq!(http(&format!("{url}/hello")).await.unwrap().status, 503);
    assert_goes_on(call).await;
}

/// The names of all events but those that come by the clock, shortened.
fn names(events: &[Value]) -> Vec<String> {
    let name = |event: &Value| event["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    events.iter().map(name).filter(|name| !name.contains("health") && !name.contains("heartbeat")).collect()
}

#[tokio::test]
async fn every_change_is_told_once_and_what_is_stopped_is_gone() {
    let (mut stage, url) = stage_with("http-hello", &[]).await;
    stage.wait_for_page(&url, GREETING).await;
    let host = stage.host.id();
    let id = host.as_str();
    let second = stage.keys.sign(&reworded(&guest("http-hello"), GREETING, NEW_GREETING));
    let reference = stage.registry.put("http-hello", "2.0.0", &second).await;
    let run = async |words: &[&str]| stage.cli.run(words).await.ok();

    run(&["scale", "component", "http-hello", "7"]).await;
    run(&["update", "component", "http-hello", &reference]).await;
    run(&["label", id, "zone=attic", "disk=ssd"]).await;
    run(&["label", id, "--delete", "disk"]).await;
    let labels = run(&["get", "hosts", "-o", "json"]).await.json()[0]["labels"].take();
    assert_eq!((&labels["zone"], &labels["disk"]), (&json!("attic"), &Value::Null));

    run(&["stop", "component", "http-hello"]).await;
    let answer = http(&url).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
    stage.cli.run(["stop", "component", "http-hello"]).await.failed(&["http-hello", "on no host"]);

    run(&["link", "del", "http-server", "wasi", "http", "--name", "to-http-hello"]).await;
    assert!(http(&url).await.is_err(), "nobody listens where no link is");
    run(&["config", "del", "http-http-hello"]).await;
    run(&["stop", "provider", "http-server"]).await;
    stage.cli.run(["stop", "provider", "http-server"]).await.failed(&["http-server", "on no host"]);
    assert_eq!(stage.running().await, json!([[], []]));
    run(&["stop", "host", id]).await;
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));

    let all = stage.events.all();
    let expected = [
        "host_started",
        "component_scaled",
        "config_set",
        "provider_started",
        "linkdef_set",
        "component_scaled",
        "component_scaled",
        "component_scaled",
        "labels_changed",
        "labels_changed",
        "labels_changed",
        "component_scaled",
        "linkdef_deleted",
        "config_deleted",
        "provider_stopped",
        "host_stopped",
    ];
    assert_eq!(names(&all), expected);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), all.len(), "each event has an id of its own");
    assert!(all.iter().all(|event| event["source"] == host));
    let scaled = stage.events.named("component_scaled");
    let told: Vec<_> =
        scaled.iter().map(|data| (data["image_ref"].as_str().unwrap(), &data["max_instances"])).collect();
    let first = stage.registry.reference("http-hello:1.0.0");
    assert_eq!(
        told,
        [
            (first.as_str(), &json!(1000)),
            (first.as_str(), &json!(7)),
            (reference.as_str(), &json!(7)),
            (first.as_str(), &json!(0)),
            (reference.as_str(), &json!(0)),
        ]
    );
}

#[tokio::test]
async fn a_provider_that_is_stopped_lets_its_requests_finish() {
    let (stage, url) = stage_with("misbehave", &[]).await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let call = call_that_runs(&url).await;
    let stop = stage.cli.run(["stop", "provider", "http-server"]);
    let end = async {
        // From here on the provider is being stopped.
        eventually("the server to take no more", DEADLINE, || async { http(&url).await.err() }).await;
        assert_goes_on(call).await;
    };
    let (stopped, ()) = futures::join!(stop, end);
    stopped.ok();
}
