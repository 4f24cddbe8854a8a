//! Components and providers: what is answered at once, and what the events say.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use wattle_tests::{DEADLINE, Stage, eventually, guest};

use crate::{done, refused};

/// Asks the stage's host to scale; gives the reply.
async fn scale(stage: &Stage, request: Value) -> Value {
    let operation = format!("component.scale.{}", stage.host.id());
    stage.control.request(&operation, request.to_string()).await
}

/// A second version of the example in the stage's registry.
async fn second_version(stage: &Stage) -> String {
    stage.registry.put("http-hello", "2.0.0", &stage.keys.sign(&guest("misbehave"))).await
}

/// What each `component_scaled` says: reference, count and annotations.
fn scaled(stage: &Stage) -> Vec<Value> {
    let all = stage.events.named("component_scaled").into_iter();
    all.map(|data| json!([data["image_ref"], data["max_instances"], data["annotations"]])).collect()
}

async fn wait_for_events(stage: &Stage, count: usize) {
    eventually(&format!("{count} component_scaled"), DEADLINE, || async {
        (stage.events.named("component_scaled").len() >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn commands_for_one_component_take_effect_in_their_order() {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    let subject = format!("wasmbus.ctl.v1.{}.component.scale.{}", stage.nats.lattice(), stage.host.id());
    let client = stage.control.client();
    // The first one starts it, and the others come while it is still being pulled.
    let mut counts: Vec<u32> = (1..=20).collect();
    // And it may be stopped and started in between.
    counts.extend([0, 5, 0, 0, 9]);
    for count in &counts {
        let request = json!({ "component_ref": reference, "component_id": "hello", "count": count });
        client.publish(subject.clone(), request.to_string().into()).await.unwrap();
    }
    wait_for_events(&stage, counts.len()).await;
    let told = stage
        .events
        .named("component_scaled")
        .into_iter()
        .map(|data| data["max_instances"].as_u64().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), counts.iter().map(|count| u64::from(*count)).collect::<Vec<_>>());
    assert_eq!(stage.running().await[0][0]["max_instances"], 9);
    assert_eq!(stage.events.named("component_scale_failed"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_component_that_takes_its_time_holds_up_no_other() {
    // A registry that takes connections and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let stage = Stage::start_with(|options| options.arg("--allow-insecure").arg(&address)).await;
    let reference = stage.push("http-hello").await;
    for number in 0..10 {
        let (reference, id) = (format!("{address}/slow:1"), format!("slow-{number}"));
        let request = json!({ "component_ref": reference, "component_id": id, "count": 1 });
        assert_eq!(scale(&stage, request).await, done(""));
    }
    let _connection = silent.accept().await.unwrap();
    let start = std::time::Instant::now();
    stage.start_component(&reference, "hello", &[]).await.ok();
    assert!(start.elapsed() < Duration::from_secs(10), "it waited {:?}", start.elapsed());
}

#[tokio::test]
async fn a_scale_of_what_runs_keeps_its_reference_unless_an_update_is_asked_for() {
    let stage = Stage::start().await;
    let first = stage.push("http-hello").await;
    let second = second_version(&stage).await;
    let request = |reference: &str, count: u32, annotations: Value| {
        json!({
            "component_ref": reference, "component_id": "hello", "count": count, "annotations": annotations,
            "host_id": stage.host.id(),
        })
    };
    assert_eq!(scale(&stage, request(&first, 1, json!({ "v": "1" }))).await, done(""));
    wait_for_events(&stage, 1).await;

    let reply = scale(&stage, request(&second, 2, json!({ "v": "2" }))).await;
    let message = reply["message"].as_str().unwrap();
    assert!(reply["success"] == true && message.contains(&format!("{first} != {second}")), "{reply}");
    wait_for_events(&stage, 2).await;

    let mut update = request(&second, 3, json!({ "v": "3" }));
    update["allow_update"] = json!(true);
    let reply = scale(&stage, update).await;
    let message = reply["message"].as_str().unwrap();
    assert!(reply["success"] == true && message.contains("update"), "{reply}");
    wait_for_events(&stage, 4).await;

    // Annotations alone are a change as well: deployment managers wait for it.
    assert_eq!(scale(&stage, request(&second, 3, json!({ "v": "4" }))).await, done(""));
    wait_for_events(&stage, 5).await;
    assert_eq!(stage.running().await[0][0]["annotations"], json!({ "v": "4" }));

    // A stop has the annotations of what was stopped, whatever the command says.
    assert_eq!(scale(&stage, request(&second, 0, json!({ "v": "9" }))).await, done(""));
    wait_for_events(&stage, 6).await;
    assert_eq!(
        scaled(&stage),
        [
            json!([first, 1, { "v": "1" }]),
            json!([first, 2, { "v": "2" }]),
            json!([second, 3, { "v": "3" }]),
            json!([first, 0, { "v": "2" }]),
            json!([second, 3, { "v": "4" }]),
            json!([second, 0, { "v": "4" }]),
        ]
    );

    // What does not run is stopped already.
    assert_eq!(scale(&stage, request(&second, 0, json!({ "v": "9" }))).await, done(""));
    wait_for_events(&stage, 7).await;
    assert_eq!(scaled(&stage).last().unwrap(), &json!([second, 0, { "v": "9" }]));
}

#[tokio::test]
async fn references_and_annotations_are_told_as_they_were_given() {
    let stage = Stage::start().await;
    let plain = stage.push("http-hello").await;
    let managed = json!({
        "wasmcloud.dev/managed-by": "wadm", "wasmcloud.dev/appspec": "My App", "wasmcloud.dev/scaler": "ab12",
        "wasmcloud.dev/spread_name": "default", "ü": "\"",
    });
    let file = format!("file://{}", wattle_tests::guest_path("http-hello").display());
    for (id, reference) in [("plain", plain.clone()), ("oci", format!("oci://{plain}")), ("file", file)] {
        let request =
            json!({ "component_ref": reference, "component_id": id, "count": 1, "annotations": managed });
        assert_eq!(scale(&stage, request).await, done(""));
        let event = stage.events.wait_for("component_scaled", |data| data["component_id"] == id).await;
        assert_eq!((&event["image_ref"], &event["annotations"]), (&json!(reference), &managed));
        let running = stage.running().await[0].take();
        let shown = running.as_array().unwrap().iter().find(|component| component["id"] == id).unwrap();
        assert_eq!((&shown["image_ref"], &shown["annotations"]), (&json!(reference), &managed));
    }
}

#[tokio::test]
async fn an_update_is_answered_by_what_it_is_about_to_do() {
    let stage = Stage::start().await;
    let (first, second) = (stage.push("http-hello").await, second_version(&stage).await);
    let operation = format!("component.update.{}", stage.host.id());
    let update = async |reference: &str| {
        let request =
            json!({ "component_id": "hello", "new_component_ref": reference, "host_id": stage.host.id() });
        stage.control.request(&operation, request.to_string()).await
    };
    assert_eq!(update(&first).await, refused("component hello not found"));
    stage.start_component(&first, "hello", &["--annotation", "v=1", "--count", "4"]).await.ok();
    assert_eq!(update(&first).await, done(&format!("component hello already updated to {first}")));
    assert_eq!(update(&second).await, done(&format!("component hello updating from {first} to {second}")));
    wait_for_events(&stage, 3).await;
    assert_eq!(scaled(&stage)[1..], [json!([second, 4, {}]), json!([first, 0, { "v": "1" }])]);
}

#[tokio::test]
async fn limits_of_a_start_command_are_obeyed_and_shown() {
    let stage = Stage::start().await;
    let reference = stage.push("misbehave").await;
    let limits =
        json!({ "max_memory_limit": "33554432", "max_execution_time": "1", "unknown": "x", "odd": "" });
    let request = json!({
        "component_ref": reference, "component_id": "limited", "count": 1, "component_limits": limits,
    });
    assert_eq!(scale(&stage, request).await, done(""));
    wait_for_events(&stage, 1).await;
    assert_eq!(stage.running().await[0][0]["limits"], limits);
    let url = stage.expose("limited").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    assert_eq!(wattle_tests::http(&format!("{url}/hang")).await.unwrap().status, 504);
    assert_eq!(wattle_tests::http(&format!("{url}/memory")).await.unwrap().status, 500);
}

#[tokio::test]
async fn providers_are_started_and_stopped_by_their_id() {
    let stage = Stage::start().await;
    let host = stage.host.id();
    let ask = async |operation: &str, request: Value| {
        stage.control.request(&format!("provider.{operation}.{host}"), request.to_string()).await
    };
    for id_field in ["provider_id", "provider_ref"] {
        assert_eq!(
            ask("stop", json!({ id_field: "none" })).await,
            refused("provider with that ID is not running")
        );
    }
    // Both names of what is built in; each is told as it was given.
    for (id, reference) in [("one", "builtin://http-server"), ("two", "wasmcloud+builtin://http-server")] {
        let request = json!({ "provider_id": id, "provider_ref": reference, "annotations": { "a": "b" } });
        assert_eq!(ask("start", request.clone()).await, done("successfully started provider"));
        let started = stage.events.wait_for("provider_started", |data| data["provider_id"] == id).await;
        assert_eq!(
            started,
            json!({ "host_id": host, "image_ref": reference, "provider_id": id, "annotations": { "a": "b" } })
        );
        assert_eq!(ask("start", request).await, refused("provider with that ID is already running"));
    }
    // The older name of the field, and the event before the reply.
    assert_eq!(
        ask("stop", json!({ "provider_ref": "one", "host_id": host })).await,
        done("successfully stopped provider")
    );
    let stopped = json!({
        "host_id": host, "provider_id": "one", "annotations": { "a": "b" }, "reason": "stop",
        "instance_id": "one", "public_key": "one", "link_name": "default",
    });
    stage.events.wait_for("provider_stopped", |data| *data == stopped).await;
    let running = stage.running().await[1].take();
    assert_eq!((running.as_array().unwrap().len(), &running[0]["id"]), (1, &json!("two")));

    let request = json!({ "provider_id": "three", "provider_ref": "builtin://nothing" });
    assert_eq!(ask("start", request).await, done("successfully started provider"));
    let mut failed = stage.events.wait_for("provider_start_failed", |_| true).await;
    assert!(failed["error"].take().as_str().unwrap().contains("nothing"));
    let expected = json!({
        "provider_ref": "builtin://nothing", "provider_id": "three", "host_id": host, "error": null,
        "link_name": "default",
    });
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn a_provider_says_how_it_is() {
    let stage = Stage::start().await;
    let host = stage.host.id();
    stage.cli.run(["start", "provider", "builtin://http-server", "http", "--host", &host]).await.ok();
    let passed = stage.events.wait_for("health_check_passed", |_| true).await;
    assert_eq!(passed, json!({ "host_id": host, "provider_id": "http" }));
}
