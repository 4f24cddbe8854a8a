//! The crate's one error type.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use crate::manifest::ArtifactKind;

/// Why an artifact could not be fetched, pushed, read or written.
///
/// Cloneable, because everyone who waited for the same download gets the same answer. The message of an error holds
/// that of its cause, so there is no `source()` that would say it a second time.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The text is in none of the forms of a reference.
    #[error("invalid reference {reference:?}: {reason}")]
    InvalidReference {
        /// What was given (without credentials, should it have held any).
        reference: String,
        /// What is wrong with it, and the right form.
        reason: String,
    },
    /// The text looks like the path of a local file; files are only taken in the form `file:///absolute/path`.
    #[error("{reference:?} is a local path, not a reference: write file:// and the file's absolute path")]
    LocalPath {
        /// What was given.
        reference: String,
    },
    /// A digest is not `sha256:` and 64 hexadecimal digits.
    #[error("invalid digest {digest:?}: a digest is sha256: followed by 64 hexadecimal digits")]
    InvalidDigest {
        /// What was given.
        digest: String,
    },
    /// The reference says `latest`, or has no tag (which means the same), and that is not allowed for its registry.
    #[error(
        "{reference} means the tag `latest`, which names other bytes from day to day and is refused: name a \
         version or a digest, or allow it (--allow-latest, or `allow_latest` of this registry)"
    )]
    LatestRefused {
        /// The reference.
        reference: String,
    },
    /// A `file://` reference was given and local files are not allowed.
    #[error("file loading is disabled, {path} was not read: start with --allow-file-load to allow local files",
        path = path.display())]
    FileLoadDisabled {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// A local file can't be read.
    #[error("file {path} can't be read: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// A built-in provider was asked for where bytes are needed; it is part of the host and has none.
    #[error("builtin://{name} is part of the host and has no bytes to fetch")]
    Builtin {
        /// The built-in provider.
        name: String,
    },
    /// A key of the registries map is not a registry host.
    #[error(
        "invalid registry name {name:?}: give the host, with its port if it has one, as in registry.example:5000"
    )]
    InvalidRegistry {
        /// The name.
        name: String,
    },
    /// Credentials are incomplete.
    #[error("invalid registry credentials: {reason}")]
    InvalidCredentials {
        /// What is missing.
        reason: String,
    },
    /// No process-wide crypto provider for TLS is installed. The program's `main` has to do it.
    #[error(
        "no TLS crypto provider is installed in this process: its main function has to install rustls' ring one"
    )]
    NoTlsProvider,
    /// A CA file of the settings can't be used.
    #[error("CA file {path} can't be used: {reason}", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client can't be made, for example because the system has no CA certificates at all.
    #[error("no connection to registry {registry} can be set up: {reason}")]
    Client {
        /// The registry's host.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The registry can't be connected to, or the connection broke.
    #[error("registry {registry} can't be reached: {reason}")]
    Unreachable {
        /// The registry's host.
        registry: String,
        /// What the network said.
        reason: String,
    },
    /// The registry did not answer in time, or a transfer stood still for so long.
    #[error("registry {registry} timed out after {after:?} while {doing}")]
    Timeout {
        /// The registry's host.
        registry: String,
        /// What was being done, or waited for.
        doing: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The registry does not speak TLS.
    #[error(
        "registry {registry} does not speak TLS: if it really is a plain HTTP registry, start the host with \
         --allow-insecure {registry}, or set `insecure` of this registry in the config file"
    )]
    NotTls {
        /// The registry's host.
        registry: String,
    },
    /// The registry's certificate is not trusted.
    #[error(
        "certificate of registry {registry} is not trusted ({reason}): name its CA file (`ca` of this registry)"
    )]
    Certificate {
        /// The registry's host.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry answered 401 or 403: wrong password, expired token, no rights, or no credentials at all.
    #[error(
        "registry {registry} refused {login} for {reference}: check its credentials in the configuration or log in \
             with docker"
    )]
    Unauthorized {
        /// The registry's host.
        registry: String,
        /// What was asked for.
        reference: String,
        /// Who asked: a user name, "a token" or "an anonymous request"; never a secret.
        login: String,
    },
    /// The registry knows no such repository, tag, manifest or layer.
    #[error("{reference} does not exist in its registry: {reason}")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// What the registry said.
        reason: String,
    },
    /// What answers is not an OCI registry.
    #[error("{registry} is not an OCI registry: {reason}")]
    NotARegistry {
        /// The host.
        registry: String,
        /// What it answered.
        reason: String,
    },
    /// The registry is there but can't serve at the moment (a 5xx answer, or too many requests).
    #[error("registry {registry} can't serve the request now: {reason}")]
    Unavailable {
        /// The registry's host.
        registry: String,
        /// What it answered.
        reason: String,
    },
    /// The registry refused for another reason.
    #[error("registry {registry} refused {reference}: {reason}")]
    Refused {
        /// The registry's host.
        registry: String,
        /// What was asked for.
        reference: String,
        /// What it answered.
        reason: String,
    },
    /// The registry is out of reach, and the cache does not hold the pinned digest either.
    #[error("{cause}; and the cache does not hold {digest} of {reference}")]
    NotCached {
        /// What was asked for.
        reference: String,
        /// The pinned digest.
        digest: String,
        /// Why the registry could not be asked.
        cause: Box<Error>,
    },
    /// The registry sent other bytes than the digest promises.
    #[error(
        "{reference} does not match its digest: expected {expected}, got {actual}; nothing of it was used"
    )]
    DigestMismatch {
        /// What was asked for.
        reference: String,
        /// The promised digest.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// The manifest is of a form that can't be used: an index of several platforms, no layers, several layers of one
    /// component, digests other than SHA-256.
    #[error("manifest of {reference} can't be used: {reason}")]
    Manifest {
        /// What was asked for.
        reference: String,
        /// Why.
        reason: String,
    },
    /// The artifact is of another kind.
    #[error("{reference} is not a {kind}: its layer is of type {found:?}, accepted are {accepted}")]
    MediaType {
        /// What was asked for.
        reference: String,
        /// What it should have been.
        kind: ArtifactKind,
        /// Its layer's media type.
        found: String,
        /// The media types that this kind may have.
        accepted: String,
    },
    /// Something is larger than its limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooBig {
        /// What is too big.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The cache folder can't be created or written.
    #[error("cache {path} can't be used: {cause}", path = path.display())]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// A push was asked for that makes no sense: without a tag, to a digest, of nothing.
    #[error("{reference} can't be pushed: {reason}")]
    InvalidPush {
        /// Where it should have gone.
        reference: String,
        /// Why not.
        reason: String,
    },
    /// A provider archive can't be read or written.
    #[error("invalid provider archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Whether the registry itself gave no usable answer, so that the same request may succeed later and content that
    /// is pinned by its digest may be taken from the cache meanwhile. "No such tag" and "wrong password" are answers.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::NotTls { .. }
                | Self::Certificate { .. }
                | Self::NotARegistry { .. }
                | Self::Unavailable { .. }
        )
    }
}
