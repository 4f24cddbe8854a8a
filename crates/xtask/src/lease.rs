//! One target folder, several checkouts of the repository, one at a time.
//!
//! A fresh clone builds into the same target folder as the one before, so that it finds the dependencies compiled. But
//! cargo takes the workspace's own crates of two checkouts for the same, and what was built later than a file was
//! changed for up to date, even if it was built from the other checkout's file. So whoever finds another checkout's
//! builds there removes them (those of the workspace's own crates, nothing else), and also leaves none behind. Whoever
//! finds another at work there waits.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::Layout;
use crate::process;

/// While it lives, the workspace's own crates in the target folder are those of this checkout.
pub(crate) struct Lease<'a> {
    layout: &'a Layout,
    /// The workspace that is built.
    manifest: PathBuf,
    target: PathBuf,
    /// The checkout that the folder goes back to.
    before: Option<PathBuf>,
    /// Locked; says who holds it. Closed last, after the folder was given back.
    _lock: File,
}

impl<'a> Lease<'a> {
    pub(crate) fn take(layout: &'a Layout, manifest: &Path, target: &Path) -> Result<Self> {
        std::fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
        let lock = lock(target, &layout.root)
            .with_context(|| format!("cannot lock {}", target.join(LOCK).display()))?;
        let (manifest, target) = (manifest.to_path_buf(), target.to_path_buf());
        let mut lease = Self { layout, manifest, target, before: None, _lock: lock };
        let before = std::fs::read_to_string(lease.record()).ok().map(PathBuf::from);
        if let Some(other) = before.filter(|before| *before != layout.root) {
            eprintln!(
                "    {} was last used by {}: removing its builds",
                lease.target.display(),
                other.display()
            );
            lease.clean()?;
            lease.before = Some(other).filter(|other| other.is_dir());
        }
        lease.write(&layout.root)?;
        Ok(lease)
    }

    fn record(&self) -> PathBuf {
        self.target.join(".checkout")
    }

    fn write(&self, checkout: &Path) -> Result<()> {
        let record = self.record();
        std::fs::write(&record, checkout.as_os_str().as_encoded_bytes())
            .with_context(|| format!("cannot write {}", record.display()))
    }

    fn clean(&self) -> Result<()> {
        let mut command: Command = self.layout.cargo();
        command.args(["clean", "--quiet", "--workspace", "--manifest-path"]).arg(&self.manifest);
        process::run(command.arg("--target-dir").arg(&self.target))
    }
}

/// The file in the target folder that is locked while a lease lives.
const LOCK: &str = ".lease";

/// Locks the target folder, after whoever has it now, and leaves there who did.
fn lock(target: &Path, checkout: &Path) -> std::io::Result<File> {
    let path = target.join(LOCK);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            eprintln!("    waiting for {}, which works in {}", holder.trim(), target.display());
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {} of {}", std::process::id(), checkout.display())?;
    Ok(file)
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(before) = self.before.take() else { return };
        if let Err(error) = self.clean().and_then(|()| self.write(&before)) {
            eprintln!(
                "warning: {} still holds builds of {}: {error:#}",
                self.target.display(),
                self.layout.root.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with one program that prints `word`, its source as old as `age` says.
    fn checkout(folder: &Path, word: &str) -> Layout {
        let source = folder.join("src");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"word\"\nedition = \"2024\"\n[workspace]\n",
        )
        .unwrap();
        std::fs::write(source.join("main.rs"), format!("fn main() {{ print!(\"{word}\") }}")).unwrap();
        Layout {
            root: folder.to_path_buf(),
            cache: folder.to_path_buf(),
            target: folder.parent().unwrap().join("target"),
        }
    }

    fn word(layout: &Layout) -> String {
        process::read(layout.cargo().args(["run", "--quiet"])).unwrap()
    }

    fn lease(layout: &Layout) -> Lease<'_> {
        Lease::take(layout, &layout.root.join("Cargo.toml"), &layout.target).unwrap()
    }

    #[test]
    fn a_checkout_never_gets_what_another_one_built() {
        let folder = tempfile::tempdir().unwrap();
        let mine = checkout(&folder.path().join("mine"), "mine");
        let other = checkout(&folder.path().join("other"), "other");
        drop(lease(&mine));
        {
            let _lease = lease(&other);
            assert_eq!(word(&other), "other");
        }
        // My source is older than what the other checkout built: without the lease, cargo would run that.
        assert_eq!(word(&mine), "mine");
        assert_eq!(
            std::fs::read_to_string(mine.target.join(".checkout")).unwrap(),
            mine.root.to_str().unwrap()
        );
    }

    #[test]
    fn a_second_checkout_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let mine = checkout(&folder.path().join("mine"), "mine");
        let other = checkout(&folder.path().join("other"), "other");
        let held = lease(&mine);
        let holder = std::fs::read_to_string(mine.target.join(LOCK)).unwrap();
        let expected = format!("process {} of {}\n", std::process::id(), mine.root.display());
        assert_eq!(holder, expected);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lease = lease(&other);
                word(&other)
            });
            assert_eq!(word(&mine), "mine");
            let record = std::fs::read_to_string(mine.target.join(".checkout")).unwrap();
            assert_eq!(record, mine.root.to_str().unwrap(), "the other one did not wait");
            drop(held);
            assert_eq!(second.join().unwrap(), "other");
        });
        assert_eq!(word(&mine), "mine");
    }

    #[test]
    fn a_checkout_that_is_gone_gets_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let gone = checkout(&folder.path().join("gone"), "gone");
        drop(lease(&gone));
        assert_eq!(word(&gone), "gone");
        let mine = checkout(&folder.path().join("mine"), "mine");
        std::fs::remove_dir_all(&gone.root).unwrap();
        drop(lease(&mine));
        assert_eq!(word(&mine), "mine");
        assert_eq!(
            std::fs::read_to_string(mine.target.join(".checkout")).unwrap(),
            mine.root.to_str().unwrap()
        );
    }
}
