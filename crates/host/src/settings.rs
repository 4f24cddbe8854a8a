//! What a host is told at start: typed and complete; where each value came from is the command line's business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wattle_artifact::Registries;
use wattle_identity::keys::KeyPair;
use wattle_lattice::ConnectOptions;

/// Everything [`Host::start`](crate::Host::start) needs to know.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// The lattice to join: one NATS subject token.
    pub lattice: String,
    /// The JetStream domain that holds the lattice's state; `None` for the server's own.
    pub js_domain: Option<String>,
    /// The root of the control subjects, `wasmbus.ctl` unless the operator chose another.
    pub ctl_prefix: String,
    /// How to reach NATS for control commands, events and state.
    pub control: ConnectOptions,
    /// The host's own key; `None` takes the one in the data folder, made at first start.
    pub host_key: Option<KeyPair>,
    /// The cluster's signing key, where this machine is trusted with it.
    pub cluster_key: Option<KeyPair>,
    /// Public cluster keys (`C…`) whose word this host takes.
    pub cluster_issuers: Vec<String>,
    /// Whose signatures on components and providers count.
    pub trusted_issuers: TrustedIssuers,
    /// Whether what comes from a registry may be unsigned.
    pub allow_unsigned: bool,
    /// Whether `file://` references may be started; local files may be unsigned.
    pub allow_file_load: bool,
    /// Whether the tag `latest` may be started.
    pub allow_latest: bool,
    /// Credentials and transport settings of each registry.
    pub registries: Registries,
    /// The operator's labels; the built-in `hostcore.*` labels are added to them.
    pub labels: BTreeMap<String, String>,
    /// The folder of this host's key, caches and list of what it was told to run. Locked while the host lives.
    pub data_dir: PathBuf,
    /// Start without the list of what the host was told to run.
    pub fresh: bool,
    /// What a component gets unless its start command says otherwise.
    pub limits: Limits,
    /// Time between two heartbeat events.
    pub heartbeat_interval: Duration,
    /// Where `/livez`, `/readyz` and `/metrics` are served; `None` for nowhere.
    pub admin_address: Option<SocketAddr>,
    /// Whether this host bids in component auctions.
    pub component_auction: bool,
    /// Whether this host bids in provider auctions.
    pub provider_auction: bool,
    /// How long a provider may take to shut down before it is ended.
    pub provider_shutdown_delay: Duration,
}

/// The accounts whose signatures make an artifact acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedIssuers {
    /// Whoever signed it: only the signature itself is checked.
    Any,
    /// Only these account keys (`A…`); an empty list trusts nobody.
    Only(Vec<String>),
}

impl TrustedIssuers {
    /// Whether an artifact signed by the account `issuer` may run here.
    #[must_use]
    pub fn trusts(&self, issuer: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(accounts) => accounts.iter().any(|account| account == issuer),
        }
    }
}

/// The bounds within which one component runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory and tables of one instance, in bytes.
    pub max_memory_bytes: u64,
    /// Wall-clock time of one call.
    pub max_execution_time: Duration,
    /// Calls that may wait for one of the concurrent ones to end, before the component is "busy".
    pub max_queued_calls: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_memory_bytes: 256 << 20,
            max_execution_time: Duration::from_secs(600),
            max_queued_calls: 1000,
        }
    }
}
