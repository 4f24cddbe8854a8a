//! What the lattice remembers: two JetStream key-value buckets, their keys and their values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{control::ClaimsEntry, lenient, link::Link};

/// Bucket of component specs (with links), claims and revocations.
#[must_use]
pub fn lattice_bucket(lattice: &str) -> String {
    format!("LATTICEDATA_{lattice}")
}

/// Bucket of named configs and secret references.
#[must_use]
pub fn config_bucket(lattice: &str) -> String {
    format!("CONFIGDATA_{lattice}")
}

/// Name of the stream behind a bucket.
#[must_use]
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// Key of a component's or provider's spec.
#[must_use]
pub fn component_key(id: &str) -> String {
    format!("COMPONENT_{id}")
}

/// Key of claims.
#[must_use]
pub fn claims_key(subject: &str) -> String {
    format!("CLAIMS_{subject}")
}

/// Key of the revocation that a cluster key signed.
#[must_use]
pub fn revocation_key(issuer: &str) -> String {
    format!("REVOCATION_{issuer}")
}

/// Whether a named config is a reference to a secret.
#[must_use]
pub fn is_secret_reference(config: &str) -> bool {
    config.starts_with("SECRET")
}

/// What a key of the lattice's bucket holds. Ids may have underscores of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatticeKey<'a> {
    /// The [`ComponentSpec`] of this id.
    Component(&'a str),
    /// The [`ClaimsRecord`] of this subject.
    Claims(&'a str),
    /// The revocation that this cluster key signed: the token itself, as text.
    Revocation(&'a str),
    /// A record from before wasmCloud 1.0, without meaning today.
    Legacy,
    /// Nothing that this protocol knows.
    Unknown,
}

impl<'a> LatticeKey<'a> {
    /// Reads a key.
    #[must_use]
    pub fn parse(key: &'a str) -> Self {
        match key.split_once('_') {
            Some(("COMPONENT", id)) if !id.is_empty() => Self::Component(id),
            Some(("CLAIMS", subject)) if !subject.is_empty() => Self::Claims(subject),
            Some(("REVOCATION", issuer)) if !issuer.is_empty() => Self::Revocation(issuer),
            Some(("LINKDEF" | "REFMAP", _)) => Self::Legacy,
            _ => Self::Unknown,
        }
    }
}

/// What the lattice knows of a component or provider id: the value of `COMPONENT_{id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// Reference with which it was first started; empty when only links were put so far.
    #[serde(default)]
    pub url: String,
    /// The links of which it is the source.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// Claims of a signed component or provider: the value of `CLAIMS_{subject}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClaimsRecord {
    /// Of a component; told from a provider's by its call alias.
    Component(ComponentClaims),
    /// Of a provider.
    Provider(ProviderClaims),
}

/// Stored claims of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentClaims {
    /// A short name, for display.
    pub call_alias: String,
    /// Public key of the issuing account.
    #[serde(alias = "iss")]
    pub issuer: String,
    /// Name of the component.
    pub name: String,
    /// Revision, a number as text.
    #[serde(alias = "rev")]
    pub revision: String,
    /// Public key of the component.
    #[serde(alias = "sub")]
    pub subject: String,
    /// Tags; also read from one string with commas.
    #[serde(default, deserialize_with = "lenient::tags")]
    pub tags: Vec<String>,
    /// Version, for people.
    pub version: String,
}

/// Stored claims of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderClaims {
    /// Public key of the issuing account.
    #[serde(alias = "iss")]
    pub issuer: String,
    /// Name of the provider.
    pub name: String,
    /// Revision, a number as text.
    #[serde(alias = "rev")]
    pub revision: String,
    /// Public key of the provider.
    #[serde(alias = "sub")]
    pub subject: String,
    /// Version, for people.
    pub version: String,
    /// JSON schema of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<String>,
}

impl ClaimsRecord {
    /// Public key of the component or provider; the suffix of the record's key must be the same.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Component(claims) => &claims.subject,
            Self::Provider(claims) => &claims.subject,
        }
    }

    /// The record as `claims.get` tells it: flat text, with the short and the long name of each field.
    #[must_use]
    pub fn entry(&self) -> ClaimsEntry {
        let (issuer, name, revision, subject, version) = match self {
            Self::Component(c) => (&c.issuer, &c.name, &c.revision, &c.subject, &c.version),
            Self::Provider(p) => (&p.issuer, &p.name, &p.revision, &p.subject, &p.version),
        };
        let mut entry: BTreeMap<String, String> = [
            ("iss", issuer),
            ("issuer", issuer),
            ("name", name),
            ("rev", revision),
            ("revision", revision),
            ("sub", subject),
            ("subject", subject),
            ("version", version),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
        match self {
            Self::Component(claims) => {
                entry.insert("call_alias".to_owned(), claims.call_alias.clone());
                entry.insert("tags".to_owned(), claims.tags.join(","));
            }
            Self::Provider(claims) => {
                entry.insert("config_schema".to_owned(), claims.config_schema.clone().unwrap_or_default());
            }
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    #[test]
    fn keys_are_split_at_the_first_underscore() {
        assert_eq!(LatticeKey::parse("COMPONENT_my_app-echo"), LatticeKey::Component("my_app-echo"));
        assert_eq!(LatticeKey::parse("CLAIMS_MABC"), LatticeKey::Claims("MABC"));
        assert_eq!(LatticeKey::parse("REVOCATION_CABC"), LatticeKey::Revocation("CABC"));
        assert_eq!(LatticeKey::parse("LINKDEF_0F"), LatticeKey::Legacy);
        assert_eq!(LatticeKey::parse("REFMAP_x"), LatticeKey::Legacy);
        for unknown in ["", "COMPONENT", "COMPONENT_", "REVOCATION_", "component_a", "OTHER_x"] {
            assert_eq!(LatticeKey::parse(unknown), LatticeKey::Unknown, "{unknown}");
        }
    }

    #[test]
    fn buckets_are_named_as_in_version_1() {
        assert_eq!(lattice_bucket("default"), "LATTICEDATA_default");
        assert_eq!(bucket_stream(&config_bucket("default")), "KV_CONFIGDATA_default");
        assert!(is_secret_reference("SECRET_db") && !is_secret_reference("db"));
    }

    #[test]
    fn a_spec_may_lack_its_links() {
        let spec: ComponentSpec = serde_json::from_value(json!({ "url": "reg/echo:1" })).unwrap();
        assert_eq!(spec, ComponentSpec { url: "reg/echo:1".to_owned(), links: Vec::new() });
        assert_eq!(
            serde_json::to_value(ComponentSpec::default()).unwrap(),
            json!({ "url": "", "links": [] })
        );
    }

    fn component() -> ComponentClaims {
        ComponentClaims {
            call_alias: "echo".to_owned(),
            issuer: "AX".to_owned(),
            name: "Echo".to_owned(),
            revision: "4".to_owned(),
            subject: "MX".to_owned(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            version: "1.0".to_owned(),
        }
    }

    #[test]
    fn component_claims_are_read_in_each_shape_and_written_in_one() {
        let expected = ClaimsRecord::Component(component());
        for tags in [json!(["a", "b"]), json!("a,b"), json!("a, b")] {
            let long = json!({ "call_alias": "echo", "issuer": "AX", "name": "Echo", "revision": "4",
                "subject": "MX", "tags": tags, "version": "1.0" });
            let short = json!({ "call_alias": "echo", "iss": "AX", "name": "Echo", "rev": "4", "sub": "MX",
                "tags": tags, "version": "1.0" });
            assert_eq!(serde_json::from_value::<ClaimsRecord>(long).unwrap(), expected);
            assert_eq!(serde_json::from_value::<ClaimsRecord>(short).unwrap(), expected);
        }
        assert_eq!(
            serde_json::to_value(&expected).unwrap(),
            json!({ "call_alias": "echo", "issuer": "AX", "name": "Echo", "revision": "4", "subject": "MX",
                "tags": ["a", "b"], "version": "1.0" })
        );
        assert_eq!(expected.subject(), "MX");
    }

    #[test]
    fn provider_claims_are_told_apart() {
        let json =
            json!({ "issuer": "AX", "name": "HTTP", "revision": "0", "subject": "VX", "version": "0.1" });
        let record: ClaimsRecord = serde_json::from_value(json.clone()).unwrap();
        assert!(matches!(record, ClaimsRecord::Provider(_)));
        assert_eq!(serde_json::to_value(&record).unwrap(), json);
        let keys: Vec<_> = record.entry().into_keys().collect();
        let expected =
            ["config_schema", "iss", "issuer", "name", "rev", "revision", "sub", "subject", "version"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn component_claims_are_told_with_both_names() {
        let entry = ClaimsRecord::Component(component()).entry();
        let json = json!({ "call_alias": "echo", "iss": "AX", "issuer": "AX", "name": "Echo", "rev": "4",
            "revision": "4", "sub": "MX", "subject": "MX", "tags": "a,b", "version": "1.0" });
        assert_eq!(serde_json::to_value(entry).unwrap(), json);
    }

    proptest! {
        #[test]
        fn ids_survive_their_keys(id in "[a-zA-Z0-9_-]{1,20}") {
            let (component, claims) = (component_key(&id), claims_key(&id));
            let revocation = revocation_key(&id);
            prop_assert_eq!(LatticeKey::parse(&revocation), LatticeKey::Revocation(&id));
            prop_assert_eq!(LatticeKey::parse(&component), LatticeKey::Component(&id));
            prop_assert_eq!(LatticeKey::parse(&claims), LatticeKey::Claims(&id));
        }

        #[test]
        fn claims_round_trip(name in any::<String>(), tags in vec(any::<String>(), 0..3), schema in any::<Option<String>>()) {
            let component = ClaimsRecord::Component(ComponentClaims { name: name.clone(), tags, ..component() });
            let provider = ClaimsRecord::Provider(ProviderClaims {
                name, config_schema: schema, ..ProviderClaims::default()
            });
            for record in [component, provider] {
                let json = serde_json::to_string(&record).unwrap();
                prop_assert_eq!(serde_json::from_str::<ClaimsRecord>(&json).unwrap(), record);
            }
        }
    }
}
