//! The file that a first host writes, and that a second machine is given.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Map, Value, json};
use wattle_tests::{Cli, DEADLINE, Keys, Nats, NatsOptions, Registry, daemon, eventually, guest};

use crate::settings::{folder, only_host};

/// What a lattice shares, and no more.
const SHARED: [&str; 6] =
    ["lattice", "js_domain", "cluster_seed", "cluster_issuers", "trusted_issuers", "registries"];

#[tokio::test]
async fn a_second_machine_joins_with_the_file_that_the_first_made() {
    let nats =
        Nats::start_with(NatsOptions { domain: Some("core".to_owned()), ..NatsOptions::default() }).await;
    let registry = Registry::start().await;
    let keys = Keys::generate();
    let (url, issuer, insecure) = (nats.url(), keys.public_key(), registry.host());
    let (first, second) = (folder(), folder());
    let data = first.path().join("my-data").display().to_string();
    let flags = [
        "host",
        "--nats-url",
        &url,
        "--lattice",
        "lab",
        "--js-domain",
        "core",
        "--trusted-issuer",
        &issuer,
        "--allow-insecure",
        &insecure,
        "--label",
        "zone=cellar",
        "--data-dir",
        &data,
        "--admin-address",
        "127.0.0.1:0",
    ];
    let one = daemon(first.path(), flags, &[]);
    let id = only_host(&nats, "lab").await["id"].take();

    let path = first.path().join("host_config.json");
    let line = one.wait_for_log("no cluster seed").await;
    assert!(line.contains("one was made") && line.contains("host_config.json"), "{line}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let fields: Map<String, Value> = serde_json::from_str(&text).unwrap();
    for field in fields.keys() {
        assert!(SHARED.contains(&field.as_str()), "`{field}` is nothing that a lattice shares");
    }
    assert_eq!((&fields["lattice"], &fields["js_domain"]), (&json!("lab"), &json!("core")));
    assert_eq!(fields["trusted_issuers"], json!([issuer]));
    let seed = fields["cluster_seed"].as_str().unwrap();
    assert!(seed.starts_with("SC") && !one.log().contains(seed), "the seed is in the file and nowhere else");
    for own in ["cellar", "my-data", "host_seed", &url] {
        assert!(!text.contains(own), "`{own}` is this machine's own: {text}");
    }

    let given = second.path().join("host_config.json");
    std::fs::copy(&path, &given).unwrap();
    let two = daemon(second.path(), ["host", "--nats-url", &url], &[]);
    let cli = Cli::new(&nats).env("WATTLE_LATTICE", "lab");
    let other = eventually("the second host in the lattice", DEADLINE, || async {
        let hosts = cli.run(["get", "hosts", "-o", "json"]).await.ok().json();
        let mut others = hosts.as_array().unwrap().iter().filter(|host| host["id"] != id);
        others.next().map(|host| host["id"].as_str().unwrap().to_owned())
    })
    .await;
    two.wait_for_log("host is ready").await;
    assert!(!two.log().contains("no cluster seed"), "{}", two.log());
    assert_eq!(std::fs::read_to_string(&given).unwrap(), text, "the file is left as it was");

    // It knows whom to trust, and how to speak to the registry.
    let reference = registry.put("hello", "1.0.0", &keys.sign(&guest("http-hello"))).await;
    cli.run(["start", "component", &reference, "hello", "--host", &other]).await.ok();
}

#[tokio::test]
async fn a_host_that_is_started_again_keeps_its_cluster_seed() {
    let nats = Nats::start().await;
    let (url, folder) = (nats.url(), folder());
    let mut host = daemon(folder.path(), ["host", "--nats-url", &url, "--lattice", "lab"], &[]);
    only_host(&nats, "lab").await;
    host.kill9();
    let made = std::fs::read_to_string(folder.path().join("host_config.json")).unwrap();
    // Without the flag: the lattice is in the file as well.
    let host = daemon(folder.path(), ["host", "--nats-url", &url], &[]);
    only_host(&nats, "lab").await;
    assert_eq!(std::fs::read_to_string(folder.path().join("host_config.json")).unwrap(), made);
    assert!(!host.log().contains("no cluster seed"), "{}", host.log());
}
