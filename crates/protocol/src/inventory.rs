//! What runs on a host: the answer to `host.get.{host}`, which is also the data of its heartbeat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A host and everything that runs on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInventory {
    /// The components.
    #[serde(alias = "actors")]
    pub components: Vec<ComponentInventory>,
    /// The providers.
    pub providers: Vec<ProviderInventory>,
    /// The host's public key.
    pub host_id: String,
    /// A name for people.
    #[serde(default)]
    pub friendly_name: String,
    /// The host's labels, built-in ones included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Version of the host program; readers expect a semantic version.
    #[serde(default)]
    pub version: String,
    /// Time since the host started, for people.
    #[serde(default)]
    pub uptime_human: String,
    /// Seconds since the host started.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// New in wattle: what keeps the host from doing all it was told, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// New in wattle: a name that the host's process chose at its start, which tells two hosts with one key apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// A component in an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentInventory {
    /// Its id in the lattice.
    pub id: String,
    /// Reference as given in the command.
    pub image_ref: String,
    /// Name in its claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Annotations as given in the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Revision in its claims; 0 when it has none.
    #[serde(default)]
    pub revision: i32,
    /// Most calls that run at once.
    #[serde(default)]
    pub max_instances: u32,
    /// Limits as given in the command.
    #[serde(default)]
    pub limits: Option<BTreeMap<String, String>>,
    /// New in wattle: the named configs that it was started with, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<String>,
    /// New in wattle: digest of the bytes that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// New in wattle: `running`, or what it is about to do or unable to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// New in wattle: why it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A provider in an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderInventory {
    /// Its id in the lattice.
    pub id: String,
    /// Reference as given in the command, without `file://`: see [`crate::event::event_image_ref`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<String>,
    /// Name in its claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Revision in its claims; 0 when it has none.
    #[serde(default)]
    pub revision: i32,
    /// Annotations as given in the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// New in wattle: `running`, or what it is about to do or unable to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// New in wattle: why it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_inventory_without_news_has_exactly_the_fields_of_version_1() {
        let inventory = HostInventory {
            components: vec![ComponentInventory {
                id: "echo".to_owned(),
                image_ref: "file:///tmp/echo.wasm".to_owned(),
                annotations: Some(BTreeMap::new()),
                max_instances: 3,
                ..ComponentInventory::default()
            }],
            providers: vec![ProviderInventory { id: "http".to_owned(), ..ProviderInventory::default() }],
            host_id: "NX".to_owned(),
            version: "0.1.0".to_owned(),
            ..HostInventory::default()
        };
        let json = json!({
            "components": [{ "id": "echo", "image_ref": "file:///tmp/echo.wasm", "annotations": {}, "revision": 0,
                "max_instances": 3, "limits": null }],
            "providers": [{ "id": "http", "revision": 0 }],
            "host_id": "NX", "friendly_name": "", "labels": {}, "version": "0.1.0", "uptime_human": "",
            "uptime_seconds": 0
        });
        assert_eq!(serde_json::to_value(&inventory).unwrap(), json);
        assert_eq!(serde_json::from_value::<HostInventory>(json).unwrap(), inventory);
    }

    #[test]
    fn reads_the_old_name_of_components() {
        let json = json!({ "actors": [{ "id": "a", "image_ref": "r" }], "providers": [], "host_id": "NX" });
        assert_eq!(serde_json::from_value::<HostInventory>(json).unwrap().components.len(), 1);
    }
}
