//! Two hosts that say they are the same.

use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_tests::{Cli, Host, HostOptions, Nats};

#[tokio::test]
async fn bad_input_two_hosts_with_the_same_seed() {
    let nats = Nats::start().await;
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let options = || HostOptions::new().env("WATTLE_HOST_SEED", key.seed().as_str());
    let mut first = Host::start(&nats, options()).await;
    let mut second = Host::launch(&nats, options());

    let status = second.wait_exit().await;
    assert!(!status.success(), "the second host ended as if all were well:\n{}", second.log());
    for word in [key.public_key().as_str(), "already runs on", nats.lattice()] {
        assert!(second.log().contains(word), "the second host does not say `{word}`:\n{}", second.log());
    }
    assert!(!second.log().contains(key.seed().as_str()), "the seed is in the log");

    assert!(first.is_running());
    let hosts = Cli::new(&nats).run(["get", "hosts", "-o", "json"]).await.ok().json();
    assert_eq!(hosts.as_array().unwrap().len(), 1, "{hosts:#}");
}

#[tokio::test]
async fn a_host_killed_and_started_at_once_is_not_its_own_double() {
    let nats = Nats::start().await;
    let mut host = Host::start(&nats, HostOptions::new()).await;
    let id = host.id();
    for _ in 0..3 {
        host.kill9();
        host.start_again().await;
        assert_eq!(host.id(), id);
    }
}

#[tokio::test]
async fn bad_input_seed_of_another_kind() {
    let nats = Nats::start().await;
    let key = KeyPair::generate(KeyKind::Account).unwrap();
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::new(&nats).env("WATTLE_HOST_SEED", key.seed().as_str());
    let host = cli.run(["host", "--data-dir", data.path().join("data").to_str().unwrap()]).await;
    let host = host.failed(&["WATTLE_HOST_SEED", "account", "host"]);
    assert!(!host.stderr.contains(key.seed().as_str()), "the seed is shown");
    assert!(!data.path().join("data").exists(), "nothing is started");
}
