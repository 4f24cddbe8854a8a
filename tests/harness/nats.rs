//! A NATS server.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::process::{Process, command};
use crate::{Control, DEADLINE, eventually, free_address, program, within};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// The domain of its JetStream.
    pub domain: Option<String>,
    /// More lines for its configuration file, such as accounts or leaf nodes.
    pub config: String,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self { jetstream: true, domain: None, config: String::new() }
    }
}

/// A nats-server on a port and with a store of its own; ended on drop.
#[derive(Debug)]
pub struct Nats {
    // First, so that it has ended when its folder is removed.
    process: Option<Process>,
    folder: TempDir,
    options: NatsOptions,
    address: SocketAddr,
    lattice: String,
}

impl Nats {
    /// Starts a server with JetStream and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(NatsOptions::default()).await
    }

    /// Starts a server and waits until it answers.
    pub async fn start_with(options: NatsOptions) -> Self {
        let mut nats = Self::prepare(options);
        nats.start_again_on_same_port().await;
        nats
    }

    /// A server that does not run yet: its port is known already.
    pub fn prepare(options: NatsOptions) -> Self {
        static LATTICES: AtomicU32 = AtomicU32::new(0);
        let number = LATTICES.fetch_add(1, Ordering::Relaxed);
        let lattice = format!("test-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("wattle-nats-").tempdir().unwrap();
        Self { folder, options, address: free_address(), lattice, process: None }
    }

    /// `nats://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of a lattice that no other test has. What is started on this server joins it unless told otherwise.
    pub fn lattice(&self) -> &str {
        &self.lattice
    }

    /// What it wrote to its log since it was started last.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// A connection of the test's own. It connects again by itself when the server comes back.
    pub async fn connect(&self) -> async_nats::Client {
        within("a connection to nats-server", async_nats::connect(self.url())).await.unwrap()
    }

    /// The control interface of this server's lattice, in plain JSON.
    pub async fn control(&self) -> Control {
        Control::new(self.connect().await, &self.lattice)
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.term();
            process.wait_exit().await;
        }
    }

    /// Ends it as kill -9 does.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with what is in its store, and waits until it answers.
    pub async fn start_again_on_same_port(&mut self) {
        assert!(self.process.is_none(), "nats-server runs already");
        let config = self.folder.path().join("nats.conf");
        std::fs::write(&config, self.config()).unwrap();
        let mut command = command(&program("nats-server"));
        command.arg("--config").arg(&config).current_dir(self.folder.path());
        self.process = Some(Process::start("nats-server", command, &self.folder.path().join("nats.log")));
        let address = self.address;
        eventually("nats-server to answer", DEADLINE, || answers(address)).await;
    }

    /// Removes all that its JetStream stored. It must not run.
    pub fn wipe_store(&mut self) {
        assert!(self.process.is_none(), "nats-server runs");
        let store = self.store();
        if store.exists() {
            std::fs::remove_dir_all(store).unwrap();
        }
    }

    /// Changes how it is set up from the next start on.
    pub fn set_options(&mut self, options: NatsOptions) {
        self.options = options;
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn config(&self) -> String {
        let mut config =
            format!("listen: \"{}\"\nserver_name: \"test-{}\"\n", self.address, self.address.port());
        if self.options.jetstream {
            let domain = self.options.domain.as_ref().map(|domain| format!(", domain: {domain:?}"));
            let domain = domain.unwrap_or_default();
            writeln!(config, "jetstream {{ store_dir: {:?}{domain} }}", path_text(&self.store())).unwrap();
        }
        config + &self.options.config
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The server speaks first: a line that begins with INFO.
async fn answers(address: SocketAddr) -> Option<()> {
    use tokio::io::AsyncReadExt as _;
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).await.ok()?;
    (greeting == *b"INFO").then_some(())
}
