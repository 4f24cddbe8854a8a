//! Somebody else listens where the host should.

use std::net::TcpListener;

use wattle_tests::{DEADLINE, GREETING, Host, HostOptions, Nats, Stage, eventually, free_address};

#[tokio::test]
async fn bad_input_port_in_use_for_the_http_server() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let other = TcpListener::bind(free_address()).unwrap();
    let address = other.local_addr().unwrap().to_string();
    stage.expose_at("hello", &address).await;

    let provider = eventually("the inventory to tell what is wrong", DEADLINE, || async {
        let provider = stage.running().await[1][0].take();
        provider["reason"].is_string().then_some(provider)
    })
    .await;
    let reason = provider["reason"].as_str().unwrap();
    assert!(reason.contains(&address) && reason.contains("in use"), "{provider:#}");
    assert_eq!(provider["state"], "failing", "{provider:#}");
    let shown = stage.cli.run(["get", "inventory"]).await.ok();
    assert!(shown.stdout.contains(&address), "{shown}");
    // Others are served meanwhile.
    stage.assert_host_lives().await;

    drop(other);
    stage.wait_for_page(&format!("http://{address}"), GREETING).await;
    let provider = stage.running().await[1][0].take();
    assert_eq!((&provider["state"], &provider["reason"]), (&"running".into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn bad_input_admin_address_in_use() {
    let nats = Nats::start().await;
    let first = Host::start(&nats, HostOptions::new()).await;
    let address = first.admin_url().replace("http://", "");
    let second = wattle_tests::Cli::new(&nats);
    let outcome = second.run(["host", "--admin-address", &address]).await;
    outcome.failed(&["admin address", &address, "in use", "--admin-address"]);
    assert_eq!(nats.control().await.hosts().await.len(), 1);
}
