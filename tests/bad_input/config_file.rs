//! The config file of a host is wrong.

use wattle_tests::{Cli, Nats};

/// `wattle host` refuses the file, naming what is wrong with it, and starts nothing.
async fn assert_file_is_refused(nats: &Nats, text: &str, words: &[&str]) {
    let cli = Cli::new(nats);
    let (file, data) = (cli.folder().join("my_host.json"), cli.folder().join("data"));
    std::fs::write(&file, text).unwrap();
    let arguments = ["host", "--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let outcome = cli.run(arguments).await.failed(words).failed(&["my_host.json"]);
    assert_eq!(outcome.code, Some(2), "a wrong setting has an exit code of its own: {outcome}");
    assert!(!data.exists(), "the data folder was made");
    assert!(!cli.folder().join("host_config.json").exists(), "a cluster seed was made");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

async fn assert_no_host(nats: &Nats) {
    assert!(nats.control().await.hosts().await.is_empty());
}

#[tokio::test]
async fn bad_input_config_file_with_a_wrong_type() {
    let nats = Nats::start().await;
    for (text, words) in [
        ("{\n  \"lattice\": 5\n}", ["`lattice`", "line 2"]),
        ("{\n  \"labels\": \"zone=attic\"\n}", ["`labels`", "line 2"]),
        ("{\n  \"js_domain\": \"core\",\n  \"allow_latest\": \"perhaps\"\n}", ["`allow_latest`", "line 3"]),
        ("{\n  \"cluster_issuers\": {\"C\": true}\n}", ["`cluster_issuers`", "line 2"]),
    ] {
        assert_file_is_refused(&nats, text, &words).await;
    }
    assert_no_host(&nats).await;
}

#[tokio::test]
async fn bad_input_config_file_with_an_unknown_field() {
    let text = "{\n  \"lattice\": \"default\",\n  \"lattise\": \"lab\"\n}";
    let nats = Nats::start().await;
    assert_file_is_refused(&nats, text, &["unknown field `lattise`", "line 3"]).await;
    assert_no_host(&nats).await;
}

#[tokio::test]
async fn bad_input_config_file_that_is_no_json() {
    let nats = Nats::start().await;
    assert_file_is_refused(&nats, "{\n  \"lattice\": \"default\",\n}", &["line 3"]).await;
    assert_no_host(&nats).await;
}

#[tokio::test]
async fn bad_input_config_file_that_is_not_there() {
    let cli = Cli::anywhere();
    let data = cli.folder().join("data");
    let arguments = ["host", "--config", "nowhere.json", "--data-dir", data.to_str().unwrap()];
    cli.run(arguments).await.failed(&["there is no config file", "nowhere.json"]);
    assert!(!data.exists());
}
