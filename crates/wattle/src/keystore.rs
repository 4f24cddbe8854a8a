//! The folder in which a person's keys lie: one file per key, named after it, readable by its owner only.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wattle_identity::keys::{KeyKind, KeyPair};
use zeroize::Zeroizing;

use crate::failure::{not_found, usage};
use crate::folders;
use crate::settings::Variables;

/// The account that signs when no other is named.
pub(crate) const DEFAULT_ACCOUNT: &str = "default-account";

const EXTENSION: &str = "nk";

/// The folder of keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyStore {
    folder: PathBuf,
}

impl KeyStore {
    /// `$WATTLE_KEYS`, else `wattle/keys` in the user's config folder. It is made when the first key is stored.
    ///
    /// # Errors
    /// When neither that variable nor the home folder is known.
    pub(crate) fn of(variables: &Variables) -> anyhow::Result<Self> {
        let folder = match variables.path("WATTLE_KEYS") {
            Some(folder) => folder,
            None => folders::config(variables)?.join("keys"),
        };
        Ok(Self { folder })
    }

    /// The names of all keys, sorted.
    ///
    /// # Errors
    /// When the folder is there but can't be read.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the key folder {}", self.folder.display()));
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry
                .with_context(|| format!("cannot read the key folder {}", self.folder.display()))?
                .path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(name), true) =
                (name, path.extension().is_some_and(|extension| extension == EXTENSION))
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The file of a key.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    /// The key of a name; `None` when there is none.
    ///
    /// # Errors
    /// When the name can't be one, or the file can't be read or holds no seed.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Option<KeyPair>> {
        check_name(name)?;
        let path = self.path(name);
        if !path.try_exists().with_context(|| format!("cannot look for the key {}", path.display()))? {
            return Ok(None);
        }
        read_seed(&path).map(Some)
    }

    /// The key of a name.
    ///
    /// # Errors
    /// As [`KeyStore::find`], and when there is none.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<KeyPair> {
        self.find(name)?.ok_or_else(|| {
            not_found(format!(
                "no key is named `{name}` in {}: `wattle keys list` shows them",
                self.folder.display()
            ))
        })
    }

    /// Stores a key under a new name.
    ///
    /// # Errors
    /// When the name can't be one or is taken, or the file can't be written.
    pub(crate) fn store(&self, name: &str, key: &KeyPair) -> anyhow::Result<PathBuf> {
        check_name(name)?;
        let path = self.path(name);
        let cannot = || format!("cannot store the key {}", path.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).with_context(cannot)?;
        if path.exists() {
            bail!("a key named `{name}` exists already: {} is left as it is", path.display());
        }
        write_seed(&path, key).map(|()| path)
    }

    /// The key of a name, made and stored where there is none; and whether it was made.
    ///
    /// # Errors
    /// As [`KeyStore::find`] and [`KeyStore::store`], and when the key is of another kind.
    pub(crate) fn get_or_make(&self, name: &str, kind: KeyKind) -> anyhow::Result<(KeyPair, bool)> {
        if let Some(key) = self.find(name)? {
            return of_kind(key, kind, name).map(|key| (key, false));
        }
        let key = KeyPair::generate(kind)?;
        self.store(name, &key)?;
        Ok((key, true))
    }

    /// A key that a person named: by its name here, or by the file that holds its seed.
    ///
    /// # Errors
    /// When there is none, or it is of another kind.
    pub(crate) fn named_or_in_file(&self, name: &str, kind: KeyKind) -> anyhow::Result<KeyPair> {
        of_kind(self.of_any_kind(name)?, kind, name)
    }

    /// A key of any kind that a person named, as in [`KeyStore::named_or_in_file`].
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn of_any_kind(&self, name: &str) -> anyhow::Result<KeyPair> {
        if KeyPair::from_seed(name).is_ok() {
            let why =
                "a seed on the command line shows in the list of processes: name a key or a file instead";
            return Err(usage(why));
        }
        let path = Path::new(name);
        if path.is_file() { read_seed(path) } else { self.get(name) }
    }
}

/// Writes the seed of a key into a new file, readable by its owner only. A file that is there is left as it is.
///
/// # Errors
/// When there is such a file, or it can't be written.
pub(crate) fn write_seed(path: &Path, key: &KeyPair) -> anyhow::Result<()> {
    let cannot = || format!("cannot write the key {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A new file by that name appears whole or not at all, with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(key.seed().as_bytes()).and_then(|()| file.write_all(b"\n")).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} exists already and is left as it is", path.display())
        }
        Err(error) => Err(error.error).with_context(cannot),
    }
}

/// Reads the seed in a file.
///
/// # Errors
/// When the file can't be read or holds no seed.
pub(crate) fn read_seed(path: &Path) -> anyhow::Result<KeyPair> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    let text = Zeroizing::new(text);
    warn_if_others_can_read(path);
    KeyPair::from_seed(&text).with_context(|| format!("cannot use the key {}", path.display()))
}

fn warn_if_others_can_read(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let path = path.display();
        crate::output::note(format!("warning: other users may read the key {path}: chmod 600 {path}"));
    }
}

fn of_kind(key: KeyPair, kind: KeyKind, name: &str) -> anyhow::Result<KeyPair> {
    if key.kind() == kind {
        return Ok(key);
    }
    Err(usage(format!("the key `{name}` is a {} key: a {kind} key is needed here", key.kind())))
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(word) {
        return Ok(());
    }
    Err(usage(format!("`{name}` cannot be the name of a key: letters, digits, `_`, `-` and `.` are allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Exit, exit_of};

    fn store() -> (tempfile::TempDir, KeyStore) {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let store = KeyStore::of(&Variables::of(&[("WATTLE_KEYS", keys.to_str().unwrap())])).unwrap();
        (folder, store)
    }

    #[test]
    fn a_key_is_made_once_and_private() {
        let (_folder, store) = store();
        assert_eq!(store.names().unwrap(), Vec::<String>::new());
        let (first, made) = store.get_or_make(DEFAULT_ACCOUNT, KeyKind::Account).unwrap();
        assert!(made);
        let (second, made) = store.get_or_make(DEFAULT_ACCOUNT, KeyKind::Account).unwrap();
        assert!(!made);
        assert_eq!(first.public_key(), second.public_key());
        assert_eq!(store.names().unwrap(), [DEFAULT_ACCOUNT]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.path(DEFAULT_ACCOUNT)), 0o600);
        assert_eq!(mode(&store.folder), 0o700);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_folder, store) = store();
        let key = KeyPair::generate(KeyKind::Account).unwrap();
        store.store("mine", &key).unwrap();
        let error = store.store("mine", &KeyPair::generate(KeyKind::Account).unwrap()).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(store.get("mine").unwrap().public_key(), key.public_key());
    }

    #[test]
    fn a_missing_key_a_wrong_kind_and_a_wrong_name_are_told_apart() {
        let (_folder, store) = store();
        assert_eq!(exit_of(&store.get("nobody").unwrap_err()), Exit::NotFound);
        store.store("mine", &KeyPair::generate(KeyKind::Cluster).unwrap()).unwrap();
        let error = store.named_or_in_file("mine", KeyKind::Account).unwrap_err();
        assert!(error.to_string().contains("cluster"), "{error}");
        for name in ["", "../x", ".hidden", "a b"] {
            assert_eq!(exit_of(&store.find(name).unwrap_err()), Exit::Usage, "{name}");
        }
        let seed = KeyPair::generate(KeyKind::Account).unwrap().seed();
        let error = store.named_or_in_file(&seed, KeyKind::Account).unwrap_err().to_string();
        assert!(!error.contains(seed.as_str()));
    }
}
