//! Commands about the host itself.

use serde_json::{Value, json};
use wattle_tests::{DEADLINE, PASSWORD, Registry, Stage, USER, eventually, guest};

use crate::{data, done, refused};

#[tokio::test]
async fn a_ping_and_an_inventory_say_who_and_what_the_host_is() {
    let stage = Stage::start_with(|options| options.arg("--label").arg("zone=attic")).await;
    let (id, url) = (stage.host.id(), stage.nats.url());
    let hosts = stage.control.hosts().await;
    assert_eq!(hosts.len(), 1);
    let mut said = hosts[0].clone();
    let said = said.as_object_mut().unwrap();
    let name = said.remove("friendly_name").unwrap();
    assert_eq!(name.as_str().unwrap().split('-').count(), 3, "{name}");
    assert!(
        said.remove("uptime_seconds").unwrap().is_u64() && said.remove("uptime_human").unwrap().is_string()
    );
    let version = said.remove("version").unwrap();
    assert_eq!(version.as_str().unwrap().split('.').count(), 3);
    let labels = said.remove("labels").unwrap();
    assert_eq!(labels["zone"], "attic");
    assert_eq!(labels["hostcore.os"], "linux");
    assert_eq!(labels["hostcore.osfamily"], "unix");
    assert_eq!(labels["hostcore.arch"], std::env::consts::ARCH);
    assert_eq!(
        json!(said),
        json!({ "id": id, "lattice": stage.nats.lattice(), "rpc_host": url, "ctl_host": url })
    );

    // Whatever the payload is.
    for payload in ["", "{}", "not JSON"] {
        let mut reply = stage.control.request(&format!("host.get.{id}"), payload).await;
        let inventory = reply["response"].as_object_mut().unwrap();
        assert!(inventory.remove("uptime_seconds").unwrap().is_u64());
        assert!(inventory.remove("uptime_human").unwrap().is_string());
        // New here, and ignored by who does not know it: which process of this host that is.
        inventory.remove("instance");
        let expected = json!({
            "components": [], "providers": [], "host_id": id, "friendly_name": name, "labels": labels,
            "version": version,
        });
        assert_eq!(reply, data(expected));
    }
}

#[tokio::test]
async fn what_is_no_command_is_answered() {
    let stage = Stage::start().await;
    let host = stage.host.id();
    for operation in [
        format!("component.frobnicate.{host}"),
        format!("provider.frobnicate.{host}"),
        format!("host.frobnicate.{host}"),
        format!("label.get.{host}"),
        "link.frobnicate".to_owned(),
        "config.frobnicate.a".to_owned(),
        "config.get".to_owned(),
        "config.get.a.b".to_owned(),
    ] {
        let reply = stage.control.request(&operation, "{}").await;
        assert_eq!(reply, refused("unsupported subject"), "{operation}");
    }
    for operation in ["component.auction.a", "frobnicate", "host.ping.a", "claims.put"] {
        assert_eq!(stage.control.try_request(operation, "{}").await, None, "{operation} is nobody's");
    }
}

#[tokio::test]
async fn labels_are_put_and_deleted_and_those_of_the_machine_stay() {
    let stage = Stage::start_with(|options| options.arg("--label").arg("zone=attic")).await;
    let host = stage.host.id();
    let put = format!("label.put.{host}");
    let del = format!("label.del.{host}");
    let ask =
        async |operation: &str, payload: Value| stage.control.request(operation, payload.to_string()).await;
    let labels = async || {
        let mut labels = stage.inventory().await["labels"].take();
        labels.as_object_mut().unwrap().retain(|name, _| !name.starts_with("hostcore."));
        labels
    };

    let said = ask(&put, json!({ "key": "Disk", "value": "ssd" })).await;
    assert_eq!(said, done("successfully put label"));
    assert_eq!(labels().await, json!({ "zone": "attic", "Disk": "ssd" }));
    let said = ask(&put, json!({ "key": "zone", "value": "" })).await;
    assert_eq!(said, done("successfully put label"));
    assert_eq!(labels().await, json!({ "zone": "", "Disk": "ssd" }));
    let said = ask(&del, json!({ "key": "zone" })).await;
    assert_eq!(said, done("successfully deleted label"));
    assert_eq!(labels().await, json!({ "Disk": "ssd" }));
    let said = ask(&del, json!({ "key": "disk" })).await;
    assert_eq!(said, done("successfully deleted label (no such label)"));
    assert_eq!(labels().await, json!({ "Disk": "ssd" }));
    for own in ["hostcore.os", "HOSTCORE.OS", "hostcore.new"] {
        let said = ask(&put, json!({ "key": own, "value": "plan9" })).await;
        assert_eq!(said, refused("hostcore.* labels cannot be set dynamically"), "{own}");
        assert_eq!(ask(&del, json!({ "key": own })).await["success"], false, "{own}");
    }
    let changes = stage.events.named("labels_changed");
    assert_eq!(changes.len(), 3, "{changes:#?}");
    assert!(changes.iter().all(|data| data["host_id"] == host && data["labels"]["hostcore.os"] == "linux"));
    assert_eq!(changes[1]["labels"]["zone"], "");
    assert_eq!(changes[2]["labels"].get("zone"), None);
}

#[tokio::test]
async fn a_command_that_wants_no_reply_is_obeyed() {
    let stage = Stage::start().await;
    let subject = format!("wasmbus.ctl.v1.{}.label.put.{}", stage.nats.lattice(), stage.host.id());
    let payload = json!({ "key": "quiet", "value": "yes" }).to_string();
    stage.control.client().publish(subject, payload.into()).await.unwrap();
    stage.events.wait_for("labels_changed", |data| data["labels"]["quiet"] == "yes").await;
}

#[tokio::test]
async fn heartbeats_come_by_the_clock_and_are_inventories() {
    let stage = Stage::start_with(|options| options.arg("--heartbeat-interval").arg("1")).await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &["--annotation", "a=b"]).await.ok();
    let later = stage.events.named("host_heartbeat").len() + 3;
    eventually("three more heartbeats", DEADLINE, || async {
        (stage.events.named("host_heartbeat").len() >= later).then_some(())
    })
    .await;
    let beats = stage.events.named("host_heartbeat");
    let mut inventory = stage.inventory().await;
    let mut last = beats.last().unwrap().clone();
    for changing in ["uptime_seconds", "uptime_human"] {
        assert!(!last.as_object_mut().unwrap().remove(changing).unwrap().is_null());
        inventory.as_object_mut().unwrap().remove(changing);
    }
    assert_eq!(last, inventory);
    let uptimes: Vec<_> = beats.iter().map(|data| data["uptime_seconds"].as_u64().unwrap()).collect();
    assert!(uptimes[0] >= 1, "the first comes after one interval: {uptimes:?}");
    assert!(uptimes.windows(2).all(|pair| (1..=2).contains(&(pair[1] - pair[0]))), "{uptimes:?}");
}

#[tokio::test]
async fn a_stop_for_another_host_is_refused_and_one_without_payload_is_obeyed() {
    let mut stage = Stage::start().await;
    let host = stage.host.id();
    let stop = format!("host.stop.{host}");
    let other = format!("N{}", "A".repeat(55));
    let payload = json!({ "host_id": other, "timeout": 1000 }).to_string();
    let reply = stage.control.request(&stop, payload).await;
    assert_eq!(reply["success"], false);
    assert!(reply["message"].as_str().unwrap().contains(&format!("invalid host_id [{other}]")), "{reply}");
    assert!(stage.host.is_running());

    assert_eq!(stage.control.request(&stop, "").await, done("successfully handled stop host"));
    assert_eq!(stage.host.wait_exit().await.code(), Some(0));
    let stopped = stage.events.wait_for("host_stopped", |_| true).await;
    assert_eq!(stopped["labels"]["hostcore.os"], "linux");
}

#[tokio::test]
async fn credentials_that_are_put_are_used_by_the_next_pull_and_are_kept_nowhere() {
    let private = Registry::start_with_login().await;
    let mut stage = Stage::start_with(|options| options.insecure(&private)).await;
    let reference = private.put("http-hello", "1.0.0", &stage.keys.sign(&guest("http-hello"))).await;
    stage.start_component(&reference, "hello", &[]).await.failed(&["anonymous"]);

    let credentials =
        json!({ private.host(): { "username": USER, "password": PASSWORD, "registryType": "oci" } });
    let reply = stage.control.request("registry.put", credentials.to_string()).await;
    assert_eq!(reply, done("successfully put registries"));
    stage.start_component(&reference, "hello", &[]).await.ok();

    stage.cli.run(["stop", "component", "hello"]).await.ok();
    stage.host.kill9();
    std::fs::remove_dir_all(stage.host.data_dir().join("artifacts")).unwrap();
    assert!(!stage.host.log().contains(PASSWORD));
    stage.host.start_again().await;
    stage.start_component(&reference, "hello", &[]).await.failed(&["anonymous"]);
}
