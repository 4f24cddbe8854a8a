//! The cache on disk.
//!
//! ```text
//! manifests/sha256-<hex>   manifests, by their digest
//! blobs/sha256-<hex>       layers, by their digest
//! refs/<hex>.json          what a reference last resolved to, by the SHA-256 of its text
//! tmp/                     files being written
//! ```
//!
//! Everything under `manifests` and `blobs` is named by its own hash and hashed again at each read, so a file that
//! was half written, or damaged since, is noticed, removed and fetched again; and since a manifest holds the digests
//! of its layers, a manifest digest leads to verified bytes without trusting anything else in the folder.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{digest, error::Error};

/// A file in `tmp` lives for as long as its writing takes; what is older was left behind by a killed process.
const STALE: Duration = Duration::from_secs(3600);

/// What a content-addressed file holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Manifest,
    Layer,
}

/// What a reference resolved to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resolved {
    pub(crate) reference: String,
    /// Digest of the manifest.
    pub(crate) manifest: String,
    /// Digest of the artifact's bytes.
    pub(crate) artifact: String,
}

/// A cache folder. Several processes may share one. The methods block; the store calls them off the async threads.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the folder, creating what is missing, and makes it private (mode 0700).
    pub(crate) fn open(root: PathBuf) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::Cache { path: path.to_owned(), cause: Arc::new(error) };
        let folders = ["manifests", "blobs", "refs", "tmp"].map(|name| root.join(name));
        for folder in std::iter::once(&root).chain(&folders) {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            created.map_err(|error| failed(folder, error))?;
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(|error| failed(&root, error))?;
        let cache = Self { root };
        cache.sweep();
        Ok(cache)
    }

    /// The content with this digest, if the cache holds it undamaged.
    pub(crate) fn read(&self, content: Content, digest: &str) -> Option<Bytes> {
        let path = self.content_path(content, digest)?;
        let bytes = read_if_there(&path)?;
        let actual = digest::of(&bytes);
        if actual == digest {
            return Some(bytes.into());
        }
        warn!(file = %path.display(), actual, "cached file is damaged; it is removed and fetched again");
        remove(&path);
        None
    }

    /// Keeps content whose digest was verified.
    pub(crate) fn write(&self, content: Content, digest: &str, bytes: &[u8]) -> Result<(), Error> {
        match self.content_path(content, digest) {
            Some(path) => self.write_file(&path, bytes),
            None => Err(Error::InvalidDigest { digest: digest.to_owned() }),
        }
    }

    /// What the reference resolved to when it was last fetched.
    pub(crate) fn resolved(&self, reference: &str) -> Option<Resolved> {
        let path = self.reference_path(reference);
        let bytes = read_if_there(&path)?;
        match serde_json::from_slice::<Resolved>(&bytes) {
            Ok(record) if record.reference == reference => Some(record),
            _ => {
                warn!(file = %path.display(), "cached record is damaged; it is removed");
                remove(&path);
                None
            }
        }
    }

    /// Remembers what a reference resolved to.
    pub(crate) fn remember(&self, record: &Resolved) -> Result<(), Error> {
        if self.resolved(&record.reference).as_ref() == Some(record) {
            return Ok(());
        }
        let path = self.reference_path(&record.reference);
        let text = serde_json::to_vec(record)
            .map_err(|error| Error::Cache { path: path.clone(), cause: Arc::new(error.into()) })?;
        self.write_file(&path, &text)
    }

    fn content_path(&self, content: Content, digest: &str) -> Option<PathBuf> {
        let folder = match content {
            Content::Manifest => "manifests",
            Content::Layer => "blobs",
        };
        digest::hex(digest).map(|hex| self.root.join(folder).join(format!("sha256-{hex}")))
    }

    fn reference_path(&self, reference: &str) -> PathBuf {
        self.root.join("refs").join(format!("{}.json", digest::hex_of(reference.as_bytes())))
    }

    /// Writes beside, syncs, then renames: at every moment the path holds all of the bytes or nothing.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.root.join("tmp"))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            let folder = path.parent().unwrap_or(&self.root);
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| Error::Cache { path: path.to_owned(), cause: Arc::new(error) })
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else { return };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > STALE) {
                remove(&entry.path());
            }
        }
    }
}

fn read_if_there(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn!(file = %path.display(), %error, "cached file can't be read; going on without it");
            None
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(file = %path.display(), %error, "file in the cache can't be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        (folder, cache)
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let (_folder, cache) = cache();
        let digest = digest::of(b"layer");
        assert_eq!(cache.read(Content::Layer, &digest), None);
        cache.write(Content::Layer, &digest, b"layer").unwrap();
        assert_eq!(cache.read(Content::Layer, &digest).as_deref(), Some(b"layer".as_slice()));
        assert_eq!(cache.read(Content::Manifest, &digest), None);
        let mode = fs::metadata(&cache.root).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read_dir(cache.root.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn damaged_files_are_removed() {
        let (_folder, cache) = cache();
        let digest = digest::of(b"the whole layer");
        let path = cache.content_path(Content::Layer, &digest).unwrap();
        for damaged in [b"the whole lay".as_slice(), b"", b"THE WHOLE LAYER", b"the whole layer and more"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.read(Content::Layer, &digest), None);
            assert!(!path.exists());
        }
    }

    #[test]
    fn references_are_remembered() {
        let (_folder, cache) = cache();
        let record = |artifact: &str| Resolved {
            reference: "registry.example/a:1".to_owned(),
            manifest: digest::of(b"m"),
            artifact: digest::of(artifact.as_bytes()),
        };
        assert_eq!(cache.resolved("registry.example/a:1"), None);
        cache.remember(&record("old")).unwrap();
        cache.remember(&record("new")).unwrap();
        assert_eq!(cache.resolved("registry.example/a:1"), Some(record("new")));
        fs::write(cache.reference_path("registry.example/a:1"), b"{").unwrap();
        assert_eq!(cache.resolved("registry.example/a:1"), None);
    }

    #[test]
    fn only_old_temporary_files_are_swept() {
        let (_folder, cache) = cache();
        let (old, new) = (cache.root.join("tmp/old"), cache.root.join("tmp/new"));
        fs::write(&new, b"").unwrap();
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        let cache = Cache::open(cache.root).unwrap();
        assert!(!old.exists() && new.exists());
        drop(cache);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(file.path().join("cache")).unwrap_err();
        assert!(matches!(error, Error::Cache { .. }), "{error}");
    }
}
