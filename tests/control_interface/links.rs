//! Links: put, replaced, refused, deleted; by whichever host is asked.

use std::collections::BTreeSet;

use async_nats::jetstream;
use futures::future::join_all;
use serde_json::{Value, json};
use wattle_tests::{DEADLINE, Host, HostOptions, Stage, eventually};

use crate::{done, refused};

fn link(source: &str, target: &str, name: &str) -> Value {
    json!({
        "source_id": source, "target": target, "name": name, "wit_namespace": "wasi", "wit_package": "http",
        "interfaces": ["incoming-handler"], "source_config": [], "target_config": [],
    })
}

async fn put(stage: &Stage, link: &Value) -> Value {
    stage.control.request("link.put", link.to_string()).await
}

/// All links, as whichever host knows them that is asked.
async fn links(stage: &Stage) -> Vec<Value> {
    let reply = stage.control.request("link.get", "").await;
    assert_eq!((&reply["success"], &reply["message"]), (&json!(true), &json!("")));
    reply["response"].as_array().unwrap().clone()
}

/// What is stored about a source.
async fn spec(stage: &Stage, source: &str) -> Option<Value> {
    let bucket = format!("LATTICEDATA_{}", stage.nats.lattice());
    let bucket = jetstream::new(stage.control.client().clone()).get_key_value(bucket).await.unwrap();
    let stored = bucket.get(format!("COMPONENT_{source}")).await.unwrap()?;
    Some(serde_json::from_slice(&stored).unwrap())
}

#[tokio::test]
async fn a_link_is_stored_shown_and_told() {
    let stage = Stage::start().await;
    let mut whole = link("a", "b", "by-day");
    whole["interfaces"] = json!(["incoming-handler", "other"]);
    assert_eq!(put(&stage, &whole).await, done("successfully set link"));
    assert_eq!(links(&stage).await, [whole.clone()]);
    assert_eq!(spec(&stage, "a").await.unwrap(), json!({ "url": "", "links": [whole] }));
    assert_eq!(stage.events.wait_for("linkdef_set", |_| true).await, whole);

    // What may be left out is filled in.
    let short = json!({
        "source_id": "a", "target": "c", "wit_namespace": "wasi", "wit_package": "http", "interfaces": ["x"],
    });
    assert_eq!(put(&stage, &short).await, done("successfully set link"));
    let filled = json!({
        "source_id": "a", "target": "c", "name": "default", "wit_namespace": "wasi", "wit_package": "http",
        "interfaces": ["x"], "source_config": [], "target_config": [],
    });
    assert!(links(&stage).await.contains(&filled));
    assert_eq!(stage.events.named("linkdef_set"), [whole, filled]);
}

#[tokio::test]
async fn a_link_takes_the_place_of_its_former_self_and_of_no_other() {
    let stage = Stage::start().await;
    for name in ["colour", "shape"] {
        stage.cli.run(["config", "put", name, "a=b"]).await.ok();
    }
    let first = link("a", "b", "default");
    assert_eq!(put(&stage, &first).await["success"], true);
    let mut second = first.clone();
    (second["interfaces"], second["target_config"]) = (json!(["handler"]), json!(["colour", "shape"]));
    assert_eq!(put(&stage, &second).await["success"], true);
    assert_eq!(links(&stage).await, [second.clone()]);

    let mut conflict = second.clone();
    conflict["target"] = json!("c");
    let reply = put(&stage, &conflict).await;
    let reason = "link already exists with different target, consider deleting the existing link or using a \
                  different link name";
    assert_eq!(reply, refused(reason));
    let failed = stage.events.wait_for("linkdef_set_failed", |_| true).await;
    let mut expected = conflict.clone();
    expected["error"] = json!(reason);
    assert_eq!(failed, expected);

    // Another interface, or another name, may have another target.
    conflict["interfaces"] = json!(["something-else"]);
    assert_eq!(put(&stage, &conflict).await["success"], true);
    assert_eq!(put(&stage, &link("a", "c", "by-night")).await["success"], true);
    assert_eq!(links(&stage).await.len(), 3);

    let mut unknown = link("x", "y", "default");
    (unknown["source_config"], unknown["target_config"]) =
        (json!(["colour", "none"]), json!(["SECRET_none"]));
    let reply = put(&stage, &unknown).await;
    let reason = "Failed to validate configuration and secrets. Configuration none not found in config store. \
                  Secret reference SECRET_none not found in config store. ";
    assert_eq!(reply, refused(reason));
    assert_eq!(spec(&stage, "x").await, None);
}

#[tokio::test]
async fn all_links_of_a_key_are_deleted_together_and_each_is_told() {
    let stage = Stage::start().await;
    let mut one = link("a", "b", "default");
    let mut two = link("a", "c", "default");
    (one["interfaces"], two["interfaces"]) = (json!(["x"]), json!(["y", "z"]));
    let kept = link("a", "d", "by-night");
    for link in [&one, &two, &kept] {
        assert_eq!(put(&stage, link).await["success"], true);
    }
    let key = json!({ "source_id": "a", "wit_namespace": "wasi", "wit_package": "http" });
    let del = async |key: &Value| stage.control.request("link.del", key.to_string()).await;
    assert_eq!(del(&key).await, done("successfully deleted link"));
    assert_eq!(links(&stage).await, std::slice::from_ref(&kept));
    assert_eq!(spec(&stage, "a").await.unwrap()["links"], json!([kept]));
    stage.events.wait_for("linkdef_deleted", |data| data["target"] == "c").await;
    let told = |target: &str, interfaces: Value| {
        json!({
            "source_id": "a", "name": "default", "wit_namespace": "wasi", "wit_package": "http",
            "target": target, "interfaces": interfaces,
        })
    };
    let deleted = stage.events.named("linkdef_deleted");
    assert_eq!(deleted, [told("b", json!(["x"])), told("c", json!(["y", "z"]))]);

    // Nothing is left to delete: that is no error.
    assert_eq!(del(&key).await, done("successfully deleted link"));
    let nothing = json!({ "source_id": "nobody", "wit_namespace": "wasi", "wit_package": "http" });
    assert_eq!(del(&nothing).await, done("successfully deleted link (spec doesn't exist)"));
    assert!(!stage.events.named("linkdef_deleted").iter().any(|data| data["source_id"] == "nobody"));
    let mut name = key.clone();
    name["name"] = json!("by-night");
    assert_eq!(del(&name).await["success"], true);
    assert_eq!(links(&stage).await, Vec::<Value>::new());
    assert_eq!(spec(&stage, "a").await.unwrap(), json!({ "url": "", "links": [] }), "the record stays");
}

#[tokio::test]
async fn two_hosts_that_write_at_once_lose_nothing() {
    let stage = Stage::start().await;
    let other = Host::start(&stage.nats, HostOptions::new()).await;
    let all: Vec<Value> =
        (0..50).map(|number| link("busy", &format!("target-{number}"), &format!("name-{number}"))).collect();
    // Each of these is taken by one of the two hosts, and all change the same record.
    let replies = join_all(all.iter().map(|link| put(&stage, link))).await;
    for reply in replies {
        assert_eq!(reply, done("successfully set link"));
    }
    let stored = spec(&stage, "busy").await.unwrap();
    let names = |links: &[Value]| links.iter().map(|link| link["name"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(stored["links"].as_array().unwrap().len(), 50);
    assert_eq!(names(stored["links"].as_array().unwrap()), names(&all));
    // Both know all of them, whoever is asked.
    for _ in 0..10 {
        eventually("fifty links", DEADLINE, || async { (links(&stage).await.len() == 50).then_some(()) })
            .await;
    }
    assert_eq!(stage.events.named("linkdef_set").len(), 50);
    let sources: BTreeSet<_> = stage
        .events
        .all()
        .iter()
        .filter(|event| event["type"].as_str().unwrap().ends_with("linkdef_set"))
        .map(|event| event["source"].to_string())
        .collect();
    assert_eq!(sources.len(), 2, "both hosts have written, or this shows nothing");
    drop(other);
}
