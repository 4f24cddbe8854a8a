//! Compiled code on disk, by digest and engine.
//!
//! Loading compiled code trusts the file as one trusts a program, so the folder is private to this user, and each file
//! is checked against the checksum that was written beside it before it is mapped.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::RuntimeError;

/// A folder of compiled code for one build of the engine with one set of settings.
pub(crate) struct CodeCache {
    folder: PathBuf,
}

impl CodeCache {
    /// Opens `dir/HASH`, where the hash stands for everything that the compiled code depends on.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Self, RuntimeError> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let folder = dir.join(format!("{:016x}", hasher.finish()));
        let refused = |reason: String| RuntimeError::CacheFolder { path: folder.clone(), reason };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| refused(error.to_string()))?;
        for path in [dir, &folder] {
            let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
            if metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(refused(format!("{} belongs to another user", path.display())));
            }
            if metadata.mode() & 0o022 != 0 {
                return Err(refused(format!("others may write to {}; chmod 700 it", path.display())));
            }
        }
        sweep(dir, &folder);
        Ok(Self { folder })
    }

    /// The compiled form of `bytes`, which `digest` names: from disk, or compiled and then kept.
    pub(crate) fn load_or_compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        digest: &str,
    ) -> wasmtime::Result<Component> {
        let path = self.folder.join(format!("{}.cwasm", digest.replace(':', "-")));
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let component = Component::new(engine, bytes)?;
        if let Err(error) = component.serialize().and_then(|code| Ok(self.keep(&path, &code)?)) {
            tracing::warn!(path = %path.display(), %error, "compiled code can't be kept; it is compiled again next time");
        }
        Ok(component)
    }

    /// Writes the code and its checksum, each whole or not at all.
    fn keep(&self, path: &Path, code: &[u8]) -> std::io::Result<()> {
        self.write(path, code)?;
        self.write(&checksum_path(path), checksum(code).as_bytes())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// Removes what no engine of this build can use: code of other engines, and what an interrupted write left behind.
fn sweep(dir: &Path, current: &Path) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries(dir).filter(|entry| entry.path() != current) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "old compiled code stays");
        }
    }
    for entry in entries(current).filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".tmp")) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "a partial file stays");
        }
    }
}

/// The component in the file, unless it is missing, damaged or of another engine.
fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let code = std::fs::read(path).ok()?;
    let expected = std::fs::read_to_string(checksum_path(path)).unwrap_or_default();
    if checksum(&code) != expected {
        tracing::warn!(path = %path.display(), "damaged compiled code is thrown away and made again");
        return None;
    }
    drop(code);
    #[expect(unsafe_code, reason = "compiled code can only be loaded by trusting its file")]
    // SAFETY: the file was written by `keep` from the output of `Component::serialize` of an engine with the same
    // compatibility hash, into a folder that only this user can write to, and its bytes still have the checksum
    // that was written beside it. `keep` replaces files by renaming and never changes one in place, so the mapping
    // stays as it was checked.
    let loaded = unsafe { Component::deserialize_file(engine, path) };
    loaded
        .inspect_err(|error| tracing::warn!(path = %path.display(), error = %format!("{error:#}"), "compiled code is refused by the engine and made again"))
        .ok()
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn checksum(bytes: &[u8]) -> String {
    HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "(component)";

    fn cache() -> (tempfile::TempDir, Engine, CodeCache) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CodeCache::open(&dir.path().join("code"), &engine).unwrap();
        (dir, engine, cache)
    }

    #[test]
    fn what_was_compiled_once_is_loaded_from_disk() {
        let (_dir, engine, cache) = cache();
        let bytes = wat::parse_str(EMPTY).unwrap();
        cache.load_or_compile(&engine, &bytes, "sha256:1").unwrap();
        // Bytes that could never compile: so the answer comes from disk.
        assert!(cache.load_or_compile(&engine, b"not wasm", "sha256:1").is_ok());
        assert!(cache.load_or_compile(&engine, b"not wasm", "sha256:2").is_err());
    }

    #[test]
    fn damaged_code_is_made_again() {
        let (_dir, engine, cache) = cache();
        let bytes = wat::parse_str(EMPTY).unwrap();
        cache.load_or_compile(&engine, &bytes, "sha256:1").unwrap();
        let path = cache.folder.join("sha256-1.cwasm");
        let mut code = std::fs::read(&path).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        std::fs::write(&path, &code).unwrap();
        assert!(load(&engine, &path).is_none());
        cache.load_or_compile(&engine, &bytes, "sha256:1").unwrap();
        assert!(load(&engine, &path).is_some());
        std::fs::write(&path, &code[..middle]).unwrap();
        assert!(load(&engine, &path).is_none());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let code = dir.path().join("code");
        std::fs::create_dir(&code).unwrap();
        std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = CodeCache::open(&code, &Engine::default());
        assert!(matches!(refused, Err(RuntimeError::CacheFolder { .. })));
    }
}
