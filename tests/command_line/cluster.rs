//! Who is a member of a lattice: hosts without the cluster's seed, clients, and those that are no longer.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use wattle_tests::{Cli, DEADLINE, Nats, Outcome, daemon, eventually};

use crate::settings::{folder, only_host};

/// The public key of a new cluster key, kept under a name.
async fn cluster_key(cli: &Cli, name: &str) -> String {
    let made = cli.run(["keys", "gen", "cluster", "--name", name, "-o", "json"]).await.ok().json();
    made["public_key"].as_str().unwrap().to_owned()
}

async fn issue(cli: &Cli, words: &[&str]) -> Value {
    let line = ["cluster", "issue", "-o", "json"];
    cli.run(line.iter().chain(words)).await.ok().json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The public key that a host with this data folder has, or will have.
async fn host_key(cli: &Cli, data: &Path) -> String {
    let data = data.display().to_string();
    cli.run(["host", "--print-key", "--data-dir", &data]).await.ok().stdout.trim().to_owned()
}

#[tokio::test]
async fn a_machine_without_the_seed_is_a_host_by_its_certificate() {
    let nats = Nats::start().await;
    let edge = folder();
    let (data, file) = (edge.path().join("data"), edge.path().join("edge.jwt"));
    let (data_dir, certificate, url) = (data.display().to_string(), file.display().to_string(), nats.url());
    let operator = Cli::anywhere();
    let cluster = cluster_key(&operator, "lab").await;
    let host = host_key(&operator, &data).await;
    assert!(host.starts_with('N') && host.len() == 56, "{host}");
    assert_eq!(host_key(&operator, &data).await, host, "it is made once");
    let issue_one =
        ["--cluster-key", "lab", "--lattice", "edge", "--answers-for", "hello", "-d", &certificate];
    let first = issue(&operator, &[&[host.as_str()][..], &issue_one].concat()).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let flags = ["host", "--nats-url", &url, "--lattice", "edge", "--data-dir", &data_dir];
    let flags = [&flags[..], &["--cluster-certificate", &certificate]].concat();
    // Whose word the host takes is said to it, and not by the certificate.
    let refused = Cli::anywhere().run(&flags).await;
    assert_eq!(refused.failed(&["cluster issuer", &cluster]).code, Some(2));
    let flags = [&flags[..], &["--cluster-issuer", &cluster]].concat();
    let process = daemon(edge.path(), &flags, &[]);
    assert_eq!(only_host(&nats, "edge").await["id"], host.as_str());
    assert!(!edge.path().join("host_config.json").exists(), "no cluster seed is made");

    // The key of a host that runs is told as well.
    assert_eq!(host_key(&operator, &data).await, host);
    let second = issue(&operator, &[&[host.as_str()][..], &issue_one].concat()).await;
    assert_ne!(first["id"], second["id"]);
    process.wait_for_log("the settings of the cluster have changed").await;
    std::fs::write(&file, "no certificate").unwrap();
    let line = process.wait_for_log("what was in force before stays so").await;
    assert!(line.contains("edge.jwt"), "{line}");
    only_host(&nats, "edge").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_this_hosts_is_refused_at_start() {
    let folder = folder();
    let (data, file) = (folder.path().join("data"), folder.path().join("edge.jwt"));
    let (data_dir, certificate) = (data.display().to_string(), file.display().to_string());
    let operator = Cli::anywhere();
    let (trusted, stranger) = (cluster_key(&operator, "lab").await, cluster_key(&operator, "other").await);
    let host = host_key(&operator, &data).await;
    let other = operator.run(["keys", "gen", "host", "-o", "json"]).await.ok().json()["public_key"].take();
    let start = async |issuer: &str| -> Outcome {
        let flags = ["host", "--data-dir", &data_dir, "--cluster-certificate", &certificate];
        operator
            .run([&flags[..], &["--cluster-issuer", issuer, "--nats-url", "nats://127.0.0.1:1"]].concat())
            .await
    };
    assert_eq!(start(&trusted).await.failed(&["edge.jwt", "no such file"]).code, Some(3));
    std::fs::write(&file, "junk").unwrap();
    assert_eq!(start(&trusted).await.failed(&["edge.jwt", "malformed certificate"]).code, Some(2));
    for (member, lattice, words) in [
        (text(&other), "default", &[text(&other), host.as_str()][..]),
        (host.as_str(), "attic", &["`attic`", "`default`"]),
    ] {
        let line = [member, "--cluster-key", "lab", "--lattice", lattice, "-d", &certificate];
        issue(&operator, &line).await;
        assert_eq!(start(&trusted).await.failed(words).code, Some(2));
    }
    issue(&operator, &[host.as_str(), "--cluster-key", "lab", "-d", &certificate]).await;
    assert_eq!(start(&stranger).await.failed(&["issuer", &trusted]).code, Some(2));
}

#[tokio::test]
async fn the_issuers_of_a_running_host_change_with_its_config_file() {
    let nats = Nats::start().await;
    let folder = folder();
    let (url, operator) = (nats.url(), Cli::anywhere());
    let new = cluster_key(&operator, "new").await;
    let process = daemon(folder.path(), ["host", "--nats-url", &url, "--lattice", "lab"], &[]);
    only_host(&nats, "lab").await;
    let path = folder.path().join("host_config.json");
    let mut fields: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let issuers = fields["cluster_issuers"].as_array_mut().unwrap();
    issuers.push(json!(new));
    std::fs::write(&path, fields.to_string()).unwrap();
    let line = process.wait_for_log("the settings of the cluster have changed").await;
    assert!(line.contains(&new), "{line}");
    std::fs::write(&path, "{ \"cluster_issuers\": [\"nobody\"] }").unwrap();
    let line = process.wait_for_log("what was in force before stays so").await;
    assert!(line.contains("host_config.json") && line.contains("nobody"), "{line}");
}

#[tokio::test]
async fn what_was_revoked_is_in_the_state_and_stays_there() {
    let nats = Nats::start().await;
    let (folder, url) = (folder(), nats.url());
    let _host = daemon(folder.path(), ["host", "--nats-url", &url, "--lattice", "lab"], &[]);
    only_host(&nats, "lab").await;
    let config = folder.path().join("host_config.json").display().to_string();
    // The file that the host wrote has the cluster's seed and the lattice; where NATS is, it does not say.
    let cli = Cli::anywhere().env("WATTLE_NATS_URL", &url);
    let client = ["--config", &config, "--may-call", "hello"];
    let one = issue(&cli, &[&client[..], &["--new-key", "one.nk", "-d", "one.jwt"]].concat()).await;
    let two = issue(&cli, &[&client[..], &["--new-key", "two.nk", "-d", "two.jwt"]].concat()).await;
    let (first, second) = (text(&one["id"]), text(&two["id"]));
    let inspect = async |file: &str| {
        cli.run(["cluster", "inspect", file, "--config", &config, "--revocations", "-o", "json"]).await
    };
    assert_eq!(inspect("one.jwt").await.ok().json()["revocations_asked"], true);

    let revoke = async |what: &[&str]| {
        let line = ["cluster", "revoke", "--config", &config, "-o", "json"];
        cli.run(line.iter().chain(what)).await.ok().json()
    };
    let said = revoke(&["one.jwt"]).await;
    assert_eq!((&said["revoked"], &said["already"]), (&json!([first]), &json!([])));
    assert_eq!((&said["lattice"], &said["issuer"]), (&json!("lab"), &one["issuer"]));
    let revoked = inspect("one.jwt").await;
    assert_eq!(revoked.code, Some(1), "{revoked}");
    assert!(text(&revoked.json()["problem"]).contains("revoked"), "{revoked}");
    inspect("two.jwt").await.ok();

    let said = revoke(&[second, first]).await;
    assert_eq!(
        (&said["revoked"], &said["already"], &said["total"]),
        (&json!([second]), &json!([first]), &json!(2))
    );
    for file in ["one.jwt", "two.jwt"] {
        assert_eq!(inspect(file).await.code, Some(1), "{file}");
    }
    let table = cli.run(["cluster", "revoke", "one.jwt", "--config", &config]).await.ok().stdout;
    assert!(table.contains(first) && table.contains("was revoked before"), "{table}");

    // The state has one record for the key that signed, which other tools can read.
    let state =
        async_nats::jetstream::new(nats.connect().await).get_key_value("LATTICEDATA_lab").await.unwrap();
    let key = format!("REVOCATION_{}", text(&one["issuer"]));
    let token = eventually("the revocation", DEADLINE, || async { state.get(&key).await.unwrap() }).await;
    assert_eq!(std::str::from_utf8(&token).unwrap().split('.').count(), 3);

    cli.run(["cluster", "revoke", "no.jwt", "--config", &config]).await.failed(&["no.jwt"]);
    let elsewhere = ["cluster", "revoke", "one.jwt", "--config", &config, "--lattice", "attic"];
    assert_eq!(cli.run(elsewhere).await.failed(&["`lab`", "`attic`"]).code, Some(2));
}
