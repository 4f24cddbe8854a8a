//! What claims say about a component and about a provider. Unknown fields are ignored on reading, so that newer tokens
//! can be read.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::Metadata;
use crate::keys::KeyKind;

/// What claims say about a component.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ComponentMetadata {
    /// Name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// SHA-256 of the component without its claims, in upper-case hexadecimal digits.
    pub hash: String,
    /// Free words.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Number that grows from one version to the next.
    #[serde(rename = "rev", default)]
    pub revision: Option<i32>,
    /// Version for people.
    #[serde(rename = "ver", default)]
    pub version: Option<String>,
    /// Short name; shown, and of no other effect.
    #[serde(default)]
    pub call_alias: Option<String>,
}

impl Metadata for ComponentMetadata {
    const SUBJECT: KeyKind = KeyKind::Component;
}

// By hand because of `prov`: the format has it in every component's claims, always false since providers are programs.
impl Serialize for ComponentMetadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ComponentMetadata", 7)?;
        if let Some(name) = &self.name {
            fields.serialize_field("name", name)?;
        }
        fields.serialize_field("hash", &self.hash)?;
        if let Some(tags) = &self.tags {
            fields.serialize_field("tags", tags)?;
        }
        if let Some(revision) = &self.revision {
            fields.serialize_field("rev", revision)?;
        }
        if let Some(version) = &self.version {
            fields.serialize_field("ver", version)?;
        }
        if let Some(call_alias) = &self.call_alias {
            fields.serialize_field("call_alias", call_alias)?;
        }
        fields.serialize_field("prov", &false)?;
        fields.end()
    }
}

/// What claims say about a capability provider.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProviderMetadata {
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it, for people.
    pub vendor: String,
    /// Number that grows from one version to the next.
    #[serde(rename = "rev", default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i32>,
    /// Version for people.
    #[serde(rename = "ver", default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of each program in upper-case hexadecimal digits, by target (`x86_64-linux`), and of the interface
    /// description under [`WORLD`](crate::provider::WORLD) where the archive has one.
    pub target_hashes: BTreeMap<String, String>,
    /// JSON schema of the configuration that the provider takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
}

impl Metadata for ProviderMetadata {
    const SUBJECT: KeyKind = KeyKind::Provider;
}
