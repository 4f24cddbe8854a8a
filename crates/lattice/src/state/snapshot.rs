//! The lattice's state at one moment, and how entries of the buckets change it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wattle_protocol::state::{ClaimsRecord, ComponentSpec, LatticeKey, config_bucket, lattice_bucket};

/// A named config.
pub(super) type Config = BTreeMap<String, String>;

/// One of the two buckets of a lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Component specs, claims and revocations.
    Lattice,
    /// Named configs.
    Config,
}

impl Bucket {
    /// The bucket's name in a lattice.
    #[must_use]
    pub fn name(self, lattice: &str) -> String {
        match self {
            Self::Lattice => lattice_bucket(lattice),
            Self::Config => config_bucket(lattice),
        }
    }
}

/// A moment in the life of a bucket: every write gets a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// The bucket.
    pub bucket: Bucket,
    /// Sequence in the bucket's stream.
    pub sequence: u64,
}

/// How far a snapshot reaches in each bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revisions {
    /// In the bucket of specs, claims and revocations.
    pub lattice: u64,
    /// In the bucket of configs.
    pub config: u64,
}

impl Revisions {
    /// Whether everything up to this revision is in.
    #[must_use]
    pub fn includes(&self, revision: Revision) -> bool {
        match revision.bucket {
            Bucket::Lattice => self.lattice >= revision.sequence,
            Bucket::Config => self.config >= revision.sequence,
        }
    }
}

/// The lattice's state at one moment. It can be kept on disk, to go on with when the lattice can't be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Specs, with the links, by the id of their source.
    pub specs: BTreeMap<String, Arc<ComponentSpec>>,
    /// Claims by the public key of their component or provider.
    pub claims: BTreeMap<String, ClaimsRecord>,
    /// Named configs.
    pub configs: BTreeMap<String, Arc<BTreeMap<String, String>>>,
    /// Revocations of member certificates, as signed tokens that nobody has checked yet, by the cluster key under
    /// which they are stored.
    #[serde(default)]
    pub revocations: BTreeMap<String, Arc<str>>,
    /// How far the state reaches.
    #[serde(default)]
    pub revisions: Revisions,
    /// Entries that can't be read, as `bucket/key`, with the reason. The last readable value of such an entry stays in
    /// force.
    #[serde(default)]
    pub problems: BTreeMap<String, String>,
}

/// What an entry of a bucket means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Spec(String, Option<Arc<ComponentSpec>>),
    Claims(String, Option<ClaimsRecord>),
    Revocation(String, Option<Arc<str>>),
    Config(String, Option<Arc<Config>>),
    Unreadable(String),
    Ignored,
}

/// Reads an entry; without a value it was deleted.
pub(super) fn read_entry(bucket: Bucket, key: &str, value: Option<&[u8]>) -> Change {
    match bucket {
        Bucket::Config => decode(value)
            .map_or_else(Change::Unreadable, |config| Change::Config(key.to_owned(), config.map(Arc::new))),
        Bucket::Lattice => match LatticeKey::parse(key) {
            LatticeKey::Component(id) => decode(value)
                .map_or_else(Change::Unreadable, |spec| Change::Spec(id.to_owned(), spec.map(Arc::new))),
            LatticeKey::Claims(subject) => match decode::<ClaimsRecord>(value) {
                Ok(Some(claims)) if claims.subject() != subject => {
                    Change::Unreadable(format!("it holds the claims of `{}`", claims.subject()))
                }
                Ok(claims) => Change::Claims(subject.to_owned(), claims),
                Err(reason) => Change::Unreadable(reason),
            },
            LatticeKey::Revocation(issuer) => value
                .map(read_token)
                .transpose()
                .map_or_else(Change::Unreadable, |token| Change::Revocation(issuer.to_owned(), token)),
            LatticeKey::Legacy => Change::Ignored,
            LatticeKey::Unknown => {
                tracing::warn!(key, "the lattice's bucket has an entry of no known kind");
                Change::Ignored
            }
        },
    }
}

/// A signed token is believed by who knows its issuer; here it only has to look like one.
pub(super) fn read_token(value: &[u8]) -> Result<Arc<str>, String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(letter)) {
        return Ok(text.into());
    }
    Err("it is not a signed token: three parts in base64url with dots between".to_owned())
}

fn decode<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, String> {
    value.map(serde_json::from_slice).transpose().map_err(|error| error.to_string())
}

impl Snapshot {
    /// Takes in an entry of a bucket.
    pub(super) fn apply(&mut self, bucket: Bucket, lattice: &str, key: &str, value: Option<&[u8]>) {
        let place = format!("{}/{key}", bucket.name(lattice));
        let change = read_entry(bucket, key, value);
        if let Change::Unreadable(reason) = change {
            tracing::warn!(entry = place, %reason, "an entry of the lattice's state can't be read and is ignored");
            self.problems.insert(place, reason);
            return;
        }
        self.problems.remove(&place);
        match change {
            Change::Spec(id, spec) => set(&mut self.specs, id, spec),
            Change::Claims(subject, claims) => set(&mut self.claims, subject, claims),
            Change::Revocation(issuer, token) => set(&mut self.revocations, issuer, token),
            Change::Config(name, config) => set(&mut self.configs, name, config),
            Change::Unreadable(_) | Change::Ignored => {}
        }
    }

    /// Everything that comes from one bucket gives way to what `fresh` has of it.
    pub(super) fn replace(&mut self, bucket: Bucket, lattice: &str, fresh: Self) {
        match bucket {
            Bucket::Lattice => {
                (self.specs, self.claims) = (fresh.specs, fresh.claims);
                self.revocations = fresh.revocations;
            }
            Bucket::Config => self.configs = fresh.configs,
        }
        let prefix = format!("{}/", bucket.name(lattice));
        let of_bucket = |place: &String| place.starts_with(&prefix);
        self.problems.retain(|place, _| !of_bucket(place));
        self.problems.extend(fresh.problems.into_iter().filter(|(place, _)| of_bucket(place)));
    }

    pub(super) fn reach(&mut self, revision: Revision) {
        match revision.bucket {
            Bucket::Lattice => self.revisions.lattice = revision.sequence,
            Bucket::Config => self.revisions.config = revision.sequence,
        }
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, key: String, value: Option<T>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const SPEC: &[u8] = br#"{"url":"reg/a:1","links":[]}"#;

    fn applied(entries: &[(Bucket, &str, Option<&[u8]>)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (bucket, key, value) in entries {
            snapshot.apply(*bucket, "l", key, *value);
        }
        snapshot
    }

    #[test]
    fn entries_come_and_go() {
        let put = (Bucket::Lattice, "COMPONENT_a", Some(SPEC));
        let config = (Bucket::Config, "c", Some(&br#"{"k":"v"}"#[..]));
        let snapshot = applied(&[put, config]);
        assert_eq!(snapshot.specs["a"].url, "reg/a:1");
        assert_eq!(snapshot.configs["c"]["k"], "v");
        let gone =
            applied(&[put, config, (Bucket::Lattice, "COMPONENT_a", None), (Bucket::Config, "c", None)]);
        assert_eq!(gone, Snapshot::default());
    }

    #[test]
    fn unreadable_entries_are_listed_and_leave_the_last_good_value() {
        let put = (Bucket::Lattice, "COMPONENT_a", Some(SPEC));
        let bad = (Bucket::Lattice, "COMPONENT_a", Some(&b"{"[..]));
        let snapshot = applied(&[put, bad]);
        assert!(snapshot.specs.contains_key("a"));
        assert!(snapshot.problems.contains_key("LATTICEDATA_l/COMPONENT_a"));
        assert!(applied(&[put, bad, put]).problems.is_empty());
        let foreign = br#"{"issuer":"A","name":"n","revision":"1","subject":"MX","version":"1"}"#;
        let snapshot =
            applied(&[(Bucket::Lattice, "CLAIMS_MY", Some(foreign)), (Bucket::Config, "c", Some(b"[1]"))]);
        assert_eq!(snapshot.problems["LATTICEDATA_l/CLAIMS_MY"], "it holds the claims of `MX`");
        assert!(snapshot.problems.contains_key("CONFIGDATA_l/c"));
        assert!(snapshot.claims.is_empty() && snapshot.configs.is_empty());
    }

    #[test]
    fn revocations_are_kept_as_they_are_and_by_their_issuer() {
        let put = (Bucket::Lattice, "REVOCATION_CA", Some(&b"a.b-_.c"[..]));
        let other = (Bucket::Lattice, "REVOCATION_CB", Some(&b"d.e.f"[..]));
        let snapshot = applied(&[put, other, (Bucket::Lattice, "REVOCATION_CB", None)]);
        assert_eq!(snapshot.revocations, BTreeMap::from([("CA".to_owned(), "a.b-_.c".into())]));
        for bad in [&b""[..], b"a.b", b"a..c", b"a.b.c\n", b"a.b.c.d", b"\xff.b.c", b"{}"] {
            let snapshot = applied(&[put, (Bucket::Lattice, "REVOCATION_CA", Some(bad))]);
            assert!(snapshot.problems.contains_key("LATTICEDATA_l/REVOCATION_CA"), "{bad:?}");
            assert_eq!(&*snapshot.revocations["CA"], "a.b-_.c", "the last good one stays in force");
        }
        let mut snapshot = snapshot;
        snapshot.replace(Bucket::Lattice, "l", Snapshot::default());
        assert!(snapshot.revocations.is_empty());
    }

    #[test]
    fn a_snapshot_of_an_older_version_has_no_revocations() {
        let old = r#"{"specs":{},"claims":{},"configs":{}}"#;
        assert_eq!(serde_json::from_str::<Snapshot>(old).unwrap(), Snapshot::default());
    }

    #[test]
    fn old_and_unknown_keys_are_ignored() {
        let junk = Some(&b"junk"[..]);
        let entries = [(Bucket::Lattice, "LINKDEF_0F", junk), (Bucket::Lattice, "OTHER", junk)];
        assert_eq!(applied(&entries), Snapshot::default());
    }

    #[test]
    fn a_bucket_is_replaced_without_touching_the_other() {
        let mut snapshot = applied(&[
            (Bucket::Lattice, "COMPONENT_old", Some(SPEC)),
            (Bucket::Lattice, "COMPONENT_bad", Some(b"{")),
            (Bucket::Config, "c", Some(b"{}")),
            (Bucket::Config, "bad", Some(b"{")),
        ]);
        snapshot.replace(Bucket::Lattice, "l", applied(&[(Bucket::Lattice, "COMPONENT_new", Some(SPEC))]));
        assert_eq!(snapshot.specs.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(snapshot.problems.keys().collect::<Vec<_>>(), ["CONFIGDATA_l/bad"]);
        assert!(snapshot.configs.contains_key("c"));
    }

    #[test]
    fn revisions_are_compared_within_their_bucket() {
        let mut snapshot = Snapshot::default();
        snapshot.reach(Revision { bucket: Bucket::Config, sequence: 7 });
        assert!(snapshot.revisions.includes(Revision { bucket: Bucket::Config, sequence: 7 }));
        assert!(!snapshot.revisions.includes(Revision { bucket: Bucket::Config, sequence: 8 }));
        assert!(!snapshot.revisions.includes(Revision { bucket: Bucket::Lattice, sequence: 1 }));
    }

    fn any_entry() -> impl Strategy<Value = (Bucket, String, Option<Vec<u8>>)> {
        let value = prop_oneof![
            Just(None),
            Just(Some(SPEC.to_vec())),
            Just(Some(b"{}".to_vec())),
            Just(Some(br#"{"k":"v"}"#.to_vec())),
            Just(Some(b"a.b.c".to_vec())),
            vec(any::<u8>(), 0..8).prop_map(Some),
        ];
        let key = prop_oneof!["COMPONENT_[ab]", "CLAIMS_[ab]", "REVOCATION_[ab]", "[cd]", "LINKDEF_[ab]"];
        (prop_oneof![Just(Bucket::Lattice), Just(Bucket::Config)], key, value)
    }

    proptest! {
        /// What a live member holds is what one that loads only the last value of each key holds, unless there was an
        /// unreadable value in between.
        #[test]
        fn watching_and_loading_agree(entries in vec(any_entry(), 0..20)) {
            let mut live = Snapshot::default();
            let mut last = BTreeMap::new();
            for (bucket, key, value) in &entries {
                if matches!(read_entry(*bucket, key, value.as_deref()), Change::Unreadable(_)) {
                    continue;
                }
                live.apply(*bucket, "l", key, value.as_deref());
                last.insert((bucket.name("l"), key.clone()), (*bucket, value.clone()));
            }
            let mut loaded = Snapshot::default();
            for ((_, key), (bucket, value)) in &last {
                loaded.apply(*bucket, "l", key, value.as_deref());
            }
            prop_assert_eq!(live, loaded);
        }

        #[test]
        fn snapshots_survive_the_disk(entries in vec(any_entry(), 0..20)) {
            let mut snapshot = Snapshot::default();
            for (bucket, key, value) in &entries {
                snapshot.apply(*bucket, "l", key, value.as_deref());
            }
            let text = serde_json::to_vec(&snapshot).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Snapshot>(&text).unwrap(), snapshot);
        }
    }
}
