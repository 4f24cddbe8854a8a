//! The control client of wasmCloud 1.x drives a running host, and the events say what happened, field by field.
//!
//! Settings: `NATS_URL`, `LATTICE` (with no other host in it), `HOST_ID`; `COMPONENT_REF` and `COMPONENT_REF_2`, two
//! versions of one component that needs no links to start; `PROVIDER_REF`, such as `builtin://http-server`, and
//! `PROVIDER_CONFIG`, a JSON object of texts that it is started with (`{}` if unset). The host is stopped at the end.
//!
//! Events are read strictly in order, so an event too many fails the step after it.

use std::collections::HashMap;

use foreign::expect::{self, Annotations, Scaled, accepted, accepted_with, annotations, refused};
use foreign::lattice::Lattice;
use foreign::{eventually, setting};
use serde_json::{Value, json};
use wasmcloud_control_interface::{Host, HostInventory, Link, RegistryCredential};

const COMPONENT: &str = "control-interface-component";
const PROVIDER: &str = "control-interface-provider";
const CONFIG: &str = "control-interface-config";
/// A reference that no host can load.
const NOWHERE: &str = "file:///nowhere/at-all.wasm";

#[tokio::test]
async fn a_client_of_wasmcloud_drives_the_host() {
    let mut lattice = Lattice::join().await;
    let lattice = &mut lattice;
    let ping = hosts(lattice).await;
    inventory(lattice, &ping).await;
    component_auction(lattice, &ping).await;
    provider_auction(lattice, &ping).await;
    config(lattice).await;
    scale(lattice).await;
    update(lattice).await;
    scale_down(lattice).await;
    scale_with_update(lattice).await;
    failed_starts(lattice).await;
    links(lattice).await;
    link_conflict(lattice).await;
    labels(lattice, &ping).await;
    provider(lattice).await;
    registries(lattice).await;
    what_makes_no_sense(lattice).await;
    stop_host(lattice, &ping).await;
}

async fn hosts(lattice: &Lattice) -> Host {
    let replies = lattice.client.get_hosts().await.expect("the ping is sent");
    let hosts: Vec<_> = replies.into_iter().filter_map(|reply| reply.into_data()).collect();
    assert_eq!(hosts.len(), 1, "one host in the lattice, under test: {hosts:?}");
    let host = hosts.into_iter().next().expect("there is one");
    assert_eq!(host.id(), lattice.host);
    assert_eq!(host.lattice(), lattice.name);
    assert!(!host.friendly_name().is_empty());
    expect::semver(host.version().expect("a host says its version"));
    for label in ["hostcore.arch", "hostcore.os", "hostcore.osfamily"] {
        assert!(host.labels().contains_key(label), "no label {label}: {:?}", host.labels());
    }
    host
}

async fn inventory_of(lattice: &Lattice) -> HostInventory {
    let reply = lattice.client.get_host_inventory(&lattice.host).await;
    accepted("the inventory", reply).into_data().expect("the inventory has data")
}

async fn inventory(lattice: &Lattice, ping: &Host) {
    let read = inventory_of(lattice).await;
    assert_eq!(read.host_id(), lattice.host);
    assert_eq!(read.friendly_name(), ping.friendly_name());
    assert_eq!(read.labels(), ping.labels());
    assert_eq!(Some(read.version()), ping.version());
    assert!(read.components().iter().all(|component| component.id() != COMPONENT));
    assert!(read.providers().iter().all(|provider| provider.id() != PROVIDER));
    raw_inventory(lattice).await;
}

/// The client fills in what is missing, so the fields are also checked in the JSON itself.
async fn raw_inventory(lattice: &Lattice) {
    let reply = lattice.request(&format!("host.get.{}", lattice.host), "").await;
    assert_eq!((&reply["success"], &reply["message"]), (&json!(true), &json!("")), "{reply:#}");
    expect::inventory(&reply["response"]);
}

async fn component_auction(lattice: &Lattice, ping: &Host) {
    let reference = setting("COMPONENT_REF", "reference of a component");
    let fulfilled = annotations([("hostcore.os", ping.labels()["hostcore.os"].as_str())]);
    let replies = lattice.client.perform_component_auction(&reference, COMPONENT, fulfilled.clone()).await;
    let bids: Vec<_> =
        replies.expect("the auction is held").into_iter().filter_map(|bid| bid.into_data()).collect();
    assert_eq!(bids.len(), 1, "one bid: {bids:?}");
    assert_eq!(bids[0].host_id(), lattice.host);
    assert_eq!(bids[0].component_ref(), reference);
    assert_eq!(*bids[0].constraints(), fulfilled);
    assert_eq!(
        component_bids(lattice, &[("hostcore.os", "plan9")]).await,
        0,
        "the constraint is not fulfilled"
    );
    assert_eq!(component_bids(lattice, &[("no-such-label", "")]).await, 0, "the label does not exist");
}

async fn component_bids(lattice: &Lattice, constraints: &[(&str, &str)]) -> usize {
    let reference = setting("COMPONENT_REF", "reference of a component");
    let constraints: Annotations = constraints.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let replies = lattice.client.perform_component_auction(&reference, COMPONENT, constraints).await;
    replies.expect("the auction is held").len()
}

async fn provider_auction(lattice: &Lattice, ping: &Host) {
    let reference = setting("PROVIDER_REF", "reference of a provider");
    let fulfilled = annotations([("hostcore.arch", ping.labels()["hostcore.arch"].as_str())]);
    let replies = lattice.client.perform_provider_auction(&reference, PROVIDER, fulfilled.clone()).await;
    let bids: Vec<_> =
        replies.expect("the auction is held").into_iter().filter_map(|bid| bid.into_data()).collect();
    assert_eq!(bids.len(), 1, "one bid: {bids:?}");
    assert_eq!(bids[0].host_id(), lattice.host);
    assert_eq!(bids[0].provider_ref(), reference);
    assert_eq!(bids[0].provider_id(), PROVIDER);
    assert_eq!(*bids[0].constraints(), fulfilled);
    assert_eq!(
        provider_bids(lattice, &[("hostcore.arch", "pdp11")]).await,
        0,
        "the constraint is not fulfilled"
    );
}

async fn provider_bids(lattice: &Lattice, constraints: &[(&str, &str)]) -> usize {
    let reference = setting("PROVIDER_REF", "reference of a provider");
    let constraints: Annotations = constraints.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let replies = lattice.client.perform_provider_auction(&reference, PROVIDER, constraints).await;
    replies.expect("the auction is held").len()
}

async fn config(lattice: &mut Lattice) {
    let get = || async { accepted("reading a config", lattice.client.get_config(CONFIG).await) };
    let absent = get().await;
    assert_eq!((absent.message(), absent.data()), ("Configuration not found", None));

    for value in ["blue", "green"] {
        let content = HashMap::from([("colour".to_owned(), value.to_owned())]);
        let reply = lattice.client.put_config(CONFIG, content.clone()).await;
        accepted_with("putting a config", reply, "successfully put config");
        assert_eq!(lattice.event("config_set").await, json!({"config_name": CONFIG}));
        let client = &lattice.client;
        eventually("the config to be readable", || async {
            let read = accepted("reading a config", client.get_config(CONFIG).await);
            read.into_data().filter(|read| *read == content)
        })
        .await;
    }

    delete_config(lattice, CONFIG).await;
    let client = &lattice.client;
    eventually("the config to be gone", || async {
        accepted("reading a config", client.get_config(CONFIG).await).data().is_none().then_some(())
    })
    .await;
    delete_config(lattice, CONFIG).await;
}

async fn put_config(lattice: &mut Lattice, name: &str, content: HashMap<String, String>) {
    accepted("putting a config", lattice.client.put_config(name, content).await);
    assert_eq!(lattice.event("config_set").await, json!({"config_name": name}));
}

async fn delete_config(lattice: &mut Lattice, name: &str) {
    let reply = lattice.client.delete_config(name).await;
    accepted_with("deleting a config", reply, "successfully deleted config");
    assert_eq!(lattice.event("config_deleted").await, json!({"config_name": name}));
}

/// Sends a scale command; gives the message of the reply.
async fn send_scale(lattice: &Lattice, scaled: &Scaled<'_>, allow_update: bool) -> String {
    let reply = lattice
        .client
        .scale_component(
            &lattice.host,
            scaled.reference,
            scaled.id,
            scaled.count,
            Some(scaled.annotations.clone()),
            vec![],
            allow_update,
        )
        .await;
    accepted("scaling a component", reply).message().to_owned()
}

async fn expect_scaled(lattice: &mut Lattice, scaled: &Scaled<'_>) -> Option<String> {
    let host = lattice.host.clone();
    scaled.check(lattice.event("component_scaled").await, &host)
}

async fn expect_in_inventory(lattice: &Lattice, scaled: &Scaled<'_>) {
    let inventory = inventory_of(lattice).await;
    let found: Vec<_> =
        inventory.components().iter().filter(|component| component.id() == scaled.id).collect();
    if scaled.count == 0 {
        assert!(found.is_empty(), "{found:?}");
        return;
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].image_ref(), scaled.reference);
    assert_eq!(found[0].max_instances(), scaled.count);
    assert_eq!(found[0].annotations(), Some(scaled.annotations));
    raw_inventory(lattice).await;
}

/// From nothing to three, the same again, and to five with other annotations: one event each, with the new state.
async fn scale(lattice: &mut Lattice) {
    let reference = setting("COMPONENT_REF", "reference of a component");
    let (before, after) = (annotations([("team", "red")]), annotations([("team", "blue"), ("tier", "1")]));
    let scaled = Scaled { id: COMPONENT, reference: &reference, count: 3, annotations: &before };
    for _ in 0..2 {
        assert_eq!(send_scale(lattice, &scaled, false).await, "");
        let public_key = expect_scaled(lattice, &scaled).await;
        expect_in_inventory(lattice, &scaled).await;
        claims(lattice, public_key).await;
    }
    assert_eq!(component_bids(lattice, &[]).await, 0, "no bid for a component that runs here");

    let scaled = Scaled { count: 5, annotations: &after, ..scaled };
    assert_eq!(send_scale(lattice, &scaled, false).await, "");
    expect_scaled(lattice, &scaled).await;
    expect_in_inventory(lattice, &scaled).await;
}

/// The claims of a signed component can be asked for.
async fn claims(lattice: &Lattice, public_key: Option<String>) {
    let Some(key) = public_key else {
        accepted("reading the claims", lattice.client.get_claims().await);
        return;
    };
    let entry = eventually("the component's claims to be known", || async {
        let all = accepted("reading the claims", lattice.client.get_claims().await).into_data()?;
        all.into_iter().find(|entry| entry.get("sub") == Some(&key))
    })
    .await;
    for name in
        ["call_alias", "iss", "issuer", "name", "rev", "revision", "sub", "subject", "tags", "version"]
    {
        assert!(entry.contains_key(name), "no {name} in the claims: {entry:?}");
    }
    assert!(entry["iss"].starts_with('A') && entry["iss"] == entry["issuer"], "{entry:?}");
    assert!(entry["sub"] == entry["subject"] && entry["rev"] == entry["revision"], "{entry:?}");
}

/// A host may report the end of the version that was replaced in a second event, as those of wasmCloud do.
fn accept_end_of(lattice: &mut Lattice, replaced: &Scaled<'_>) {
    let gone = Scaled { count: 0, ..*replaced }.fields(&lattice.host);
    lattice.accept(gone);
}

async fn update(lattice: &mut Lattice) {
    let (first, second) = references();
    let (before, after) = (annotations([("team", "blue"), ("tier", "1")]), annotations([("team", "green")]));
    let host = lattice.host.clone();
    let reply = lattice.client.update_component(&host, COMPONENT, &second, Some(after.clone())).await;
    let words = format!("component {COMPONENT} updating from {first} to {second}");
    accepted_with("updating a component", reply, &words);
    let updated = Scaled { id: COMPONENT, reference: &second, count: 5, annotations: &after };
    expect_scaled(lattice, &updated).await;
    accept_end_of(lattice, &Scaled { reference: &first, annotations: &before, ..updated });
    expect_in_inventory(lattice, &updated).await;

    let reply = lattice.client.update_component(&host, COMPONENT, &second, None).await;
    let words = format!("component {COMPONENT} already updated to {second}");
    accepted_with("updating to the same version", reply, &words);
    let reply = lattice.client.update_component(&host, "nobody", &second, None).await;
    refused("updating what does not run", reply, "component nobody not found");
}

fn references() -> (String, String) {
    let second = "reference of another version of COMPONENT_REF";
    (setting("COMPONENT_REF", "reference of a component"), setting("COMPONENT_REF_2", second))
}

/// To nothing: the event carries what ran, whatever annotations the command had. And again, when nothing runs.
async fn scale_down(lattice: &mut Lattice) {
    let (_, second) = references();
    let (running, other) = (annotations([("team", "green")]), annotations([("team", "none")]));
    let command = Scaled { id: COMPONENT, reference: &second, count: 0, annotations: &other };
    send_scale(lattice, &command, false).await;
    expect_scaled(lattice, &Scaled { annotations: &running, ..command }).await;
    expect_in_inventory(lattice, &command).await;

    send_scale(lattice, &command, false).await;
    expect_scaled(lattice, &command).await;
}

/// A scale command with another reference keeps the running version, unless it may update.
async fn scale_with_update(lattice: &mut Lattice) {
    let (first, second) = references();
    let none = annotations([]);
    let running = Scaled { id: COMPONENT, reference: &first, count: 1, annotations: &none };
    send_scale(lattice, &running, false).await;
    expect_scaled(lattice, &running).await;

    let message = send_scale(lattice, &Scaled { reference: &second, count: 2, ..running }, false).await;
    assert!(message.contains(&first) && message.contains(&second), "the reply names both: `{message}`");
    let running = Scaled { count: 2, ..running };
    expect_scaled(lattice, &running).await;
    expect_in_inventory(lattice, &running).await;

    let updated = Scaled { reference: &second, count: 4, ..running };
    let message = send_scale(lattice, &updated, true).await;
    assert!(!message.is_empty(), "the reply says that the reference is updated");
    expect_scaled(lattice, &updated).await;
    accept_end_of(lattice, &running);
    expect_in_inventory(lattice, &updated).await;

    let stopped = Scaled { count: 0, ..updated };
    send_scale(lattice, &stopped, false).await;
    expect_scaled(lattice, &stopped).await;
    expect_in_inventory(lattice, &stopped).await;
}

async fn failed_starts(lattice: &mut Lattice) {
    let host = lattice.host.clone();
    let none = annotations([]);
    let failed = Scaled { id: COMPONENT, reference: NOWHERE, count: 1, annotations: &none };
    send_scale(lattice, &failed, false).await;
    failed.check_failed(lattice.event("component_scale_failed").await, &host);

    let (reference, _) = references();
    let failed = Scaled { reference: &reference, ..failed };
    let config = vec!["no-such-config".to_owned()];
    let reply = lattice.client.scale_component(&host, &reference, COMPONENT, 1, None, config, false).await;
    accepted("starting with a missing config", reply);
    let reason = failed.check_failed(lattice.event("component_scale_failed").await, &host);
    assert!(reason.contains("no-such-config"), "{reason}");
    assert!(inventory_of(lattice).await.components().iter().all(|component| component.id() != COMPONENT));

    let reply = lattice.client.start_provider(&host, NOWHERE, PROVIDER, None, vec![]).await;
    accepted("starting a provider that is not there", reply);
    let mut data = lattice.event("provider_start_failed").await;
    let reason = data["error"].take();
    assert!(reason.as_str().is_some_and(|reason| !reason.is_empty()), "the event says no reason: {reason}");
    let expected = json!({
        "provider_ref": NOWHERE, "provider_id": PROVIDER, "host_id": host, "link_name": "default", "error": null,
    });
    assert_eq!(data, expected, "data of provider_start_failed");
}

/// A link as events carry it.
fn link_fields(target: &str, interfaces: &[&str], source_config: &[&str]) -> Value {
    json!({
        "source_id": "link-source", "target": target, "name": "control-interface", "wit_namespace": "wasi",
        "wit_package": "keyvalue", "interfaces": interfaces, "source_config": source_config, "target_config": [],
    })
}

fn link(fields: &Value) -> Link {
    serde_json::from_value(fields.clone()).expect("the client reads its own fields")
}

async fn put_link(lattice: &mut Lattice, fields: &Value) {
    accepted_with("putting a link", lattice.client.put_link(link(fields)).await, "successfully set link");
    assert_eq!(lattice.event("linkdef_set").await, *fields);
    expect_links(lattice, &[fields]).await;
}

/// The lattice's links with our source become exactly these.
async fn expect_links(lattice: &Lattice, expected: &[&Value]) {
    let expected: Vec<_> = expected.iter().map(|fields| link(fields)).collect();
    eventually(&format!("the links to be {expected:?}"), || async {
        let mut links = accepted("reading the links", lattice.client.get_links().await).into_data()?;
        links.retain(|link| link.source_id() == "link-source");
        (links == expected).then_some(())
    })
    .await;
}

async fn delete_link(lattice: &Lattice, source: &str, message: &str) {
    let reply = lattice.client.delete_link(source, "control-interface", "wasi", "keyvalue").await;
    accepted_with("deleting a link", reply, message);
}

async fn links(lattice: &mut Lattice) {
    delete_link(lattice, "never-linked", "successfully deleted link (spec doesn't exist)").await;

    // A link can name a config as soon as the config was put; until then it is refused.
    let with_config = link_fields("link-target", &["store", "atomics"], &[CONFIG]);
    let reply = lattice.client.put_link(link(&with_config)).await;
    let words = format!("Configuration {CONFIG} not found in config store.");
    refused("a link with a missing config", reply, &words);
    expect_link_failed(lattice, &with_config, &words).await;
    put_config(lattice, CONFIG, HashMap::from([("colour".to_owned(), "blue".to_owned())])).await;
    put_link(lattice, &with_config).await;

    // The same source, target, package and name: replaced.
    let replaced = link_fields("link-target", &["store"], &[]);
    put_link(lattice, &replaced).await;

    delete_link(lattice, "link-source", "successfully deleted link").await;
    let mut deleted = deleted_link();
    assert_eq!(lattice.event("linkdef_deleted").await, {
        deleted["target"] = json!("link-target");
        deleted["interfaces"] = json!(["store"]);
        deleted
    });
    expect_links(lattice, &[]).await;

    // Nothing left to delete: the event has no target then.
    delete_link(lattice, "link-source", "successfully deleted link").await;
    assert_eq!(lattice.event("linkdef_deleted").await, deleted_link());
    delete_config(lattice, CONFIG).await;
}

fn deleted_link() -> Value {
    json!({
        "source_id": "link-source", "name": "control-interface", "wit_namespace": "wasi", "wit_package": "keyvalue",
    })
}

async fn expect_link_failed(lattice: &mut Lattice, fields: &Value, reason: &str) {
    let mut data = lattice.event("linkdef_set_failed").await;
    let error = data.as_object_mut().and_then(|data| data.remove("error")).unwrap_or_default();
    assert!(error.as_str().is_some_and(|error| error.contains(reason)), "`{error}` does not say `{reason}`");
    assert_eq!(data, *fields, "data of linkdef_set_failed");
}

async fn link_conflict(lattice: &mut Lattice) {
    let existing = link_fields("link-target", &["store", "atomics"], &[]);
    put_link(lattice, &existing).await;
    let conflicting = link_fields("another-target", &["atomics", "batch"], &[]);
    let words = "link already exists with different target, consider deleting the existing link or using a different \
                 link name";
    refused("a conflicting link", lattice.client.put_link(link(&conflicting)).await, words);
    expect_link_failed(lattice, &conflicting, words).await;
    expect_links(lattice, &[&existing]).await;

    delete_link(lattice, "link-source", "successfully deleted link").await;
    assert_eq!(lattice.event("linkdef_deleted").await["target"], "link-target");
    expect_links(lattice, &[]).await;
}

async fn labels(lattice: &mut Lattice, ping: &Host) {
    let host = lattice.host.clone();
    let mut labels = ping.labels().clone();
    for value in ["west", "east"] {
        let reply = lattice.client.put_label(&host, "control-interface", value).await;
        accepted_with("putting a label", reply, "successfully put label");
        labels.insert("control-interface".to_owned(), value.to_owned());
        assert_eq!(lattice.event("labels_changed").await, json!({"host_id": host, "labels": labels}));
        assert_eq!(*inventory_of(lattice).await.labels(), labels);
    }
    let constraint = [("control-interface", "east")];
    assert_eq!(component_bids(lattice, &constraint).await, 1, "the new label fulfils constraints");

    let reply = lattice.client.delete_label(&host, "control-interface").await;
    accepted_with("deleting a label", reply, "successfully deleted label");
    assert_eq!(lattice.event("labels_changed").await, json!({"host_id": host, "labels": ping.labels()}));
    let reply = lattice.client.delete_label(&host, "control-interface").await;
    accepted_with("deleting a label again", reply, "successfully deleted label (no such label)");

    for key in ["hostcore.os", "HostCore.new"] {
        let reply = lattice.client.put_label(&host, key, "plan9").await;
        refused("putting a built-in label", reply, "hostcore.* labels cannot be set dynamically");
    }
    refused("deleting a built-in label", lattice.client.delete_label(&host, "hostcore.os").await, "hostcore");
    assert_eq!(inventory_of(lattice).await.labels(), ping.labels());
}

async fn provider(lattice: &mut Lattice) {
    let host = lattice.host.clone();
    let reference = setting("PROVIDER_REF", "reference of a provider");
    let config = std::env::var("PROVIDER_CONFIG").unwrap_or_else(|_| "{}".to_owned());
    let config = serde_json::from_str(&config).expect("PROVIDER_CONFIG is a JSON object of texts");
    put_config(lattice, CONFIG, config).await;

    let notes = annotations([("team", "red")]);
    let start = || {
        lattice.client.start_provider(&host, &reference, PROVIDER, Some(notes.clone()), vec![CONFIG.into()])
    };
    accepted_with("starting a provider", start().await, "successfully started provider");
    // The reference as it was given, but for `file://`.
    let shown = reference.strip_prefix("file://").unwrap_or(&reference);
    let event = lattice.event("provider_started").await;
    expect_provider_started(
        event,
        &json!({"host_id": host, "image_ref": shown, "provider_id": PROVIDER, "annotations": notes}),
    );
    let inventory = inventory_of(lattice).await;
    let running =
        inventory.providers().iter().find(|provider| provider.id() == PROVIDER).expect("the provider runs");
    assert_eq!(running.image_ref(), Some(shown));
    assert_eq!(running.annotations(), Some(&notes));
    raw_inventory(lattice).await;

    let again = lattice.client.start_provider(&host, &reference, PROVIDER, None, vec![]).await;
    refused("starting it again", again, "provider with that ID is already running");
    assert_eq!(provider_bids(lattice, &[]).await, 0, "no bid for a provider that runs here");

    let reply = lattice.client.stop_provider(&host, PROVIDER).await;
    accepted_with("stopping a provider", reply, "successfully stopped provider");
    let stopped = json!({
        "host_id": host, "provider_id": PROVIDER, "annotations": notes, "reason": "stop",
        "instance_id": PROVIDER, "public_key": PROVIDER, "link_name": "default",
    });
    assert_eq!(lattice.event("provider_stopped").await, stopped);
    assert!(inventory_of(lattice).await.providers().iter().all(|provider| provider.id() != PROVIDER));
    let reply = lattice.client.stop_provider(&host, PROVIDER).await;
    refused("stopping it again", reply, "provider with that ID is not running");
    delete_config(lattice, CONFIG).await;
}

/// An unsigned provider's event has these fields; a signed one's has four more.
fn expect_provider_started(mut data: Value, expected: &Value) {
    let fields = data.as_object_mut().expect("data is an object");
    if let Some(claims) = fields.remove("claims") {
        let names = ["issuer", "tags", "name", "version", "not_before_human", "expires_human"];
        expect::keys("claims in provider_started", &claims, &names);
        assert_eq!(fields.remove("instance_id"), Some(json!(PROVIDER)));
        assert_eq!(fields.remove("public_key"), Some(json!(PROVIDER)));
        assert_eq!(fields.remove("link_name"), Some(json!("default")));
    }
    assert_eq!(data, *expected, "data of provider_started");
}

async fn registries(lattice: &Lattice) {
    let credentials = RegistryCredential::from_username_password("someone", "a secret", "oci");
    let registries = HashMap::from([("registry.invalid:5000".to_owned(), credentials)]);
    // The client does not wait for the host, so the host is also asked in plain JSON.
    accepted("putting registries", lattice.client.put_registries(registries.clone()).await);
    let body = serde_json::to_string(&registries).expect("credentials are JSON");
    let reply = lattice.request("registry.put", &body).await;
    assert_eq!(reply, json!({"success": true, "message": "successfully put registries"}));
}

async fn what_makes_no_sense(lattice: &Lattice) {
    let host = &lattice.host;
    let reply = lattice.request(&format!("component.dance.{host}"), "{}").await;
    assert_eq!(reply, json!({"success": false, "message": "unsupported subject"}));
    for (operation, payload) in [
        (format!("component.scale.{host}"), "not json"),
        (format!("component.scale.{host}"), r#"{"count": 1}"#),
        (format!("provider.start.{host}"), r#"{"provider_id": 7}"#),
        (format!("label.put.{host}"), "[]"),
        ("link.put".to_owned(), r#"{"source_id": "a"}"#),
        (format!("config.put.{CONFIG}"), r#"{"number": 1}"#),
        (format!("host.stop.{host}"), r#"{"host_id": "NOTTHISONE"}"#),
    ] {
        let reply = lattice.request(&operation, payload).await;
        assert_eq!(reply["success"], false, "{operation} with {payload}: {reply:#}");
        assert!(
            reply["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{operation}: {reply:#}"
        );
    }
    hosts(lattice).await;
}

async fn stop_host(lattice: &mut Lattice, ping: &Host) {
    let host = lattice.host.clone();
    let reply = lattice.client.stop_host(&host, Some(5_000)).await;
    accepted_with("stopping the host", reply, "successfully handled stop host");
    assert_eq!(lattice.event("host_stopped").await, json!({"labels": ping.labels()}));
    eventually("the host to answer no more", || async {
        lattice.client.get_hosts().await.expect("the ping is sent").is_empty().then_some(())
    })
    .await;
}
