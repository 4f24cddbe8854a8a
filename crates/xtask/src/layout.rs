//! Where things are: the repository, and the folders outside of it that a fresh clone shares with the one before.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folders that the commands work in.
pub(crate) struct Layout {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// What was fetched and what may be lost: `wattle` in the user's cache folder.
    pub(crate) cache: PathBuf,
    /// Cargo's target folder of the workspace.
    pub(crate) target: PathBuf,
}

impl Layout {
    pub(crate) fn find() -> Result<Self> {
        let root = root()?;
        let cache = cache_folder(|name| std::env::var_os(name).map(PathBuf::from))?.join("wattle");
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) if !folder.is_empty() => root.join(folder),
            _ => cache.join("target"),
        };
        Ok(Self { root, cache, target })
    }

    /// Programs that setup fetched.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools").join("bin")
    }

    /// The components, as `NAME.wasm`.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Where the components are compiled: apart from the workspace, so that neither waits for the other's lock.
    pub(crate) fn guest_build(&self) -> PathBuf {
        self.target.join("guest-build")
    }

    /// The workspace of tests that use foreign tools.
    pub(crate) fn foreign_manifest(&self) -> PathBuf {
        self.root.join("tests").join("foreign").join("Cargo.toml")
    }

    /// The target folder of that workspace.
    pub(crate) fn foreign_target(&self) -> PathBuf {
        self.cache.join("foreign")
    }

    /// The `wattle` binary that [`Self::cargo`] builds.
    pub(crate) fn wattle(&self) -> PathBuf {
        self.target.join("debug").join("wattle")
    }

    /// The `wattle` binary of a release build.
    pub(crate) fn released_wattle(&self) -> PathBuf {
        self.target.join("release").join("wattle")
    }

    /// The cargo that runs this program, working on the repository and building into the shared target folder.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Asked from cargo at run time, not built in: clones that share a target folder may share this program.
fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: run this program as `cargo xtask`")?;
    let root = Path::new(&package).ancestors().nth(2).map(Path::to_path_buf);
    root.filter(|root| root.join("Cargo.toml").is_file()).with_context(|| {
        format!("{} is not in a crates folder of the repository", Path::new(&package).display())
    })
}

/// The user's cache folder, as the XDG base directory specification has it (relative paths are to be ignored).
fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = variable("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()) {
        return Ok(folder);
    }
    match variable("HOME").filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(".cache")),
        None => {
            bail!("there is no place to keep fetched tools: neither XDG_CACHE_HOME nor HOME names a folder")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(xdg: Option<&str>, home: Option<&str>) -> Result<PathBuf> {
        cache_folder(|name| if name == "HOME" { home } else { xdg }.map(PathBuf::from))
    }

    #[test]
    fn the_cache_folder_follows_the_xdg_specification() {
        assert_eq!(with(Some("/x"), Some("/home/a")).unwrap(), Path::new("/x"));
        assert_eq!(with(Some("x"), Some("/home/a")).unwrap(), Path::new("/home/a/.cache"));
        assert_eq!(with(None, Some("/home/a")).unwrap(), Path::new("/home/a/.cache"));
        assert!(with(None, None).is_err());
    }

    #[test]
    fn the_repository_is_found_from_cargos_environment() {
        assert!(root().unwrap().join("crates").join("xtask").is_dir());
    }
}
