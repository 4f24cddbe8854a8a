//! Who would run it? Hosts that could, say so; the others say nothing.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use wattle_tests::{Host, HostOptions, Stage};

use crate::data;

/// All replies that come within a second, sorted by host.
async fn bids(stage: &Stage, operation: &str, payload: &Value) -> Vec<Value> {
    let client = stage.control.client();
    let inbox = client.new_inbox();
    let mut replies = client.subscribe(inbox.clone()).await.unwrap();
    let subject = format!("wasmbus.ctl.v1.{}.{operation}", stage.nats.lattice());
    client.publish_with_reply(subject, inbox, payload.to_string().into()).await.unwrap();
    let mut bids = Vec::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(1);
    while let Ok(Some(reply)) = tokio::time::timeout_at(end, replies.next()).await {
        bids.push(serde_json::from_slice::<Value>(&reply.payload).unwrap());
    }
    bids.sort_by_key(|bid| bid["response"]["host_id"].to_string());
    bids
}

#[tokio::test]
async fn hosts_bid_whose_labels_are_as_asked() {
    let stage =
        Stage::start_with(|options| options.arg("--label").arg("zone=attic").arg("--label").arg("disk=ssd"))
            .await;
    let attic = HostOptions::new().arg("--label").arg("zone=attic");
    let other = Host::start(&stage.nats, attic).await;
    let _shy = Host::start(
        &stage.nats,
        HostOptions::new()
            .env("WASMCLOUD_COMPONENT_AUCTION_ENABLED", "false")
            .env("WASMCLOUD_PROVIDER_AUCTION_ENABLED", "false")
            .arg("--label")
            .arg("zone=attic"),
    )
    .await;
    let mut both = [stage.host.id(), other.id()];
    both.sort();
    let request = |kind: &str, constraints: &Value| {
        let (reference, id) = (format!("{kind}_ref"), format!("{kind}_id"));
        json!({ reference: "registry.example/a:1", id: "a", "constraints": constraints })
    };

    for (constraints, bidders) in [
        (json!({ "zone": "attic" }), &both[..]),
        (json!({ "zone": "attic", "disk": "ssd" }), &[stage.host.id()]),
        (json!({ "zone": "attic", "hostcore.os": "linux", "hostcore.osfamily": "unix" }), &both),
        (json!({ "zone": "Attic" }), &[]),
        (json!({ "Zone": "attic" }), &[]),
        (json!({ "zone": "attic", "disk": "" }), &[]),
        (json!({ "hostcore.arch": "pdp11" }), &[]),
    ] {
        for kind in ["component", "provider"] {
            let request = request(kind, &constraints);
            let found = bids(&stage, &format!("{kind}.auction"), &request).await;
            let bid = |id: &String| {
                let mut bid = request.clone();
                bid["host_id"] = json!(id);
                data(bid)
            };
            let expected: Vec<Value> = bidders.iter().map(bid).collect();
            assert_eq!(found, expected, "{request}");
        }
    }
}

#[tokio::test]
async fn who_runs_it_already_does_not_bid() {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let host = stage.host.id();
    stage.cli.run(["start", "provider", "builtin://http-server", "http", "--host", &host]).await.ok();
    let component = |id: &str| json!({ "component_ref": reference, "component_id": id, "constraints": {} });
    assert_eq!(bids(&stage, "component.auction", &component("hello")).await, Vec::<Value>::new());
    // It is the id that counts, and not the reference.
    assert_eq!(bids(&stage, "component.auction", &component("other")).await.len(), 1);
    let provider =
        |id: &str| json!({ "provider_ref": "builtin://http-server", "provider_id": id, "constraints": {} });
    assert_eq!(bids(&stage, "provider.auction", &provider("http")).await, Vec::<Value>::new());
    assert_eq!(bids(&stage, "provider.auction", &provider("default")).await.len(), 1);
}
