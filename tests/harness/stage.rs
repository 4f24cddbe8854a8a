//! What most tests begin with: a server, a registry, a host that trusts one account, and the command line.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::{
    Cli, Control, DEADLINE, Events, Host, HostOptions, Keys, Nats, Outcome, Registry, events, eventually,
    free_address, guest, guest_path, http,
};

/// What the example component answers.
pub const GREETING: &str = "Hello from Wattle!\n";

/// The provider that serves HTTP on a stage.
const HTTP_SERVER: &str = "http-server";

/// Everything that it takes to run a component. Fields are in the order in which they end.
#[derive(Debug)]
pub struct Stage {
    /// Every event since before the host was started.
    pub events: Events,
    /// The command line on this lattice.
    pub cli: Cli,
    /// The host. It trusts `keys`, and takes local files.
    pub host: Host,
    /// The control interface in plain JSON.
    pub control: Control,
    /// Who signs.
    pub keys: Keys,
    /// A registry that lets everybody in; the host speaks to it without TLS.
    pub registry: Registry,
    /// The NATS server, with JetStream.
    pub nats: Nats,
}

impl Stage {
    /// Starts everything, and waits until the host is ready.
    pub async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    /// [`Stage::start`] with more flags for the host.
    pub async fn start_with(more: impl FnOnce(HostOptions) -> HostOptions) -> Self {
        Self::start_on(Nats::start().await, more).await
    }

    /// [`Stage::start_with`] on a server of one's own.
    pub async fn start_on(nats: Nats, more: impl FnOnce(HostOptions) -> HostOptions) -> Self {
        let registry = Registry::start().await;
        let keys = Keys::generate();
        let events = events(&nats, nats.lattice()).await;
        let options = more(HostOptions::new().trust(&keys).insecure(&registry).arg("--allow-file-load"));
        let host = Host::start(&nats, options).await;
        let control = nats.control().await;
        Self { events, cli: Cli::new(&nats), host, control, keys, registry, nats }
    }

    /// Signs a test component, puts it into the registry and gives its reference.
    pub async fn push(&self, name: &str) -> String {
        self.registry.put(name, "1.0.0", &self.keys.sign(&guest(name))).await
    }

    /// `wattle start component REFERENCE ID` on the stage's host, with more flags.
    pub async fn start_component(&self, reference: &str, id: &str, more: &[&str]) -> Outcome {
        let host = self.host.id();
        let mut arguments = vec!["start", "component", reference, id, "--host", &host];
        arguments.extend(more);
        self.cli.run(arguments).await
    }

    /// Links a component to the HTTP server, which is started if need be, and gives the URL at which it answers, without
    /// a slash at the end. It answers a moment later.
    pub async fn expose(&self, id: &str) -> String {
        let address = free_address().to_string();
        self.expose_at(id, &address).await;
        format!("http://{address}")
    }

    /// [`Stage::expose`] at an address of one's own.
    pub async fn expose_at(&self, id: &str, address: &str) {
        let config = format!("http-{id}");
        self.cli.run(["config", "put", &config, &format!("address={address}")]).await.ok();
        let inventory = self.inventory().await;
        let providers = inventory["providers"].as_array().unwrap();
        if !providers.iter().any(|provider| provider["id"] == HTTP_SERVER) {
            let host = self.host.id();
            let start = ["start", "provider", "builtin://http-server", HTTP_SERVER, "--host", &host];
            self.cli.run(start).await.ok();
        }
        let link = ["link", "put", HTTP_SERVER, id, "wasi", "http", "--interface", "incoming-handler"];
        let details = ["--source-config", &config, "--name", &format!("to-{id}")];
        self.cli.run(link.into_iter().chain(details)).await.ok();
    }

    /// What the host says that it is and runs.
    pub async fn inventory(&self) -> Value {
        self.control.inventory(&self.host.id()).await
    }

    /// What runs on the host, as its inventory has it: components and providers, without what changes by the clock.
    pub async fn running(&self) -> Value {
        let mut inventory = self.inventory().await;
        Value::Array(vec![inventory["components"].take(), inventory["providers"].take()])
    }

    /// Waits until a URL answers with this body.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_for_page(&self, url: &str, body: &str) {
        eventually(&format!("{url} to answer {body:?}"), DEADLINE, || async {
            http(url).await.ok().filter(|answer| answer.status == 200 && answer.text() == body)
        })
        .await;
    }

    /// The same host process still does all that a host is for: a good component starts on it, from a local file,
    /// answers over HTTP, and stops again.
    ///
    /// # Panics
    /// When it does not.
    pub async fn assert_host_lives(&mut self) {
        static TIMES: AtomicU32 = AtomicU32::new(0);
        assert!(self.host.is_running(), "the host ended:\n{}", self.host.log());
        let id = format!("lives-{}", TIMES.fetch_add(1, Ordering::Relaxed));
        let file = format!("file://{}", guest_path("http-hello").display());
        self.start_component(&file, &id, &[]).await.ok();
        let url = self.expose(&id).await;
        self.wait_for_page(&url, GREETING).await;
        self.cli.run(["link", "del", HTTP_SERVER, "wasi", "http", "--name", &format!("to-{id}")]).await.ok();
        self.cli.run(["stop", "component", &id]).await.ok();
    }
}
