//! `wattle up`: a lattice on this machine in one command, of which nothing is left when it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wattle_tests::{
    Cli, DEADLINE, GREETING, Process, Registry, Signal, children, daemon, eventually, free_address,
    free_port, guest_path, http, is_alive, program, send_signal,
};

/// A running `wattle up`. Fields are in the order in which they end.
struct Up {
    process: Process,
    /// The command line on its lattice, with the home, and so the keys, of whoever runs it.
    cli: Cli,
    port: u16,
    admin: String,
}

impl Up {
    /// Starts it in this folder and waits until its host is ready.
    async fn start(folder: &Path, more: &[&str]) -> Self {
        let (port, admin) = (free_port(), free_address().to_string());
        let mut up = Self::launch(folder, port, &admin, more);
        up.wait_ready().await;
        up
    }

    fn launch(folder: &Path, port: u16, admin: &str, more: &[&str]) -> Self {
        let port_text = port.to_string();
        let arguments = ["up", "--nats-port", &port_text, "--admin-address", admin];
        let nats = program("nats-server").display().to_string();
        let environment = [("WATTLE_NATS_SERVER", nats.as_str())];
        let process = daemon(folder, arguments.iter().chain(more), &environment);
        let cli = Cli::anywhere().env("WATTLE_NATS_URL", format!("nats://127.0.0.1:{port}"));
        let cli = cli.env("HOME", folder.join("home"));
        Self { process, cli, port, admin: format!("http://{admin}") }
    }

    async fn wait_ready(&mut self) {
        let ready = || async {
            http(&format!("{}/readyz", self.admin)).await.ok().filter(|ready| ready.status == 200)
        };
        eventually("the host of `wattle up` to be ready", DEADLINE, ready).await;
        assert!(self.process.is_running());
    }

    /// The process id of its NATS server.
    fn nats(&self) -> u32 {
        let servers = children(self.process.id(), "nats-server");
        assert_eq!(servers.len(), 1, "one nats-server runs under it: {servers:?}");
        servers[0]
    }

    /// Its host's id.
    async fn host(&self) -> String {
        let hosts = self.cli.run(["get", "hosts", "-o", "json"]).await.ok().json();
        assert_eq!(hosts.as_array().unwrap().len(), 1);
        hosts[0]["id"].as_str().unwrap().to_owned()
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("wattle-up-").tempdir().unwrap()
}

/// Waits until a process has ended.
async fn wait_gone(process: u32, what: &str) {
    eventually(&format!("the end of {what}"), DEADLINE, || async { (!is_alive(process)).then_some(()) })
        .await;
}

/// Nobody listens on the port any more.
async fn assert_free(port: u16) {
    TcpListener::bind(("127.0.0.1", port)).await.unwrap_or_else(|error| panic!("port {port}: {error}"));
}

#[tokio::test]
async fn one_command_is_a_lattice_and_ctrl_c_ends_all_of_it() {
    let folder = folder();
    let mut up = Up::start(folder.path(), &["--label", "zone=desk"]).await;
    let hosts = up.cli.run(["get", "hosts", "-o", "json"]).await.ok().json();
    assert_eq!((&hosts[0]["js_domain"], &hosts[0]["labels"]["zone"]), (&json!("core"), &json!("desk")));

    // A file of one's own runs without more ado.
    up.cli.run(["start", "component", &guest_path("http-hello").display().to_string(), "hello"]).await.ok();
    up.cli.run(["start", "provider", "builtin://http-server", "http"]).await.ok();
    let address = free_address().to_string();
    up.cli.run(["config", "put", "http-config", &format!("address={address}")]).await.ok();
    let link = ["link", "put", "http", "hello", "wasi", "http", "--interface", "incoming-handler"];
    up.cli.run(link.into_iter().chain(["--source-config", "http-config"])).await.ok();
    eventually("the greeting", DEADLINE, || async {
        http(&format!("http://{address}/")).await.ok().filter(|answer| answer.text() == GREETING)
    })
    .await;

    let data = folder.path().join("home/.local/share/wattle/up");
    let log = std::fs::read_to_string(data.join("nats-server.log")).unwrap();
    assert!(log.contains("Server is ready"), "{log}");
    assert!(data.join("jetstream").is_dir());

    let nats = up.nats();
    send_signal(up.process.id(), Signal::INT);
    assert_eq!(up.process.wait_exit().await.code(), Some(0), "{}", up.process.log());
    assert!(!is_alive(nats), "nats-server is left behind");
    assert_free(up.port).await;
}

#[tokio::test]
async fn sigterm_ends_all_of_it_and_the_next_start_goes_on_where_it_was() {
    let folder = folder();
    let mut up = Up::start(folder.path(), &[]).await;
    up.cli.run(["start", "component", &guest_path("http-hello").display().to_string(), "hello"]).await.ok();
    up.cli.run(["config", "put", "kept", "colour=blue"]).await.ok();
    let (host, nats) = (up.host().await, up.nats());
    up.process.term();
    assert_eq!(up.process.wait_exit().await.code(), Some(0));
    assert!(!is_alive(nats));

    let up = Up::start(folder.path(), &[]).await;
    assert_eq!(up.host().await, host);
    let kept = up.cli.run(["get", "config", "kept", "-o", "json"]).await.ok().json();
    assert_eq!(kept, json!({ "colour": "blue" }));
    eventually("the component to run again", DEADLINE, || async {
        let inventory = up.cli.run(["get", "inventory", "-o", "json"]).await.ok().json();
        (inventory[0]["components"][0]["id"] == "hello").then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_9_leaves_no_process_behind() {
    let folder = folder();
    let mut up = Up::start(folder.path(), &[]).await;
    let nats = up.nats();
    assert!(is_alive(nats));
    // To it alone: what it started must not need a signal of its own.
    send_signal(up.process.id(), Signal::KILL);
    up.process.wait_exit().await;
    wait_gone(nats, "nats-server after kill -9 of its parent").await;
    assert_free(up.port).await;
}

#[tokio::test]
async fn a_nats_server_that_dies_is_started_again() {
    let folder = folder();
    let mut up = Up::start(folder.path(), &[]).await;
    up.cli.run(["config", "put", "kept", "colour=blue"]).await.ok();
    for _ in 0..2 {
        let before = up.nats();
        send_signal(before, Signal::KILL);
        let after = eventually("another nats-server", DEADLINE, || async {
            children(up.process.id(), "nats-server").into_iter().find(|process| *process != before)
        })
        .await;
        assert!(is_alive(after));
        up.wait_ready().await;
        eventually("the lattice to know its configs again", DEADLINE, || async {
            let kept = up.cli.run(["get", "config", "kept", "-o", "json"]).await;
            (kept.code == Some(0) && kept.json() == json!({ "colour": "blue" })).then_some(())
        })
        .await;
    }
    assert!(up.process.log().contains("starting it again"), "it is told");
    send_signal(up.process.id(), Signal::INT);
    assert_eq!(up.process.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_helps() {
    let folder = folder();
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut up = Up::launch(folder.path(), port, &free_address().to_string(), &[]);
    assert_eq!(up.process.wait_exit().await.code(), Some(1));
    let log = up.process.log();
    for word in ["error:", &port.to_string(), "in use", "--nats-port"] {
        assert!(log.contains(word), "the error does not say `{word}`: {log}");
    }
    assert!(children(up.process.id(), "nats-server").is_empty());
}

#[tokio::test]
async fn a_second_one_in_the_same_folder_is_refused_and_the_first_goes_on() {
    let folder = folder();
    let mut first = Up::start(folder.path(), &[]).await;
    let host = first.host().await;
    let nats = first.nats();
    let mut second = Up::launch(folder.path(), free_port(), &free_address().to_string(), &[]);
    assert_eq!(second.process.wait_exit().await.code(), Some(1), "{}", second.process.log());
    assert!(second.process.log().contains("another"), "{}", second.process.log());
    assert!(first.process.is_running() && is_alive(nats));
    assert_eq!(first.host().await, host);
    // Its store is not broken either: what is written now is read after a restart.
    first.cli.run(["config", "put", "kept", "colour=blue"]).await.ok();
    first.process.term();
    assert_eq!(first.process.wait_exit().await.code(), Some(0));
    let again = Up::start(folder.path(), &[]).await;
    let kept = again.cli.run(["get", "config", "kept", "-o", "json"]).await.ok().json();
    assert_eq!(kept, json!({ "colour": "blue" }));
}

#[tokio::test]
async fn without_a_nats_server_it_is_told_how_to_get_one() {
    let folder = folder();
    let nowhere = [("PATH", "/nonexistent"), ("XDG_CACHE_HOME", "/nonexistent")];
    let mut up = daemon(folder.path(), ["up"], &nowhere);
    let exit = up.wait_exit().await.code();
    let log = up.log();
    assert!(exit.is_some_and(|code| code != 0), "{exit:?}: {log}");
    for word in ["nats-server", "https://nats.io/download", "--nats-server", "WATTLE_NATS_SERVER"] {
        assert!(log.contains(word), "the error does not say `{word}`: {log}");
    }
    let named = ["up", "--nats-server", "/nonexistent/nats-server"];
    let mut up = daemon(folder.path(), named, &nowhere);
    assert!(up.wait_exit().await.code().is_some_and(|code| code != 0));
    assert!(up.log().contains("there is no nats-server at /nonexistent/nats-server"), "{}", up.log());
}

#[tokio::test]
async fn what_one_signs_oneself_runs_on_one_s_own_lattice() {
    let folder = folder();
    let registry = Registry::start().await;
    let up = Up::start(folder.path(), &["--allow-insecure", &registry.host()]).await;
    let signed = folder.path().join("signed.wasm").display().to_string();
    let file = guest_path("http-hello").display().to_string();
    up.cli.run(["claims", "sign", &file, "--destination", &signed]).await.ok();
    let reference = registry.reference("shop/hello:1.0.0");
    up.cli.run(["push", &reference, &signed, "--insecure"]).await.ok();
    up.cli.run(["start", "component", &reference, "hello"]).await.ok();

    // Somebody else's signature does not count.
    let other = folder.path().join("other.wasm").display().to_string();
    up.cli.run(["keys", "gen", "account", "--name", "stranger"]).await.ok();
    up.cli.run(["claims", "sign", &file, "--destination", &other, "--issuer", "stranger"]).await.ok();
    let reference = registry.reference("shop/other:1.0.0");
    up.cli.run(["push", &reference, &other, "--insecure"]).await.ok();
    up.cli.run(["start", "component", &reference, "other"]).await.failed(&["issuer"]);
}
