//! The data folder: the host's key, its caches, what it was told to run, and the state it last knew.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wattle_identity::keys::{KeyKind, KeyPair};

use crate::admission::Pinned;
use crate::error::Error;

/// The layout that this version writes. A folder with a higher number is left alone.
const LAYOUT: u32 = 1;

const HOST_KEY: &str = "host.nk";
const RUNNING: &str = "running.json";
const STATE: &str = "state.json";

/// A host's folder, locked while this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Holds the lock; the system lets go of it when the process ends, however it ends.
    _lock: File,
}

/// What the host was told to run, so that it runs again after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningList {
    pub(crate) components: Vec<ComponentEntry>,
    pub(crate) providers: Vec<ProviderEntry>,
}

/// A component in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComponentEntry {
    pub(crate) id: String,
    pub(crate) reference: String,
    /// What the reference stood for: started again even where the tag moved or the registry is down.
    pub(crate) pinned: Pinned,
    pub(crate) count: u32,
    pub(crate) limits: Option<BTreeMap<String, String>>,
    pub(crate) config: Vec<String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A provider in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProviderEntry {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) config: Vec<String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The host key in a data folder, which need not be open; `None` before the first start.
pub(crate) fn read_host_key(folder: &Path) -> Result<Option<KeyPair>, Error> {
    let bad = |reason: String| Error::Key { what: describe_key(folder), reason };
    match std::fs::read_to_string(folder.join(HOST_KEY)).map(zeroize::Zeroizing::new) {
        Ok(seed) => KeyPair::from_seed(&seed).map(Some).map_err(|error| bad(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn describe_key(folder: &Path) -> String {
    format!("the host key in {}", folder.join(HOST_KEY).display())
}

impl DataFolder {
    /// Makes the folder if need be, locks it and checks that it can be written to.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let refused = |reason: String| Error::DataFolder { path: path.to_owned(), reason };
        let is_ours = path.join("layout").exists();
        // A lock alone is what a start leaves that failed for want of space.
        let foreign =
            |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != "lock");
        let is_used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.any(foreign));
        if is_used && !is_ours {
            let reason =
                "it holds files that are not a host's; name an empty or a new folder with --data-dir";
            return Err(refused(reason.into()));
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
            .map_err(|error| refused(error.to_string()))?;
        let lock = File::create(path.join("lock")).map_err(|error| refused(error.to_string()))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                refused("another host uses it; stop that one or choose another folder with --data-dir".into())
            }
            TryLockError::Error(error) => refused(format!("it can't be locked: {error}")),
        })?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.check_layout()?;
        Ok(folder)
    }

    fn check_layout(&self) -> Result<(), Error> {
        let refused = |reason: String| Error::DataFolder { path: self.path.clone(), reason };
        if let Ok(text) = std::fs::read_to_string(self.path.join("layout")) {
            let layout: u32 =
                text.trim().parse().map_err(|_| refused("its file `layout` is damaged".into()))?;
            if layout > LAYOUT {
                return Err(refused(format!(
                    "it was written by a newer version (layout {layout}, this version knows {LAYOUT}); \
                     use that version or choose another folder with --data-dir"
                )));
            }
        }
        // Written at each start, so that a full or read-only disk is found out now and not at the first command.
        self.write("layout", LAYOUT.to_string().as_bytes()).map_err(|error| refused(error.to_string()))
    }

    /// A folder inside, private to this user.
    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The host's own key, made at first start.
    pub(crate) fn host_key(&self) -> Result<KeyPair, Error> {
        if let Some(key) = read_host_key(&self.path)? {
            return Ok(key);
        }
        let key = KeyPair::generate(KeyKind::Host)
            .map_err(|error| Error::Key { what: describe_key(&self.path), reason: error.to_string() })?;
        self.write(HOST_KEY, key.seed().as_bytes()).map_err(|error| Error::DataFolder {
            path: self.path.clone(),
            reason: format!("the new host key can't be written: {error}"),
        })?;
        Ok(key)
    }

    /// What this host was told to run; empty at first start. A damaged list is an error, not an empty one.
    pub(crate) fn running(&self) -> Result<RunningList, Error> {
        self.read(RUNNING).map(Option::unwrap_or_default)
    }

    /// Writes down what this host was told to run.
    pub(crate) fn save_running(&self, list: &RunningList) -> std::io::Result<()> {
        self.write(RUNNING, &serde_json::to_vec_pretty(list)?)
    }

    /// The state as this host last knew it. A damaged copy is thrown away: the lattice has the original.
    pub(crate) fn last_state<T: DeserializeOwned>(&self) -> Option<T> {
        self.read(STATE)
            .inspect_err(|error| tracing::warn!(%error, "the copy of the lattice's state is thrown away"))
            .ok()?
    }

    /// Keeps a copy of the lattice's state.
    pub(crate) fn save_state<T: Serialize>(&self, state: &T) -> std::io::Result<()> {
        self.write(STATE, &serde_json::to_vec(state)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::DataFolder {
                    path: self.path.clone(),
                    reason: format!("{name}: {error}"),
                });
            }
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::DataFolder {
            path: self.path.clone(),
            reason: format!("{name} is damaged ({error}); remove it, or start with --fresh"),
        })
    }

    /// The file holds the old or the new content, never a part.
    fn write(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(self.path.join(name))?;
        // The new name itself must survive a loss of power.
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_the_list_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let list = RunningList {
            providers: vec![ProviderEntry {
                id: "http".into(),
                reference: "builtin://http-server".into(),
                config: vec![],
                annotations: BTreeMap::new(),
            }],
            components: vec![],
        };
        let first = DataFolder::open(dir.path()).unwrap();
        let key = first.host_key().unwrap().public_key();
        first.save_running(&list).unwrap();
        drop(first);
        let second = DataFolder::open(dir.path()).unwrap();
        assert_eq!(second.host_key().unwrap().public_key(), key);
        assert_eq!(second.running().unwrap(), list);
        let mode = std::fs::metadata(dir.path().join("host.nk")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_in_use_or_from_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataFolder::open(dir.path()).unwrap();
        let second = DataFolder::open(dir.path()).unwrap_err().to_string();
        assert!(second.contains("another host uses it"), "{second}");
        drop(first);
        std::fs::write(dir.path().join("layout"), "2").unwrap();
        let newer = DataFolder::open(dir.path()).unwrap_err().to_string();
        assert!(newer.contains("newer version"), "{newer}");
        assert_eq!(std::fs::read_to_string(dir.path().join("layout")).unwrap(), "2");
    }

    #[test]
    fn a_damaged_list_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join(RUNNING), "{").unwrap();
        assert!(folder.running().unwrap_err().to_string().contains("--fresh"));
        std::fs::write(dir.path().join(STATE), "{").unwrap();
        assert_eq!(folder.last_state::<RunningList>(), None);
    }
}
