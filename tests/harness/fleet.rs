//! Several hosts of one cluster in one lattice, and components on them.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use wattle_identity::keys::{KeyKind, KeyPair};

use crate::{
    Cli, Control, DEADLINE, Events, Host, HostOptions, Keys, Nats, Outcome, events, eventually, free_address,
    guest, http,
};

/// The variable that gives a host, and a command, the cluster's seed.
const SEED: &str = "WATTLE_CLUSTER_SEED";
/// The provider that serves HTTP.
const HTTP_SERVER: &str = "http-server";

/// Hosts that hold the seed of one cluster, trust one account, and take local files. Fields are in the order in which
/// they end.
#[derive(Debug)]
pub struct Fleet {
    /// Every event since before the hosts were started.
    pub events: Events,
    /// The command line on this lattice, with the cluster's seed.
    pub cli: Cli,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The control interface in plain JSON.
    pub control: Control,
    /// Who signs.
    pub keys: Keys,
    /// The NATS server.
    pub nats: Nats,
    cluster: KeyPair,
    folder: TempDir,
}

impl Fleet {
    /// Starts so many hosts on a server of their own, and waits until they are ready.
    pub async fn start(hosts: usize) -> Self {
        Self::start_with(hosts, |_, options| options).await
    }

    /// [`Fleet::start`] with more flags for each host, by its number.
    pub async fn start_with(hosts: usize, more: impl Fn(usize, HostOptions) -> HostOptions) -> Self {
        let mut fleet = Self::empty(Nats::start().await).await;
        for number in 0..hosts {
            fleet.join(|options| more(number, options)).await;
        }
        fleet
    }

    /// No hosts yet, on this server.
    pub async fn empty(nats: Nats) -> Self {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let events = events(&nats, nats.lattice()).await;
        let cli = Cli::new(&nats).env(SEED, cluster.seed().as_str());
        let control = nats.control().await;
        let folder = tempfile::Builder::new().prefix("wattle-fleet-").tempdir().unwrap();
        Self { events, cli, hosts: Vec::new(), control, keys: Keys::generate(), nats, cluster, folder }
    }

    /// Starts one host more, and waits until it is ready.
    pub async fn join(&mut self, more: impl FnOnce(HostOptions) -> HostOptions) {
        let options = HostOptions::new().trust(&self.keys).arg("--allow-file-load");
        let options = more(options.env(SEED, self.cluster.seed().as_str()));
        self.hosts.push(Host::start(&self.nats, options).await);
    }

    /// Signs a component and runs it under this id on the host of this number, with more flags of
    /// `wattle start component`.
    pub async fn run(&self, host: usize, id: &str, component: &[u8], more: &[&str]) {
        let (reference, host) = (self.keep(id, component), self.hosts[host].id());
        let start = ["start", "component", &reference, id, "--host", &host];
        self.cli.run(start.iter().chain(more)).await.ok();
    }

    /// Signs a component and puts it in the place of what runs under this id on the host of this number.
    pub async fn update(&self, host: usize, id: &str, component: &[u8]) {
        let (reference, host) = (self.keep(id, component), self.hosts[host].id());
        self.cli.run(["update", "component", id, &reference, "--host", &host]).await.ok();
    }

    /// Signs a component, and gives the reference of the file that it is in.
    fn keep(&self, id: &str, component: &[u8]) -> String {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let file = format!("{id}-{}.wasm", FILES.fetch_add(1, Ordering::Relaxed));
        let file = self.folder.path().join(file);
        std::fs::write(&file, self.keys.sign(component)).unwrap();
        format!("file://{}", file.display())
    }

    /// [`Fleet::run`] with a test component or example.
    pub async fn run_guest(&self, host: usize, id: &str, name: &str, more: &[&str]) {
        self.run(host, id, &guest(name), more).await;
    }

    /// Stops a component on the host of this number.
    pub async fn stop(&self, host: usize, id: &str) {
        self.cli.run(["stop", "component", id, "--host", &self.hosts[host].id()]).await.ok();
    }

    /// Puts the default link of these interfaces, such as `acme:calls/echo` or `wasi:http/client,handler`.
    pub async fn link(&self, source: &str, target: &str, interfaces: &str) {
        self.link_as("default", source, target, interfaces).await;
    }

    /// [`Fleet::link`] under a name.
    pub async fn link_as(&self, name: &str, source: &str, target: &str, interfaces: &str) {
        let (namespace, package, names) = parts(interfaces);
        let put = ["link", "put", source, target, namespace, package, "--interface", names, "--name", name];
        self.cli.run(put).await.ok();
    }

    /// Deletes the default links of a source and a package, such as `acme:calls/echo`.
    pub async fn unlink(&self, source: &str, interfaces: &str) {
        let (namespace, package, _) = parts(interfaces);
        self.cli.run(["link", "del", source, namespace, package]).await.ok();
    }

    /// `wattle call TARGET FUNCTION`, with each argument in WAVE. The function is written as in `acme:calls/echo.f`.
    pub async fn call(&self, target: &str, function: &str, arguments: &[&str]) -> Outcome {
        // Values may begin with a minus.
        let call = ["call", "-o", "json", target, function, "--"];
        self.cli.run(call.iter().chain(arguments)).await
    }

    /// [`Fleet::call`] that must succeed; gives the result in WAVE.
    pub async fn ask(&self, target: &str, function: &str, arguments: &[&str]) -> String {
        let answer = self.call(target, function, arguments).await.ok().json();
        let wave = answer["wave"].as_str();
        wave.unwrap_or_else(|| panic!("{target} {function} has no `wave`: {answer:#}")).to_owned()
    }

    /// Links a component to the HTTP server on the host of this number, which is started if need be, waits until
    /// something answers at `path`, and gives the URL without a path.
    pub async fn expose(&self, host: usize, id: &str, path: &str) -> String {
        let address = free_address().to_string();
        let (config, name) = (format!("http-{id}"), format!("to-{id}"));
        self.cli.run(["config", "put", &config, &format!("address={address}")]).await.ok();
        let providers = self.inventory(host).await["providers"].take();
        if !providers.as_array().unwrap().iter().any(|provider| provider["id"] == HTTP_SERVER) {
            let host = self.hosts[host].id();
            let start = ["start", "provider", "builtin://http-server", HTTP_SERVER, "--host", &host];
            self.cli.run(start).await.ok();
        }
        let link =
            ["link", "put", HTTP_SERVER, id, "wasi", "http", "--interface", "incoming-handler,handler"];
        let details = ["--source-config", &config, "--name", &name];
        self.cli.run(link.into_iter().chain(details)).await.ok();
        let url = format!("http://{address}");
        let page = format!("{url}{path}");
        eventually(&format!("an answer of {id} at {page}"), DEADLINE, || async {
            http(&page).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
        url
    }

    /// What the host of this number says that it is and runs.
    pub async fn inventory(&self, host: usize) -> Value {
        self.control.inventory(&self.hosts[host].id()).await
    }

    /// The sum of a metric over the series whose labels have all of these, such as `outcome="ok"`, on the host of this
    /// number.
    pub async fn metric(&self, host: usize, name: &str, labels: &[&str]) -> f64 {
        let page = http(&format!("{}/metrics", self.hosts[host].admin_url())).await.unwrap().text();
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        let fitting = series.filter(|line| labels.iter().all(|label| line.contains(label)));
        fitting.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// `namespace:package/names`, taken apart.
fn parts(interfaces: &str) -> (&str, &str, &str) {
    let (package, names) = interfaces.split_once('/').unwrap();
    let (namespace, package) = package.split_once(':').unwrap();
    (namespace, package, names)
}
