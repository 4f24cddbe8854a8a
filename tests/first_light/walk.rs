//! The whole walk: keys, signature, registry, auction, provider, config, link, answer.

use serde_json::{Value, json};
use wattle_tests::{
    Cli, DEADLINE, GREETING, Host, HostOptions, Nats, Registry, Stage, events, eventually, free_address,
    guest_path, http,
};

/// All that is typed, from the component's file on, as a person does who knows nothing but the commands.
async fn walk(guest: &str, interface: &str, path: &str, answer: &str) {
    let nats = Nats::start().await;
    let registry = Registry::start().await;
    let cli = Cli::new(&nats);
    let key = cli.run(["keys", "gen", "account", "--name", "release", "-o", "json"]).await.ok().json();
    let issuer = key["public_key"].as_str().unwrap();
    let events = events(&nats, nats.lattice()).await;
    let in_zone = |zone: &str| {
        let options = HostOptions::new().insecure(&registry).arg("--trusted-issuer").arg(issuer);
        options.arg("--label").arg(format!("zone={zone}"))
    };
    let attic = Host::start(&nats, in_zone("attic")).await;
    let cellar = Host::start(&nats, in_zone("cellar")).await;

    let file = guest_path(guest).display().to_string();
    let sign = ["claims", "sign", &file, "--issuer", "release", "--destination", "signed.wasm"];
    let details = ["--name", guest, "--version", "1.2.3", "--revision", "4"];
    cli.run(sign.into_iter().chain(details)).await.ok();
    let reference = registry.reference(&format!("shop/{guest}:1.2.3"));
    cli.run(["push", &reference, "signed.wasm", "--insecure"]).await.ok();

    let start = ["start", "component", &reference, "hello", "--constraint", "zone=attic", "-o", "json"];
    let started = cli.run(start).await.ok().json();
    assert_eq!(
        started,
        json!({ "host_id": attic.id(), "id": "hello", "reference": reference, "count": 1000 })
    );
    let start =
        ["start", "provider", "builtin://http-server", "http", "--constraint", "zone=attic", "-o", "json"];
    let started = cli.run(start).await.ok().json();
    assert_eq!(started["host_id"], attic.id());
    let address = free_address().to_string();
    cli.run(["config", "put", "http-hello", &format!("address={address}")]).await.ok();
    let link = ["link", "put", "http", "hello", "wasi", "http", "--interface", interface];
    cli.run(link.into_iter().chain(["--source-config", "http-hello"])).await.ok();

    let url = format!("http://{address}{path}");
    let found = eventually(&format!("an answer of {url}"), DEADLINE, || async {
        http(&url).await.ok().filter(|found| found.status == 200)
    })
    .await;
    assert_eq!(found.text(), answer);
    assert_eq!(found.headers["content-type"], "text/plain");

    let control = nats.control().await;
    let inventory = control.inventory(&attic.id()).await;
    let component = &inventory["components"][0];
    assert_eq!((&component["id"], &component["image_ref"]), (&json!("hello"), &json!(reference)));
    assert_eq!((&component["name"], &component["revision"]), (&json!(guest), &json!(4)));
    assert_eq!((&component["max_instances"], &component["state"]), (&json!(1000), &json!("running")));
    assert_eq!(inventory["problems"], Value::Null, "nothing is wrong: {inventory:#}");
    let inventory = control.inventory(&cellar.id()).await;
    assert_eq!((&inventory["components"], &inventory["providers"]), (&json!([]), &json!([])));

    let scaled = events.wait_for("component_scaled", |data| data["component_id"] == "hello").await;
    assert_eq!((&scaled["host_id"], &scaled["claims"]["issuer"]), (&json!(attic.id()), &json!(issuer)));
    let names = events.all().into_iter().map(|event| event["type"].as_str().unwrap().to_owned());
    let names: Vec<String> =
        names.filter(|name| !name.contains("health") && !name.contains("heartbeat")).collect();
    let expected =
        ["host_started", "host_started", "component_scaled", "provider_started", "config_set", "linkdef_set"];
    assert_eq!(
        names,
        expected.map(|name| format!("com.wasmcloud.lattice.{name}")),
        "each thing is told once"
    );
}

#[tokio::test]
async fn a_signed_component_of_wasi_0_2_answers_over_http() {
    walk("http-hello", "incoming-handler", "/", GREETING).await;
}

#[tokio::test]
async fn a_signed_component_of_wasi_0_3_answers_over_http() {
    walk("echo-p3", "handler", "/hello", "hello\n").await;
}

#[tokio::test]
async fn one_page_after_another_from_one_instance_each() {
    let stage = Stage::start().await;
    for guest in ["misbehave", "echo-p3"] {
        let reference = stage.push(guest).await;
        stage.start_component(&reference, guest, &[]).await.ok();
        let url = stage.expose(guest).await;
        stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
        for _ in 0..3 {
            let state = http(&format!("{url}/state")).await.unwrap();
            assert_eq!(state.text(), "1\n", "{guest}: nothing of a call is left for the next");
        }
    }
}

#[tokio::test]
async fn a_component_reaches_nothing_that_it_was_not_given() {
    let stage = Stage::start().await;
    let reference = stage.push("misbehave").await;
    stage.start_component(&reference, "curious", &[]).await.ok();
    let url = stage.expose("curious").await;
    stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    // The registry listens there, so that a connection would be made if it were allowed.
    let socket = format!("/socket?addr={}", stage.registry.host());
    for path in ["/env", "/fs", &socket] {
        let answer = http(&format!("{url}{path}")).await.unwrap();
        assert_eq!(answer.status, 200);
        for line in answer.text().lines() {
            assert!(line.contains(": denied ("), "{path}: {line}");
        }
        assert!(answer.text().lines().count() > 1);
    }
}
