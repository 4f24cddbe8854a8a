//! Where a host's settings come from: flag, environment, config file, default, in this order.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_tests::{
    Cli, DEADLINE, Keys, Nats, NatsOptions, Process, daemon, eventually, free_address, guest_path, http,
};

pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("wattle-settings-").tempdir().unwrap()
}

/// Waits until exactly one host answers in a lattice, and gives what it says of itself.
pub(crate) async fn only_host(nats: &Nats, lattice: &str) -> Value {
    let cli = Cli::new(nats).env("WATTLE_LATTICE", lattice);
    eventually(&format!("a host in lattice {lattice}"), DEADLINE, || async {
        let hosts = cli.run(["get", "hosts", "-o", "json"]).await.ok().json();
        match hosts.as_array().unwrap().as_slice() {
            [host] => Some(host.clone()),
            _ => None,
        }
    })
    .await
}

fn host(folder: &Path, nats: &Nats, more: &[&str], environment: &[(&str, &str)]) -> Process {
    let url = nats.url();
    daemon(folder, ["host", "--nats-url", &url].iter().chain(more), environment)
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let nats = Nats::start().await;
    let folder = folder();
    let file = json!({
        "lattice": "by-file",
        "labels": { "flag": "file", "variable": "file", "file": "file" },
    });
    std::fs::write(folder.path().join("my.json"), file.to_string()).unwrap();
    let set = [
        ("WATTLE_LATTICE", "by-variable"),
        ("WASMCLOUD_LABEL_flag", "variable"),
        ("WASMCLOUD_LABEL_variable", "variable"),
    ];
    let config = ["--config", "my.json"];

    let mut all = host(
        folder.path(),
        &nats,
        &[&config[..], &["--lattice", "by-flag", "--label", "flag=flag"]].concat(),
        &set,
    );
    let labels = only_host(&nats, "by-flag").await["labels"].take();
    assert_eq!(
        (&labels["flag"], &labels["variable"], &labels["file"]),
        (&json!("flag"), &json!("variable"), &json!("file"))
    );
    all.kill9();

    let mut without_flag = host(folder.path(), &nats, &config, &set);
    let labels = only_host(&nats, "by-variable").await["labels"].take();
    assert_eq!((&labels["flag"], &labels["file"]), (&json!("variable"), &json!("file")));
    without_flag.kill9();

    let mut file_alone = host(folder.path(), &nats, &config, &[]);
    let labels = only_host(&nats, "by-file").await["labels"].take();
    assert_eq!((&labels["flag"], &labels["variable"]), (&json!("file"), &json!("file")));
    file_alone.kill9();

    // Elsewhere: the first of them has written a file here, which would be read.
    let elsewhere = self::folder();
    let _nothing = host(elsewhere.path(), &nats, &[], &[]);
    let labels = only_host(&nats, "default").await["labels"].take();
    let names: Vec<_> = labels.as_object().unwrap().keys().collect();
    assert_eq!(names, ["hostcore.arch", "hostcore.os", "hostcore.osfamily"]);
}

#[tokio::test]
async fn the_config_file_is_the_one_that_a_variable_names() {
    let nats = Nats::start().await;
    let folder = folder();
    for (name, lattice) in [("one.json", "one"), ("two.json", "two"), ("host_config.json", "usual")] {
        std::fs::write(folder.path().join(name), json!({ "lattice": lattice }).to_string()).unwrap();
    }
    let started =
        |environment: &[(&str, &str)], flags: &[&str]| host(folder.path(), &nats, flags, environment);

    let mut process = started(&[("HOST_CONFIG", "one.json")], &[]);
    let own = only_host(&nats, "one").await;
    assert_eq!(own["labels"]["config"], Value::Null, "HOST_CONFIG is no label");
    process.kill9();
    let mut process = started(&[("HOST_CONFIG", "one.json"), ("WATTLE_CONFIG", "two.json")], &[]);
    only_host(&nats, "two").await;
    process.kill9();
    let mut process = started(&[("HOST_CONFIG", "one.json")], &["--config", "two.json"]);
    only_host(&nats, "two").await;
    process.kill9();
    let _process = started(&[], &[]);
    only_host(&nats, "usual").await;
}

#[tokio::test]
async fn labels_of_the_environment_are_listed_at_start() {
    let nats = Nats::start().await;
    let folder = folder();
    let set = [
        ("HOST_ZONE", "attic"),
        ("WASMCLOUD_LABEL_Disk", "ssd"),
        ("HOSTNAME", "box"),
        ("WATTLE_LABEL_gpu", "old"),
    ];
    let process = host(folder.path(), &nats, &[], &set);
    let labels = only_host(&nats, "default").await["labels"].take();
    assert_eq!(
        (&labels["zone"], &labels["Disk"], &labels["gpu"], &labels["name"]),
        (&json!("attic"), &json!("ssd"), &json!("old"), &Value::Null)
    );
    let line = process.wait_for_log("labels from the environment").await;
    for label in ["zone=attic", "Disk=ssd", "gpu=old"] {
        assert!(line.contains(label), "{line}");
    }
}

/// The tools of wasmCloud start their host with these variables alone, and no argument.
#[tokio::test]
async fn a_host_understands_the_environment_of_wasmcloud() {
    let nats =
        Nats::start_with(NatsOptions { domain: Some("core".to_owned()), ..NatsOptions::default() }).await;
    let folder = folder();
    let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
    let own = KeyPair::generate(KeyKind::Host).unwrap();
    let (address, admin) = (nats.address(), free_address());
    let (ip, port, admin) = (address.ip().to_string(), address.port().to_string(), admin.to_string());
    let (cluster_seed, own_seed, cluster_key) = (cluster.seed(), own.seed(), cluster.public_key());
    let set = [
        ("WASMCLOUD_LATTICE", "theirs"),
        ("WASMCLOUD_CTL_HOST", ip.as_str()),
        ("WASMCLOUD_CTL_PORT", &port),
        ("WASMCLOUD_CTL_TLS", "false"),
        ("WASMCLOUD_RPC_HOST", &ip),
        ("WASMCLOUD_RPC_PORT", &port),
        ("WASMCLOUD_RPC_TIMEOUT_MS", "2000"),
        ("WASMCLOUD_JS_DOMAIN", "core"),
        ("WASMCLOUD_CLUSTER_SEED", &cluster_seed),
        ("WASMCLOUD_CLUSTER_ISSUERS", &cluster_key),
        ("WASMCLOUD_HOST_SEED", &own_seed),
        ("WASMCLOUD_LABEL_zone", "attic"),
        ("WASMCLOUD_ALLOW_FILE_LOAD", "true"),
        ("WASMCLOUD_OCI_ALLOW_LATEST", "false"),
        ("WASMCLOUD_OCI_ALLOWED_INSECURE", "localhost:5000"),
        ("WASMCLOUD_MAX_EXECUTION_TIME_MS", "600000"),
        ("WASMCLOUD_PROV_SHUTDOWN_DELAY_MS", "300"),
        ("WASMCLOUD_LOG_LEVEL", "INFO"),
        ("WASMCLOUD_STRUCTURED_LOGGING_ENABLED", "true"),
        ("WASMCLOUD_CONFIG_SERVICE", "false"),
        ("WASMCLOUD_ENABLE_IPV6", "false"),
        ("WASMCLOUD_HTTP_ADMIN", &admin),
    ];
    let process = daemon(folder.path(), ["host"], &set);
    let said = only_host(&nats, "theirs").await;
    assert_eq!(said["id"], own.public_key());
    assert_eq!((&said["js_domain"], &said["labels"]["zone"]), (&json!("core"), &json!("attic")));
    eventually("the host to be ready", DEADLINE, || async {
        http(&format!("http://{admin}/readyz")).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    let cli = Cli::new(&nats).env("WATTLE_LATTICE", "theirs");
    cli.run(["start", "component", &guest_path("http-hello").display().to_string(), "hello"]).await.ok();
    let log = process.log();
    assert!(!log.contains("cluster seed"), "none had to be made: {log}");
    assert!(!log.contains(cluster_seed.as_str()) && !log.contains(own_seed.as_str()), "seeds are secret");
    assert!(
        log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "structured logs were asked for"
    );
}

#[tokio::test]
async fn the_example_config_file_is_one_that_changes_nothing() {
    let nats = Nats::start().await;
    let folder = folder();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("host_config.example.json");
    let example = example.display().to_string();
    let process = host(folder.path(), &nats, &["--config", &example], &[]);
    let labels = only_host(&nats, "default").await["labels"].take();
    assert!(labels.as_object().unwrap().keys().all(|name| name.starts_with("hostcore.")), "{labels}");
    process.wait_for_log("host is ready").await;
    process.wait_for_log("no cluster seed").await;
}

#[tokio::test]
async fn a_host_in_a_jetstream_domain_uses_that_one() {
    let nats =
        Nats::start_with(NatsOptions { domain: Some("core".to_owned()), ..NatsOptions::default() }).await;
    let folder = folder();
    let keys = Keys::generate();
    let issuer = keys.public_key();
    let _process = host(folder.path(), &nats, &["--js-domain", "core", "--trusted-issuer", &issuer], &[]);
    assert_eq!(only_host(&nats, "default").await["js_domain"], "core");
    let cli = Cli::new(&nats).env("WATTLE_LATTICE", "default");
    eventually("the host to be ready", DEADLINE, || async {
        (cli.run(["config", "put", "kept", "colour=blue"]).await.code == Some(0)).then_some(())
    })
    .await;
    let client = nats.connect().await;
    let domain = async_nats::jetstream::with_domain(client, "core");
    let bucket = domain.get_key_value("CONFIGDATA_default").await.unwrap();
    assert_eq!(bucket.get("kept").await.unwrap().unwrap(), "{\"colour\":\"blue\"}");
}
