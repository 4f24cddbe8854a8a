//! A host: a `wattle host` process.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tempfile::TempDir;
use wattle_identity::keys::KeyPair;

use crate::cli::home_of;
use crate::machine::{Machine, Place};
use crate::process::{Process, command};
use crate::{Answer, DEADLINE, Keys, Nats, Registry, eventually, free_address, free_port, http, program};

/// How a host is started.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    arguments: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    lattice: Option<String>,
    data_dir: Option<PathBuf>,
    machine: Option<Place>,
}

impl HostOptions {
    /// The defaults: it trusts nobody and takes no local files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag of `wattle host`, as one word.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Joins another lattice than the server's usual one.
    #[must_use]
    pub fn lattice(mut self, lattice: &str) -> Self {
        self.lattice = Some(lattice.to_owned());
        self
    }

    /// Uses this data folder, which outlives the host, instead of one of its own.
    #[must_use]
    pub fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_path_buf());
        self
    }

    /// Runs on this machine instead of the one that we are on. The NATS server has to listen on all addresses.
    #[must_use]
    pub fn on(mut self, machine: &Machine) -> Self {
        self.machine = Some(machine.place());
        self
    }

    /// Runs what this account signed.
    #[must_use]
    pub fn trust(self, keys: &Keys) -> Self {
        self.arg("--trusted-issuer").arg(keys.public_key())
    }

    /// Speaks to this registry without TLS.
    #[must_use]
    pub fn insecure(self, registry: &Registry) -> Self {
        self.arg("--allow-insecure").arg(registry.host())
    }
}

/// A running `wattle host` with a home, a data folder and an admin address of its own; killed on drop.
#[derive(Debug)]
pub struct Host {
    // First, so that it has ended when its folder is removed.
    process: Process,
    folder: TempDir,
    options: HostOptions,
    nats_url: String,
    lattice: String,
    data_dir: PathBuf,
    admin: SocketAddr,
}

impl Host {
    /// Starts a host and waits until it is ready (`/readyz`).
    ///
    /// # Panics
    /// When it ends or is not ready within [`DEADLINE`].
    pub async fn start(nats: &Nats, options: HostOptions) -> Self {
        let mut host = Self::launch(nats, options);
        host.wait_ready().await;
        host
    }

    /// Starts a host and does not wait for anything.
    pub fn launch(nats: &Nats, options: HostOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("wattle-host-").tempdir().unwrap();
        let lattice = options.lattice.clone().unwrap_or_else(|| nats.lattice().to_owned());
        let data_dir = options.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let place = options.machine.as_ref();
        let admin = place.map_or_else(free_address, |place| SocketAddr::new(place.address, free_port()));
        let url = place.map_or_else(
            || nats.url(),
            |place| format!("nats://{}", SocketAddr::new(place.gateway, nats.address().port())),
        );
        let process = spawn(folder.path(), &url, &lattice, &data_dir, admin, &options);
        Self { folder, options, nats_url: url, lattice, data_dir, admin, process }
    }

    /// Starts it again with the same flags, folders and admin address, and waits until it is ready.
    ///
    /// # Panics
    /// When it still runs, or is not ready within [`DEADLINE`].
    pub async fn start_again(&mut self) {
        self.launch_again();
        self.wait_ready().await;
    }

    /// [`Host::start_again`] without the waiting.
    pub fn launch_again(&mut self) {
        assert!(!self.process.is_running(), "the host runs already");
        let (folder, url, admin) = (self.folder.path(), &self.nats_url, self.admin);
        self.process = spawn(folder, url, &self.lattice, &self.data_dir, admin, &self.options);
    }

    /// Changes the flags from the next start on.
    pub fn set_options(&mut self, options: HostOptions) {
        self.options = options;
    }

    /// Its public key (`N…`), which it keeps in its data folder.
    ///
    /// # Panics
    /// When it has none yet: it makes it when it starts for the first time.
    pub fn id(&self) -> String {
        let file = self.data_dir.join("host.nk");
        let seed =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        KeyPair::from_seed(&seed).unwrap().public_key()
    }

    /// The lattice that it joined.
    pub fn lattice(&self) -> &str {
        &self.lattice
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder in which it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `http://ADDRESS` of its admin endpoints.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// What `/readyz` answers, if it does.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn readyz(&self) -> anyhow::Result<Answer> {
        http(&format!("{}/readyz", self.admin_url())).await
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Panics
    /// When the host ends, or is not ready within [`DEADLINE`].
    pub async fn wait_ready(&mut self) {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answer = tokio::time::timeout(crate::GLANCE * 40, self.readyz()).await;
            if matches!(&answer, Ok(Ok(answer)) if answer.status == 200) {
                return;
            }
            assert!(self.process.is_running(), "the host ended before it was ready:\n{}", self.log());
            let late = tokio::time::Instant::now() >= end;
            assert!(!late, "the host is not ready after {DEADLINE:?}, its last answer was {answer:?}");
            tokio::time::sleep(crate::GLANCE).await;
        }
    }

    /// Waits until `/readyz` says no for a reason that has this word, and gives the reason.
    ///
    /// # Panics
    /// When that does not happen within [`DEADLINE`].
    pub async fn wait_not_ready(&self, because: &str) -> String {
        eventually(&format!("the host to say that it is not ready: {because}"), DEADLINE, || async {
            let answer = self.readyz().await.ok().filter(|answer| answer.status != 200)?.text();
            answer.contains(because).then_some(answer)
        })
        .await
    }

    /// What it wrote to its log since it was started last.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until a line of its log contains `text`, and gives that line.
    pub async fn wait_for_log(&self, text: &str) -> String {
        self.process.wait_for_log(text).await
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it at once.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to stop.
    pub fn term(&mut self) {
        self.process.term();
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.wait_exit().await
    }
}

fn spawn(
    folder: &Path,
    nats_url: &str,
    lattice: &str,
    data_dir: &Path,
    admin: SocketAddr,
    options: &HostOptions,
) -> Process {
    let wattle = program("wattle");
    let mut command =
        options.machine.as_ref().map_or_else(|| command(&wattle), |place| place.command(&wattle));
    command.envs(home_of(folder)).current_dir(folder);
    command.args([
        "host",
        "--nats-url",
        nats_url,
        "--lattice",
        lattice,
        "--admin-address",
        &admin.to_string(),
    ]);
    command.arg("--data-dir").arg(data_dir).args(&options.arguments);
    command.envs(options.env.iter().map(|(name, value)| (name, value)));
    Process::start("wattle host", command, &folder.join("host.log"))
}
