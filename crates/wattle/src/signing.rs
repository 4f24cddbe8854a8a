//! The keys that sign, and the times that claims hold: what `claims sign` and `par create` share.

use std::path::Path;

use clap::Args;
use wattle_identity::keys::{KeyKind, KeyPair};

use crate::clock::DAY;
use crate::context::Context;
use crate::failure::usage;
use crate::keystore::{DEFAULT_ACCOUNT, KeyStore};
use crate::output::note;

/// Who signs, for whom, for how long.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Signature")]
pub(crate) struct SigningFlags {
    /// The account key that signs: its name, or a file with its seed [default: default-account, made on first use]
    /// [environment: WATTLE_ISSUER_SEED, the seed itself]
    #[arg(long, value_name = "NAME|FILE")]
    issuer: Option<String>,
    /// The key that is signed for: its name, or a file with its seed [default: kept by the file's name, so that it
    /// stays the same] [environment: WATTLE_SUBJECT_SEED, the seed itself]
    #[arg(long, value_name = "NAME|FILE")]
    subject: Option<String>,
    /// The signature stops being valid in this many days [default: never]
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    /// The signature begins to be valid in this many days [default: now]
    #[arg(long, value_name = "DAYS")]
    not_before_in_days: Option<u32>,
}

impl SigningFlags {
    /// The account key that signs.
    ///
    /// # Errors
    /// When the key that was named is not there, can't be read or is of another kind.
    pub(crate) fn issuer(&self, context: &Context) -> anyhow::Result<KeyPair> {
        self.key(self.issuer.as_deref(), "WATTLE_ISSUER_SEED", KeyKind::Account, DEFAULT_ACCOUNT, context)
    }

    /// The key of what is signed, kept by the name of its file.
    ///
    /// # Errors
    /// As for [`SigningFlags::issuer`].
    pub(crate) fn subject(&self, kind: KeyKind, file: &Path, context: &Context) -> anyhow::Result<KeyPair> {
        let usual = format!("{}.{kind}", key_name(file));
        self.key(self.subject.as_deref(), "WATTLE_SUBJECT_SEED", kind, &usual, context)
    }

    fn key(
        &self,
        named: Option<&str>,
        variable: &str,
        kind: KeyKind,
        usual: &str,
        context: &Context,
    ) -> anyhow::Result<KeyPair> {
        if let Some(named) = named {
            return KeyStore::of(&context.variables)?.named_or_in_file(named, kind);
        }
        if let Some(seed) = context.variables.get(variable)? {
            let key = KeyPair::from_seed(seed)
                .map_err(|error| usage(format!("the environment variable {variable}: {error}")))?;
            if key.kind() != kind {
                return Err(usage(format!(
                    "the environment variable {variable} holds the seed of a {} key: a {kind} key is needed",
                    key.kind()
                )));
            }
            return Ok(key);
        }
        let store = KeyStore::of(&context.variables)?;
        let (key, made) = store.get_or_make(usual, kind)?;
        if made {
            note(format!(
                "made the {kind} key {} and keep it in {}",
                key.public_key(),
                store.path(usual).display()
            ));
        }
        Ok(key)
    }

    /// When the claims begin and stop to be valid.
    pub(crate) fn validity(&self, now: u64) -> (Option<u64>, Option<u64>) {
        let in_days = |days: Option<u32>| days.map(|days| now.saturating_add(u64::from(days) * DAY));
        (in_days(self.not_before_in_days), in_days(self.expires_in_days))
    }
}

/// A file's name without extension, in the letters of a key's name.
fn key_name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = stem.chars().map(plain).take(100).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_makes_a_key_name() {
        assert_eq!(key_name(Path::new("/x/http-hello.wasm")), "http-hello");
        assert_eq!(key_name(Path::new("a b.c.wasm")), "a-b-c");
        assert_eq!(key_name(Path::new("/")), "unnamed");
    }

    #[test]
    fn times_are_counted_from_now() {
        let flags = SigningFlags { expires_in_days: Some(2), ..SigningFlags::default() };
        assert_eq!(flags.validity(100), (None, Some(100 + 2 * DAY)));
    }
}
