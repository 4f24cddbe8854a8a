//! The two buckets: what is in them, and what a host makes of what others write there.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv::{Operation, Store};
use async_nats::jetstream::stream::{DiscardPolicy, StorageType};
use serde_json::{Value, json};
use wattle_tests::{DEADLINE, GREETING, Host, HostOptions, Nats, Stage, eventually, free_address};

use crate::{data, done};

async fn bucket(nats: &Nats, prefix: &str) -> Store {
    let context = jetstream::new(nats.connect().await);
    context.get_key_value(format!("{prefix}_{}", nats.lattice())).await.unwrap()
}

async fn read(bucket: &Store, key: &str) -> Value {
    let stored = bucket.get(key).await.unwrap().unwrap_or_else(|| panic!("there is no {key}"));
    serde_json::from_slice(&stored).unwrap()
}

#[tokio::test]
async fn buckets_are_made_with_the_usual_settings_and_followed_by_one_consumer_each() {
    let stage = Stage::start().await;
    let context = jetstream::new(stage.nats.connect().await);
    for prefix in ["LATTICEDATA", "CONFIGDATA"] {
        let name = format!("{prefix}_{}", stage.nats.lattice());
        let mut stream = context.get_stream(format!("KV_{name}")).await.unwrap();
        let info = stream.info().await.unwrap();
        let config = &info.config;
        assert_eq!(
            config.subjects.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!("$KV.{name}.>")]
        );
        assert_eq!((config.max_messages_per_subject, config.num_replicas), (1, 1));
        assert_eq!((config.max_age, config.max_bytes, config.max_messages), (Duration::ZERO, -1, -1));
        assert_eq!((config.storage, config.discard), (StorageType::File, DiscardPolicy::New));
        assert!(config.allow_rollup && config.deny_delete && config.allow_direct && !config.deny_purge);
        assert_eq!(info.state.consumer_count, 1, "{name}");
    }
}

#[tokio::test]
async fn buckets_that_an_operator_made_are_left_as_they_are() {
    let nats = Nats::start().await;
    let context = jetstream::new(nats.connect().await);
    let name = format!("LATTICEDATA_{}", nats.lattice());
    let config =
        jetstream::kv::Config { bucket: name.clone(), history: 7, max_bytes: 1 << 20, ..Default::default() };
    context.create_key_value(config).await.unwrap();
    let _host = Host::start(&nats, HostOptions::new()).await;
    let mut stream = context.get_stream(format!("KV_{name}")).await.unwrap();
    let config = &stream.info().await.unwrap().config;
    assert_eq!((config.max_messages_per_subject, config.max_bytes), (7, 1 << 20));
}

#[tokio::test]
async fn what_is_started_is_recorded_with_its_reference_and_its_claims() {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let host = stage.host.id();
    stage.cli.run(["start", "provider", "builtin://http-server", "http", "--host", &host]).await.ok();
    let lattice = bucket(&stage.nats, "LATTICEDATA").await;
    assert_eq!(read(&lattice, "COMPONENT_hello").await, json!({ "url": reference, "links": [] }));
    assert_eq!(
        read(&lattice, "COMPONENT_http").await,
        json!({ "url": "builtin://http-server", "links": [] })
    );

    let scaled = stage.events.wait_for("component_scaled", |_| true).await;
    let subject = scaled["public_key"].as_str().unwrap();
    let record = json!({
        "call_alias": "", "issuer": stage.keys.public_key(), "name": "test", "revision": "0",
        "subject": subject, "tags": [], "version": "",
    });
    assert_eq!(read(&lattice, &format!("CLAIMS_{subject}")).await, record);
    let entry = json!({
        "call_alias": "", "iss": stage.keys.public_key(), "issuer": stage.keys.public_key(), "name": "test",
        "rev": "0", "revision": "0", "sub": subject, "subject": subject, "tags": "", "version": "",
    });
    assert_eq!(stage.control.request("claims.get", "").await, data(json!([entry])));

    // What has stopped stays on record.
    stage.cli.run(["stop", "component", "hello"]).await.ok();
    assert_eq!(read(&lattice, "COMPONENT_hello").await["url"], reference);
    assert_eq!(stage.control.request("claims.get", "").await["response"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn configs_are_stored_as_they_are_put() {
    let stage = Stage::start().await;
    let config = bucket(&stage.nats, "CONFIGDATA").await;
    let ask =
        async |operation: &str, payload: &str| stage.control.request(operation, payload.to_owned()).await;
    assert_eq!(ask("config.get.colours", "").await, done("Configuration not found"));
    let values = json!({ "sky": "blue", "": "empty key", "empty": "", "odd": "ü \" \n" });
    assert_eq!(ask("config.put.colours", &values.to_string()).await, done("successfully put config"));
    assert_eq!(read(&config, "colours").await, values);
    assert_eq!(ask("config.get.colours", "").await, data(values));
    assert_eq!(ask("config.put.colours", "{}").await, done("successfully put config"));
    assert_eq!(ask("config.get.colours", "").await, data(json!({})));

    assert_eq!(ask("config.del.colours", "").await, done("successfully deleted config"));
    assert_eq!(ask("config.get.colours", "").await, done("Configuration not found"));
    assert_eq!(config.entry("colours").await.unwrap().unwrap().operation, Operation::Purge);
    assert_eq!(ask("config.del.never-there", "").await, done("successfully deleted config"));
    let names = |event: &str| {
        stage.events.named(event).into_iter().map(|mut data| data["config_name"].take()).collect::<Vec<_>>()
    };
    stage.events.wait_for("config_deleted", |data| data["config_name"] == "never-there").await;
    assert_eq!(names("config_set"), ["colours", "colours"]);
    assert_eq!(names("config_deleted"), ["colours", "never-there"]);
    // A secret reference is put in the same way.
    let secret = json!({ "name": "pw", "version": "1" }).to_string();
    assert_eq!(ask("config.put.SECRET_pw", &secret).await, done("successfully put config"));
}

#[tokio::test]
async fn what_another_writes_into_the_buckets_takes_effect() {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let host = stage.host.id();
    stage.cli.run(["start", "provider", "builtin://http-server", "http", "--host", &host]).await.ok();
    let (lattice, config) =
        (bucket(&stage.nats, "LATTICEDATA").await, bucket(&stage.nats, "CONFIGDATA").await);
    let (first, second) = (free_address(), free_address());
    let put = async |address: std::net::SocketAddr| {
        let values = json!({ "address": address.to_string() }).to_string();
        config.put("where", values.into()).await.unwrap();
    };
    put(first).await;
    // As a host of wasmCloud writes it, fields in another order and some that nobody knows.
    let spec = json!({
        "url": "builtin://http-server",
        "links": [{
            "wit_package": "http", "wit_namespace": "wasi", "interfaces": ["incoming-handler"],
            "name": "default", "target": "hello", "source_id": "http", "target_config": [],
            "source_config": ["where"], "new": 1,
        }],
        "newer": true,
    });
    lattice.put("COMPONENT_http", spec.to_string().into()).await.unwrap();
    stage.wait_for_page(&format!("http://{first}/"), GREETING).await;
    put(second).await;
    stage.wait_for_page(&format!("http://{second}/"), GREETING).await;

    // Older records, and what is no record at all, do no harm.
    for (key, value) in [
        ("LINKDEF_old", "{}"),
        ("REFMAP_old", "{}"),
        ("CLAIMS_M", "no JSON"),
        ("COMPONENT_broken", "[1,"),
        ("something-else", ""),
    ] {
        lattice.put(key, value.into()).await.unwrap();
    }
    lattice.purge("COMPONENT_http").await.unwrap();
    eventually("the link to be gone", DEADLINE, || async {
        let links = stage.control.request("link.get", "").await;
        (links["response"] == json!([])).then_some(())
    })
    .await;
    eventually("nobody to listen", DEADLINE, || async {
        wattle_tests::http(&format!("http://{second}/")).await.err()
    })
    .await;
    assert_eq!(stage.host.readyz().await.unwrap().status, 200);
}
