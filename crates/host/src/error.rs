//! What can go wrong with a host, and with what it is told to run.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A host can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder can't be used: in use, not writable, full, or written by a newer version.
    #[error("the data folder {path} can't be used: {reason}")]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A key in the settings or the data folder is damaged or of the wrong kind.
    #[error("{what} is not usable: {reason}")]
    Key {
        /// Which key.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name in the settings can't be part of a subject.
    #[error(transparent)]
    Name(#[from] wattle_protocol::Error),
    /// The engine can't run here.
    #[error(transparent)]
    Runtime(#[from] wattle_runtime::RuntimeError),
    /// The folder for artifacts can't be used.
    #[error(transparent)]
    Artifact(#[from] wattle_artifact::Error),
    /// NATS refused this host, or its subscriptions.
    #[error(transparent)]
    Lattice(#[from] wattle_lattice::Error),
    /// The server does not let this host listen to a control subject.
    #[error("can't subscribe to {subject}: {reason}; the credentials must allow it")]
    Subscribe {
        /// The subject.
        subject: String,
        /// The client's word for it.
        reason: String,
    },
    /// A label that describes the machine is in the settings.
    #[error("label {key} can't be set: labels that begin with hostcore. describe the machine")]
    BuiltInLabel {
        /// The label's key.
        key: String,
    },
    /// Another host with the same key answers on this lattice.
    #[error(
        "a host with the key {id} already runs on lattice {lattice}; stop that one, or give this one a seed and a data \
         folder of its own"
    )]
    SameKey {
        /// The key that both have.
        id: String,
        /// The lattice.
        lattice: String,
    },
    /// The admin address can't be listened on.
    #[error(
        "the admin address {address} can't be listened on: {reason}; choose another with --admin-address"
    )]
    AdminAddress {
        /// The address.
        address: SocketAddr,
        /// The system's word for it.
        reason: std::io::Error,
    },
}

/// Something that the host was told to run is refused, or can't run. Its text is what the failure's event says.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The id can't be part of a subject.
    #[error(transparent)]
    Name(#[from] wattle_protocol::Error),
    /// The reference is malformed, or the artifact can't be had.
    #[error(transparent)]
    Artifact(#[from] wattle_artifact::Error),
    /// The reference names something of another kind.
    #[error("{reference} can't be started as a {wanted}: {reason}")]
    WrongKind {
        /// The reference as given.
        reference: String,
        /// "component" or "provider".
        wanted: &'static str,
        /// Why not.
        reason: String,
    },
    /// The signature is broken, out of date, or not for these bytes.
    #[error("{reference} is refused: {reason}")]
    Claims {
        /// The reference as given.
        reference: String,
        /// What the check says.
        reason: wattle_identity::Error,
    },
    /// Nobody signed it.
    #[error(
        "{reference} is not signed, and this host runs only signed artifacts from registries; \
         sign it with `wattle claims sign`, or start the host with --allow-unsigned"
    )]
    Unsigned {
        /// The reference as given.
        reference: String,
    },
    /// It is signed by somebody that this host does not trust.
    #[error(
        "{reference} is signed by {issuer}, whom this host does not trust; \
         start the host with --trusted-issuer {issuer} if it should"
    )]
    UntrustedIssuer {
        /// The reference as given.
        reference: String,
        /// The account that signed it.
        issuer: String,
        /// The key of what it signed.
        subject: String,
    },
    /// It is no component, a damaged one, or one whose imports nothing provides.
    #[error("{reference} can't run: {reason}")]
    Load {
        /// The reference as given.
        reference: String,
        /// The component's key, where it is signed.
        subject: Option<String>,
        /// Why not.
        reason: wattle_runtime::LoadError,
    },
    /// A named config is not there.
    #[error("config {name} does not exist; put it with `wattle config put {name} key=value`")]
    NoConfig {
        /// The config's name.
        name: String,
    },
    /// A named config is a reference to a secret.
    #[error("config {name} refers to a secret, and this host has no secrets backend")]
    Secret {
        /// The config's name.
        name: String,
    },
    /// A limit in the command can't be read.
    #[error("limit {name} has the value {value}, which is not a whole number above 0")]
    Limit {
        /// `max_memory_limit` or `max_execution_time`.
        name: String,
        /// The value as given.
        value: String,
    },
    /// There is no built-in provider of that name.
    #[error("there is no built-in provider {name}; this host has: {known}")]
    NoBuiltin {
        /// The name as given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A provider program in the archive is sound, but speaks calls that wattle does not.
    #[error(
        "{reference} is a sound provider archive ({name}), but its program speaks the unsealed calls of wasmCloud 1.x, \
         which wattle does not speak yet"
    )]
    ForeignProvider {
        /// The reference as given.
        reference: String,
        /// The provider's name in its claims.
        name: String,
    },
    /// The provider refused its configuration.
    #[error(transparent)]
    Provider(#[from] wattle_provider::ProviderError),
    /// A provider with the id runs already.
    #[error("provider {id} already runs from {reference}; stop it first")]
    ProviderRuns {
        /// Its id.
        id: String,
        /// Where it was started from.
        reference: String,
    },
    /// A local file is not what it was when this host was told to run it.
    #[error(
        "{reference} has changed since it was started ({was} then, {is} now); start it again if that is meant"
    )]
    Changed {
        /// The reference as given.
        reference: String,
        /// Its digest when it was started.
        was: String,
        /// Its digest now.
        is: String,
    },
    /// The host is stopping.
    #[error("the host is stopping and starts nothing more")]
    Stopping,
}

impl StartError {
    /// The key of the component that failed, where it was signed and the signature is sound.
    pub(crate) fn public_key(&self) -> Option<String> {
        match self {
            Self::UntrustedIssuer { subject, .. } => Some(subject.clone()),
            Self::Load { subject, .. } => subject.clone(),
            _ => None,
        }
    }
}
