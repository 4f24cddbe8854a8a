//! Fetching artifacts, with the cache on disk.
//!
//! * A tag is looked up in its registry at every fetch, so a tag that was pushed anew is noticed; what it stands for is
//!   downloaded only if the cache does not hold it.
//! * A reference with a digest is served from the cache without asking the registry.
//! * While the registry is out of reach, a tag is served from the cache only if the caller gives the digest that it
//!   had before (`pinned_digest`): the cache alone never decides what a tag means.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tracing::warn;

use crate::{
    cache::{Cache, Content, Resolved},
    client::RegistryClient,
    digest,
    error::Error,
    flight::Flights,
    manifest::{self, ArtifactKind, Plan},
    reference::{OciReference, Reference},
    registries::Registries,
};

/// How far a download or upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being transferred.
    pub reference: Arc<str>,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Is told how far a transfer is. Called often, from the task that transfers: it must be quick.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How a store works.
#[derive(Clone)]
pub struct StoreOptions {
    /// The cache folder; created if missing, made private (mode 0700). Several processes may share it.
    pub cache_dir: PathBuf,
    /// Settings per registry.
    pub registries: Registries,
    /// Whether `file://` references may be fetched.
    pub allow_file_load: bool,
    /// Whether the tag `latest` may be fetched from any registry.
    pub allow_latest: bool,
    /// The largest artifact, in bytes.
    pub max_bytes: u64,
    /// How long a registry may be silent. A transfer that moves may take as long as it takes.
    pub timeout: Duration,
    /// Is told how far transfers are.
    pub progress: Option<ProgressFn>,
}

impl StoreOptions {
    /// 512 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 512 << 20;
    /// 30 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The defaults: the user's docker credentials, no local files, no `latest`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            registries: Registries::default(),
            allow_file_load: false,
            allow_latest: false,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            timeout: Self::DEFAULT_TIMEOUT,
            progress: None,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("cache_dir", &self.cache_dir)
            .field("registries", &self.registries)
            .field("allow_file_load", &self.allow_file_load)
            .field("allow_latest", &self.allow_latest)
            .field("max_bytes", &self.max_bytes)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where the bytes of an artifact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A local file.
    File,
    /// Its registry, now.
    Registry,
    /// The cache on disk.
    Cache,
}

/// An artifact's bytes and what they are known by.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The bytes. Of an artifact of several layers, the layers one after the other.
    pub bytes: Bytes,
    /// `sha256:…` of the bytes.
    pub digest: String,
    /// `sha256:…` of the manifest; none for a file, nor for bytes that the cache found by their own digest.
    pub manifest_digest: Option<String>,
    /// Where the bytes came from.
    pub origin: Origin,
}

/// Fetches and pushes artifacts. Clones are the same store.
#[derive(Clone)]
pub struct ArtifactStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: StoreOptions,
    cache: Cache,
    flights: Flights<(String, ArtifactKind), Artifact>,
}

impl fmt::Debug for ArtifactStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArtifactStore").field(&self.inner.options).finish()
    }
}

impl ArtifactStore {
    /// Opens the cache folder.
    ///
    /// # Errors
    /// [`Error::Cache`] when it can't be created or made private.
    pub fn new(options: StoreOptions) -> Result<Self, Error> {
        let cache = Cache::open(options.cache_dir.clone())?;
        Ok(Self { inner: Arc::new(Inner { options, cache, flights: Flights::default() }) })
    }

    /// The registries' settings, for merging credentials at run time.
    pub fn registries(&self) -> &Registries {
        &self.inner.options.registries
    }

    /// Fetches what the reference names, verified against every digest that is known of it.
    ///
    /// `pinned_digest` is the digest (of the bytes or of the manifest) that an earlier fetch of this reference had.
    /// It is used only if the registry is out of reach ([`Error::is_outage`]); then the cached bytes of that digest
    /// are returned and a warning is logged. It has no bearing on files.
    ///
    /// Of callers that ask for the same content at the same time, one downloads it for all.
    ///
    /// # Errors
    /// Any but those of pushes and archives; see [`Error`].
    pub async fn fetch(
        &self,
        reference: &Reference,
        kind: ArtifactKind,
        pinned_digest: Option<&str>,
    ) -> Result<Artifact, Error> {
        match reference {
            Reference::File(path) => self.fetch_file(path).await,
            Reference::Oci(reference) => self.fetch_oci(reference, kind, pinned_digest).await,
            Reference::Builtin(name) => Err(Error::Builtin { name: name.clone() }),
        }
    }

    async fn fetch_file(&self, path: &Path) -> Result<Artifact, Error> {
        let path = path.to_owned();
        if !self.inner.options.allow_file_load {
            return Err(Error::FileLoadDisabled { path });
        }
        let limit = self.inner.options.max_bytes;
        blocking(move || {
            let bytes = read_file(&path, limit)?;
            let digest = digest::of(&bytes);
            Ok(Artifact { bytes: bytes.into(), digest, manifest_digest: None, origin: Origin::File })
        })
        .await
    }

    async fn fetch_oci(
        &self,
        reference: &OciReference,
        kind: ArtifactKind,
        pinned: Option<&str>,
    ) -> Result<Artifact, Error> {
        if let Some(digest) = pinned.filter(|digest| digest::hex(digest).is_none()) {
            return Err(Error::InvalidDigest { digest: digest.to_owned() });
        }
        let options = &self.inner.options;
        let latest_allowed =
            || options.allow_latest || options.registries.settings_for(reference.registry()).allow_latest;
        if reference.is_latest() && !latest_allowed() {
            return Err(Error::LatestRefused { reference: reference.to_string() });
        }
        match (self.fetch_current(reference, kind).await, pinned) {
            (Err(outage), Some(digest)) if outage.is_outage() => {
                self.fetch_pinned(reference, kind, digest, outage).await
            }
            (result, _) => result,
        }
    }

    /// What the reference means now, by its own digest or by its registry's word.
    async fn fetch_current(&self, reference: &OciReference, kind: ArtifactKind) -> Result<Artifact, Error> {
        let mut client = None;
        let manifest_digest = match reference.digest() {
            Some(digest) => digest.to_owned(),
            None => {
                let asked = self.client(reference).await?;
                let digest = asked.manifest_digest(reference).await?;
                client = Some(asked);
                digest
            }
        };
        let place = format!("{}/{}", reference.registry(), reference.repository());
        let artifact = self
            .inner
            .flights
            .run((manifest_digest.clone(), kind), &place, async {
                if let Some(found) = self.cached(reference, kind, &manifest_digest).await? {
                    return Ok(found);
                }
                let client = match client {
                    Some(client) => client,
                    None => self.client(reference).await?,
                };
                self.download(&client, reference, kind, &manifest_digest).await
            })
            .await?;
        let record = Resolved {
            reference: reference.to_string(),
            manifest: manifest_digest,
            artifact: artifact.digest.clone(),
        };
        self.keep(move |cache| cache.remember(&record)).await;
        Ok(artifact)
    }

    async fn fetch_pinned(
        &self,
        reference: &OciReference,
        kind: ArtifactKind,
        pinned: &str,
        outage: Error,
    ) -> Result<Artifact, Error> {
        let found = match self.cached(reference, kind, pinned).await? {
            Some(by_manifest) => Some(by_manifest),
            None => self.cached_by_bytes(reference, kind, pinned).await?,
        };
        match found {
            Some(artifact) => {
                warn!(%reference, digest = pinned, %outage, "registry is out of reach; the cached bytes of the pinned digest are used");
                Ok(artifact)
            }
            None => {
                let (reference, digest) = (reference.to_string(), pinned.to_owned());
                Err(Error::NotCached { reference, digest, cause: Box::new(outage) })
            }
        }
    }

    /// The artifact of a manifest digest, if the cache holds all of it.
    async fn cached(
        &self,
        reference: &OciReference,
        kind: ArtifactKind,
        manifest_digest: &str,
    ) -> Result<Option<Artifact>, Error> {
        let (inner, reference, manifest_digest) =
            (Arc::clone(&self.inner), reference.to_string(), manifest_digest.to_owned());
        blocking(move || {
            let Some(bytes) = inner.cache.read(Content::Manifest, &manifest_digest) else { return Ok(None) };
            let plan = manifest::plan(&bytes, kind, &reference, inner.options.max_bytes)?;
            let layers: Option<Vec<Bytes>> =
                plan.layers.iter().map(|layer| inner.cache.read(Content::Layer, &layer.digest)).collect();
            Ok(layers.map(|layers| assemble(&plan, layers, manifest_digest, Origin::Cache)))
        })
        .await
    }

    /// The artifact of a digest of its bytes: a layer of that digest, or the layers that the reference last had.
    async fn cached_by_bytes(
        &self,
        reference: &OciReference,
        kind: ArtifactKind,
        digest: &str,
    ) -> Result<Option<Artifact>, Error> {
        let (inner, text, wanted) = (Arc::clone(&self.inner), reference.to_string(), digest.to_owned());
        let (layer, resolved) = blocking(move || {
            let layer = inner.cache.read(Content::Layer, &wanted);
            let resolved = inner.cache.resolved(&text).filter(|record| record.artifact == wanted);
            Ok((layer, resolved))
        })
        .await?;
        if let Some(record) = resolved
            && let Some(artifact) = self.cached(reference, kind, &record.manifest).await?
        {
            return Ok(Some(artifact));
        }
        let digest = digest.to_owned();
        Ok(layer.map(|bytes| Artifact { bytes, digest, manifest_digest: None, origin: Origin::Cache }))
    }

    async fn download(
        &self,
        client: &RegistryClient,
        reference: &OciReference,
        kind: ArtifactKind,
        manifest_digest: &str,
    ) -> Result<Artifact, Error> {
        let manifest = client.manifest(reference, manifest_digest).await?;
        let plan = manifest::plan(&manifest, kind, &reference.to_string(), self.inner.options.max_bytes)?;
        let mut meter = self.inner.meter(reference, plan.size);
        let mut layers = Vec::with_capacity(plan.layers.len());
        for layer in &plan.layers {
            let bytes = client.layer(reference, layer, |size| meter.advance(size)).await?;
            let (kept, digest) = (bytes.clone(), layer.digest.clone());
            self.keep(move |cache| cache.write(Content::Layer, &digest, &kept)).await;
            layers.push(bytes);
        }
        let (kept, digest) = (manifest, manifest_digest.to_owned());
        self.keep(move |cache| cache.write(Content::Manifest, &digest, &kept)).await;
        let digest = manifest_digest.to_owned();
        blocking(move || Ok(assemble(&plan, layers, digest, Origin::Registry))).await
    }

    /// Writes to the cache. That a verified download can't be kept (the disk is full) is no reason to withhold it.
    async fn keep(&self, write: impl FnOnce(&Cache) -> Result<(), Error> + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        if let Err(error) = blocking(move || write(&inner.cache)).await {
            warn!(%error, "artifact could not be kept in the cache; it will be fetched again");
        }
    }

    pub(crate) async fn client(&self, reference: &OciReference) -> Result<RegistryClient, Error> {
        let options = &self.inner.options;
        RegistryClient::new(&options.registries, reference.registry(), options.timeout).await
    }
}

impl Inner {
    pub(crate) fn meter(&self, reference: &OciReference, total: u64) -> Meter {
        let report = self.options.progress.clone();
        Meter { report, now: Progress { reference: reference.to_string().into(), done: 0, total } }
    }
}

/// Counts bytes and reports them.
pub(crate) struct Meter {
    report: Option<ProgressFn>,
    now: Progress,
}

impl Meter {
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.now.done += bytes;
        if let Some(report) = &self.report {
            report(self.now.clone());
        }
    }
}

fn assemble(plan: &Plan, mut layers: Vec<Bytes>, manifest_digest: String, origin: Origin) -> Artifact {
    let manifest_digest = Some(manifest_digest);
    match (plan.layers.as_slice(), layers.pop()) {
        // Verified already, by that digest.
        ([layer], Some(bytes)) => Artifact { bytes, digest: layer.digest.clone(), manifest_digest, origin },
        (_, last) => {
            let mut joined = BytesMut::new();
            layers.iter().chain(&last).for_each(|layer| joined.extend_from_slice(layer));
            let bytes = joined.freeze();
            let digest = digest::of(&bytes);
            Artifact { bytes, digest, manifest_digest, origin }
        }
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::File { path: path.to_owned(), cause: Arc::new(error) };
    // Asked before opening, because opening a pipe waits for whoever writes into it.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooBig { what: format!("file {}", path.display()), limit });
    }
    Ok(bytes)
}

/// Runs what reads, writes or hashes off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down; this future will not be polled again.
            Err(_) => std::future::pending().await,
        },
    }
}
