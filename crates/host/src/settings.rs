//! What a host is told at start: typed and complete; where each value came from is the command line's business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use wattle_artifact::Registries;
use wattle_identity::keys::KeyPair;
use wattle_lattice::ConnectOptions;

use crate::data::{DataFolder, read_host_key};
use crate::error::Error;
use crate::telemetry::Telemetry;

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
    /// How to reach NATS for calls, where that is another connection; `None` for the one of [`control`](Self::control).
    pub calls: Option<ConnectOptions>,
    /// The host's own key; `None` takes the one in the data folder, made at first start.
    pub host_key: Option<KeyPair>,
    /// How this host proves its membership, and whose word it takes. Each change is to be taken up while the host
    /// runs; where nobody will change it, the sender may be gone.
    pub cluster: watch::Receiver<ClusterSettings>,
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
    /// Where the spans of calls go.
    pub telemetry: Telemetry,
}

/// How a host proves that it is a member, and whom it believes that they are.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// The cluster's signing key (`C…`), where this machine is trusted with it: the host issues its own certificate.
    pub key: Option<KeyPair>,
    /// Public cluster keys (`C…`) whose word this host takes. That of [`key`](Self::key) is among them.
    pub issuers: Vec<String>,
    /// Without the key: the certificate that was issued for this host elsewhere.
    pub certificate: Option<CertificateFile>,
}

/// A host's certificate as it was found in a file: of its form and for this host's key and lattice, and signed by one
/// of [`ClusterSettings::issuers`]. At the start of the host it may have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// What a member shows: its certificate, and that of its issuer if a host is that.
    pub chain: Vec<String>,
}

/// The public key (`N…`) of the host whose data folder this is. Its key is made, as at a first start, where there is
/// none yet.
///
/// # Errors
/// [`Error::DataFolder`] where the folder can't be one of a host, [`Error::Key`] where the key in it can't be read.
pub fn host_public_key(data_dir: &Path) -> Result<String, Error> {
    // A running host holds the folder's lock, and its key can be told nevertheless.
    let key = match read_host_key(data_dir)? {
        Some(key) => key,
        None => DataFolder::open(data_dir)?.host_key()?,
    };
    Ok(key.public_key())
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
