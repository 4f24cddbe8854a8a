//! Whether something has to be built again: a hash over what it is built from.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::component;

/// Differs whenever a file in one of the folders, the toolchain or the way to make a component does.
pub(super) fn fingerprint(folders: &[&Path], toolchain: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    toolchain.hash(&mut hasher);
    component::RECIPE.hash(&mut hasher);
    for (place, folder) in folders.iter().enumerate() {
        let mut files = BTreeMap::new();
        if folder.is_dir() {
            collect(folder, folder, &mut files)?;
        }
        (place, files).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Reads all files below a folder, by their path within `root`, but for what cargo leaves there.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            if path != root.join("target") {
                collect(root, &path, files)?;
            }
        } else {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf(), bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_that_matters_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let (guest, shared) = (folder.path().join("guest"), folder.path().join("shared"));
        std::fs::create_dir_all(guest.join("src")).unwrap();
        let source = guest.join("src").join("lib.rs");
        std::fs::write(&source, "one").unwrap();
        let now = |toolchain: &str| fingerprint(&[&guest, &shared], toolchain).unwrap();

        let mut seen = vec![now("1.95")];
        assert_eq!(seen, [now("1.95")]);
        seen.push(now("1.96"));
        std::fs::write(&source, "two").unwrap();
        seen.push(now("1.95"));
        std::fs::rename(&source, guest.join("src").join("main.rs")).unwrap();
        seen.push(now("1.95"));
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("world.wit"), "").unwrap();
        seen.push(now("1.95"));
        let last = now("1.95");
        std::fs::create_dir(guest.join("target")).unwrap();
        std::fs::write(guest.join("target").join("left-over"), "").unwrap();
        assert_eq!(last, now("1.95"));

        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }
}
