//! The NATS server is not there.

use wattle_tests::{Cli, DEADLINE, GREETING, Host, HostOptions, Nats, NatsOptions, Stage, eventually, http};

#[tokio::test]
async fn bad_input_nats_down_at_start() {
    let mut nats = Nats::prepare(NatsOptions::default());
    let mut host = Host::launch(&nats, HostOptions::new());
    let line = host.wait_for_log("waiting for NATS").await;
    assert!(line.contains(&nats.url()), "the line does not say where: {line}");
    Cli::new(&nats).run(["get", "hosts"]).await.failed(&["cannot reach the lattice", &nats.url()]);
    assert!(host.is_running());

    nats.start_again_on_same_port().await;
    host.wait_ready().await;
    let hosts = Cli::new(&nats).run(["get", "hosts", "-o", "json"]).await.ok().json();
    assert_eq!(hosts[0]["id"], host.id());
}

#[tokio::test]
async fn bad_input_nats_down_at_start_is_told_by_the_admin_address() {
    let nats = Nats::prepare(NatsOptions::default());
    let host = Host::launch(&nats, HostOptions::new());
    host.wait_for_log("waiting for NATS").await;
    // A supervisor that asks whether the host lives must not take waiting for death.
    let livez = format!("{}/livez", host.admin_url());
    let short = std::time::Duration::from_secs(5);
    let lives = eventually("/livez to answer", short, || async { http(&livez).await.ok() }).await;
    assert_eq!(lives.status, 200);
    host.wait_not_ready("NATS").await;
}

#[tokio::test]
async fn bad_input_host_that_waits_for_nats_can_be_stopped() {
    let nats = Nats::prepare(NatsOptions::default());
    let mut host = Host::launch(&nats, HostOptions::new());
    host.wait_for_log("waiting for NATS").await;
    host.term();
    assert!(host.wait_exit().await.success());
}

#[tokio::test]
async fn bad_input_nats_lost_later() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    let before = stage.running().await;

    stage.nats.kill9();
    stage.host.wait_not_ready("NATS").await;
    for _ in 0..20 {
        let answer = http(&url).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, GREETING));
    }
    let cli = stage.cli.run(["get", "inventory"]).await;
    cli.failed(&["cannot reach the lattice", &stage.nats.url()]);

    stage.nats.start_again_on_same_port().await;
    stage.host.wait_ready().await;
    let hosts = eventually("the host to answer pings again", DEADLINE, || async {
        Some(stage.control.hosts().await).filter(|hosts| !hosts.is_empty())
    })
    .await;
    assert_eq!(hosts[0]["id"], stage.host.id());
    assert_eq!(stage.running().await, before);
    assert_eq!(http(&url).await.unwrap().text(), GREETING);
    stage.assert_host_lives().await;
}
