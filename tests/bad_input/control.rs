//! Control commands that are none.

use std::time::Duration;

use serde_json::{Value, json};
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_tests::Stage;

/// What is no JSON, or no object.
const GARBAGE: [&[u8]; 5] = [b"{", b"no JSON", b"\xff\xfe\x00", b"\"text\"", b"42"];

/// Commands for one host, each with a payload that would be right but for `field`, which must be there.
const REQUIRED: [(&str, &str); 5] = [
    ("component.scale", "component_id"),
    ("provider.start", "provider_id"),
    ("provider.stop", "provider_id"),
    ("label.put", "key"),
    ("label.del", "key"),
];

/// The host says no, in words that have this one.
fn assert_no(operation: &str, payload: &[u8], reply: &Value, word: &str) {
    let message = reply["message"].as_str().unwrap();
    let payload = String::from_utf8_lossy(payload);
    assert_eq!(reply["success"], false, "{operation} took {payload}: {reply:#}");
    assert!(message.contains(word), "{operation} with {payload}: `{message}` does not say `{word}`");
    assert!(reply.get("response").is_none(), "{operation}: {reply:#}");
}

/// All that a bad command could change.
async fn everything(stage: &Stage) -> Value {
    let inventory = stage.inventory().await;
    let links = stage.control.request("link.get", "").await;
    let config = stage.control.request("config.get.bad", "").await;
    json!([inventory["components"], inventory["providers"], inventory["labels"], links, config])
}

#[tokio::test]
async fn bad_input_control_payload_is_no_json() {
    let mut stage = Stage::start().await;
    let before = everything(&stage).await;
    let host = stage.host.id();
    let mut operations: Vec<String> =
        REQUIRED.iter().map(|(operation, _)| format!("{operation}.{host}")).collect();
    operations.extend(["component.update", "host.stop"].map(|operation| format!("{operation}.{host}")));
    operations.extend(["link.put", "link.del", "config.put.bad", "registry.put"].map(str::to_owned));
    for operation in &operations {
        for payload in GARBAGE {
            let reply = stage.control.request(operation, payload.to_vec()).await;
            assert_no(operation, payload, &reply, "payload");
        }
    }
    assert_eq!(everything(&stage).await, before);
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_control_payload_is_a_list() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    let before = everything(&stage).await;
    let host = stage.host.id();
    // A list has no names, so nothing in it can be meant as a field.
    for (operation, fields) in [
        ("component.scale", json!([reference, "by-place", null, 1])),
        ("component.update", json!(["by-place"])),
        ("provider.start", json!(["by-place", "builtin://http-server"])),
        ("provider.stop", json!(["", "by-place"])),
        ("label.put", json!(["key", "value"])),
        ("label.del", json!(["key"])),
        ("host.stop", json!([host])),
    ] {
        let operation = format!("{operation}.{host}");
        for payload in ["[]".to_owned(), fields.to_string()] {
            let reply = stage.control.request(&operation, payload.clone()).await;
            assert_no(&operation, payload.as_bytes(), &reply, "payload");
        }
    }
    for (operation, fields) in [
        ("link.put", json!(["a", "b", "default", "wasi", "http", ["x"], [], []])),
        ("link.del", json!(["a", "wasi", "http", "default"])),
        ("config.put.bad", json!([])),
        ("registry.put", json!([])),
    ] {
        let payload = fields.to_string();
        let reply = stage.control.request(operation, payload.clone()).await;
        assert_no(operation, payload.as_bytes(), &reply, "payload");
    }
    assert_eq!(everything(&stage).await, before);
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_control_payload_is_empty() {
    let mut stage = Stage::start().await;
    let host = stage.host.id();
    for (operation, _) in REQUIRED {
        let operation = format!("{operation}.{host}");
        let reply = stage.control.request(&operation, "").await;
        assert_no(&operation, b"", &reply, "payload");
    }
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_control_payload_misses_fields() {
    let mut stage = Stage::start().await;
    let before = everything(&stage).await;
    let host = stage.host.id();
    for (operation, field) in REQUIRED {
        let operation = format!("{operation}.{host}");
        let reply = stage.control.request(&operation, "{}").await;
        assert_no(&operation, b"{}", &reply, field);
    }
    let link = json!({ "source_id": "a", "target": "b", "wit_namespace": "wasi", "wit_package": "http", "interfaces": ["x"] });
    for field in ["source_id", "target", "wit_namespace", "wit_package", "interfaces"] {
        let mut link = link.clone();
        link.as_object_mut().unwrap().remove(field);
        let payload = link.to_string();
        let reply = stage.control.request("link.put", payload.clone()).await;
        assert_no("link.put", payload.as_bytes(), &reply, field);
    }
    for field in ["source_id", "wit_namespace", "wit_package"] {
        let mut link = link.clone();
        link.as_object_mut().unwrap().remove(field);
        let payload = link.to_string();
        let reply = stage.control.request("link.del", payload.clone()).await;
        assert_no("link.del", payload.as_bytes(), &reply, field);
    }
    assert_eq!(everything(&stage).await, before);
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_control_payload_has_wrong_types_and_names() {
    let mut stage = Stage::start().await;
    let before = everything(&stage).await;
    let host = stage.host.id();
    let scale = format!("component.scale.{host}");
    let cases = [
        (scale.clone(), json!({ "component_id": 5 }), "string"),
        (scale.clone(), json!({ "component_id": "a", "count": -1 }), "-1"),
        (scale.clone(), json!({ "component_id": "a", "count": "many" }), "many"),
        (
            scale.clone(),
            json!({ "component_id": "a", "component_ref": "r/a:1", "annotations": ["x"] }),
            "map",
        ),
        (
            scale.clone(),
            json!({ "component_id": "not.an.id", "component_ref": "r/a:1", "count": 1 }),
            "not.an.id",
        ),
        (scale.clone(), json!({ "component_id": "*", "component_ref": "r/a:1", "count": 1 }), "component_id"),
        (scale.clone(), json!({ "component_id": "", "component_ref": "r/a:1", "count": 1 }), "component_id"),
        (
            format!("provider.start.{host}"),
            json!({ "provider_id": "a b", "provider_ref": "r/a:1" }),
            "provider_id",
        ),
        (format!("provider.stop.{host}"), json!({ "provider_id": "nobody" }), "not running"),
        (format!("component.update.{host}"), json!({ "component_id": "nobody" }), "not found"),
        (format!("label.put.{host}"), json!({ "key": "hostcore.os", "value": "plan9" }), "hostcore"),
        (format!("label.del.{host}"), json!({ "key": "hostcore.os" }), "hostcore"),
        ("config.put.bad".to_owned(), json!({ "number": 5 }), "payload"),
        ("config.put.bad".to_owned(), json!(["a"]), "payload"),
        (
            "link.put".to_owned(),
            json!({ "source_id": "a.b", "target": "c", "wit_namespace": "wasi", "wit_package": "http", "interfaces": ["x"] }),
            "a.b",
        ),
        (
            "link.put".to_owned(),
            json!({ "source_id": "a", "target": "c", "wit_namespace": "wasi", "wit_package": "http", "interfaces": ["x"], "source_config": ["nowhere"] }),
            "Configuration nowhere not found",
        ),
        ("link.del".to_owned(), json!({ "source_id": ["a"] }), "payload"),
        (format!("component.frobnicate.{host}"), json!({}), "unsupported subject"),
        ("link.frobnicate".to_owned(), json!({}), "unsupported subject"),
        ("config.put.a.b.c".to_owned(), json!({}), "unsupported subject"),
    ];
    for (operation, payload, word) in cases {
        let payload = payload.to_string();
        let reply = stage.control.request(&operation, payload.clone()).await;
        assert_no(&operation, payload.as_bytes(), &reply, word);
    }
    assert_eq!(everything(&stage).await, before);
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_control_payload_names_another_host() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    let before = everything(&stage).await;
    let (host, other) = (stage.host.id(), KeyPair::generate(KeyKind::Host).unwrap().public_key());
    let cases = [
        ("component.scale", json!({ "component_id": "a", "component_ref": reference, "count": 1 })),
        ("component.update", json!({ "component_id": "a", "new_component_ref": reference })),
        ("provider.start", json!({ "provider_id": "a", "provider_ref": "builtin://http-server" })),
        ("provider.stop", json!({ "provider_id": "a" })),
        ("host.stop", json!({})),
    ];
    for (operation, mut payload) in cases {
        payload["host_id"] = Value::String(other.clone());
        let (operation, payload) = (format!("{operation}.{host}"), payload.to_string());
        let reply = stage.control.request(&operation, payload.clone()).await;
        assert_no(&operation, payload.as_bytes(), &reply, &other);
    }
    assert_eq!(everything(&stage).await, before);
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_auctions_get_no_bid() {
    let mut stage = Stage::start().await;
    // A bid that can't be read would end a client's waiting for the good ones: silence is the answer.
    for operation in ["component.auction", "provider.auction"] {
        let mut payloads = GARBAGE.to_vec();
        payloads.extend([b"{}".as_slice(), b"{\"component_id\":\"a\",\"provider_id\":\"a\"}"]);
        for payload in payloads {
            let subject = format!("wasmbus.ctl.v1.{}.{operation}", stage.nats.lattice());
            let asked = stage.control.client().request(subject, payload.to_vec().into());
            let silence = tokio::time::timeout(Duration::from_millis(300), asked).await;
            assert!(silence.is_err(), "{operation} answered {silence:?}");
        }
    }
    stage.assert_host_lives().await;
}
