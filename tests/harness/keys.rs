//! An account that signs components.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use wattle_identity::component::{self, SignOptions};
use wattle_identity::keys::{KeyKind, KeyPair};

/// An account's key and a component's, in memory and as files for the command line.
#[derive(Debug)]
pub struct Keys {
    folder: tempfile::TempDir,
    account: KeyPair,
    component: KeyPair,
}

impl Keys {
    /// Makes new keys.
    pub fn generate() -> Self {
        let folder = tempfile::Builder::new().prefix("wattle-keys-").tempdir().unwrap();
        let account = KeyPair::generate(KeyKind::Account).unwrap();
        let component = KeyPair::generate(KeyKind::Component).unwrap();
        write_seed(&folder.path().join("account.nk"), &account);
        write_seed(&folder.path().join("component.nk"), &component);
        Self { folder, account, component }
    }

    /// The account's public key (`A…`).
    pub fn public_key(&self) -> String {
        self.account.public_key()
    }

    /// A file with the account's seed, as `wattle claims sign --issuer` takes it.
    pub fn account_file(&self) -> PathBuf {
        self.folder.path().join("account.nk")
    }

    /// A file with the component's seed, as `wattle claims sign --subject` takes it.
    pub fn component_file(&self) -> PathBuf {
        self.folder.path().join("component.nk")
    }

    /// The component, signed, valid from now on for ever.
    pub fn sign(&self, component: &[u8]) -> Vec<u8> {
        sign_for(self, component, None, None)
    }

    /// The component, signed with claims that said something else before the last byte of its code changed.
    ///
    /// `from` is a text in the component and `to` one of the same length.
    pub fn sign_and_tamper(&self, component: &[u8], from: &str, to: &str) -> Vec<u8> {
        let mut signed = self.sign(component);
        let place = signed.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        signed[place..place + to.len()].copy_from_slice(to.as_bytes());
        signed
    }
}

/// The component, signed with claims that are valid in the given time only (seconds since the Unix epoch).
pub fn sign_for(keys: &Keys, component: &[u8], not_before: Option<u64>, expires: Option<u64>) -> Vec<u8> {
    let options =
        SignOptions { name: Some("test".to_owned()), not_before, expires, ..SignOptions::default() };
    component::sign(component, options, &keys.account, &keys.component, 1).unwrap()
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn write_seed(file: &Path, key: &KeyPair) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).unwrap();
    file.write_all(key.seed().as_bytes()).unwrap();
}
