//! What can go wrong between a member and its lattice.

use std::{path::PathBuf, time::Duration};

/// Why a lattice operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option of a connection makes no sense; trying again can't help.
    #[error("invalid option `{option}`: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The key, the certificates or the trust of a membership are not such that other members would accept it.
    #[error("not a member of the lattice: {0}")]
    Membership(#[from] wattle_seal::Error),
    /// A name does not fit on the lattice.
    #[error(transparent)]
    Name(#[from] wattle_protocol::Error),
    /// A file with credentials or certificates can't be used.
    #[error("failed to read `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A seed that was given directly is not one.
    #[error("the seed given for {what} is not valid: {reason}")]
    Seed {
        /// Which seed.
        what: &'static str,
        /// Why; never the seed itself.
        reason: String,
    },
    /// No NATS server answered.
    #[error("failed to connect to {url}: {reason}; check the address and that a NATS server listens there")]
    Unreachable {
        /// The server, or the last of several that were tried.
        url: String,
        /// Why.
        reason: String,
    },
    /// The NATS server refused the credentials, or wants some and got none.
    #[error("{url} refused the connection: {reason}; {auth}")]
    Unauthorized {
        /// The server.
        url: String,
        /// What it said.
        reason: String,
        /// What was used to authenticate, and what to check.
        auth: String,
    },
    /// The TLS handshake failed.
    #[error(
        "failed to make a TLS connection to {url}: {reason}; check the certificate authority and the host name"
    )]
    Tls {
        /// The server.
        url: String,
        /// Why.
        reason: String,
    },
    /// Waiting for a connection was given up because the program ends.
    #[error("connecting was given up")]
    Cancelled,
    /// The operation needs the NATS server, and the connection to it is lost at the moment.
    #[error("failed to {what}: not connected to NATS: {reason}; it is being reconnected")]
    Disconnected {
        /// What was tried.
        what: String,
        /// Why the connection is down.
        reason: String,
    },
    /// Something that should answer at once did not. Whether it took effect is unknown.
    #[error("failed to {what}: no answer within {after:?}")]
    Timeout {
        /// What was tried.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The NATS permissions of these credentials don't allow it.
    #[error("failed to {what}: not permitted: {reason}; extend the permissions of the NATS user")]
    Permission {
        /// What was tried.
        what: String,
        /// What the server said.
        reason: String,
    },
    /// The connected account has no JetStream, and no domain was named.
    #[error(
        "JetStream is not available at {url}; enable it for this account, or name the JetStream domain that holds the \
         lattice's state"
    )]
    JetStreamNotEnabled {
        /// The server.
        url: String,
    },
    /// No JetStream of the named domain can be reached.
    #[error(
        "JetStream domain `{domain}` is not reachable through {url}; check the domain's name and, behind a leaf node, \
         that its connection is up"
    )]
    DomainNotFound {
        /// The domain.
        domain: String,
        /// The server.
        url: String,
    },
    /// The bucket that a write goes to does not exist (yet).
    #[error("failed to write `{key}`: bucket `{bucket}` does not exist or is not reachable")]
    BucketMissing {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// A limit of the account or of the bucket stands in the way.
    #[error(
        "failed to {what}: {reason}; raise the limit of the account, or create the bucket beforehand with a size that \
         it allows"
    )]
    StreamLimit {
        /// What was tried.
        what: String,
        /// What the server said.
        reason: String,
    },
    /// Others changed the same entry again and again.
    #[error("failed to write `{key}`: others changed it {attempts} times in between; try again")]
    Conflict {
        /// The key.
        key: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A stored entry that has to be edited is not what it should be.
    #[error(
        "failed to edit `{key}`: what is stored there can't be read: {reason}; delete it or write it anew"
    )]
    Malformed {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// JetStream refused for another reason.
    #[error("failed to {what}: {reason}")]
    JetStream {
        /// What was tried.
        what: String,
        /// What the server said.
        reason: String,
    },
    /// No host took the request: there is none in the lattice, or none that serves such requests now.
    #[error(
        "failed to {what}: no host answered in lattice `{lattice}`; check that one runs and is in that lattice"
    )]
    NoHostAnswered {
        /// What was asked for.
        what: String,
        /// The lattice.
        lattice: String,
    },
    /// The host that a request is for is not in the lattice.
    #[error(
        "failed to {what}: host `{host}` is not in lattice `{lattice}`; check its ID, that it runs and is in that \
         lattice"
    )]
    HostAbsent {
        /// What was asked for.
        what: String,
        /// The host's id.
        host: String,
        /// The lattice.
        lattice: String,
    },
    /// A host answered and refused.
    #[error("failed to {what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What the host said.
        message: String,
    },
    /// A host answered something that is no reply of the control interface.
    #[error("failed to {what}: the answer can't be read: {reason}")]
    BadReply {
        /// What was asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// The message could not be made or handed to the server.
    #[error("failed to {what}: {reason}")]
    Message {
        /// What was tried.
        what: String,
        /// Why.
        reason: String,
    },
}
