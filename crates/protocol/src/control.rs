//! Requests and replies of the control interface, version 1. All are JSON; unknown fields are ignored.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::link::default_link_name;

/// What every reply is wrapped in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T = Value> {
    /// Whether the request was accepted (for operations that run in the background) or done.
    pub success: bool,
    /// For people; empty when data is returned.
    #[serde(default)]
    pub message: String,
    /// The data; left out, never `null`, when there is none.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub response: Option<T>,
}

/// A reply without data.
pub type Ack = Envelope<Value>;

impl<T> Envelope<T> {
    /// Success without data.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), response: None }
    }

    /// Success with data.
    pub fn ok_with(response: T) -> Self {
        Self { success: true, message: String::new(), response: Some(response) }
    }

    /// Refusal or failure, with its reason.
    pub fn error(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), response: None }
    }
}

impl<T: Serialize> Envelope<T> {
    /// The bytes to reply with. Should the data not be expressible as JSON, a refusal that says so.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| {
            let refusal = Ack::error(format!("failed to encode the reply: {error}"));
            serde_json::to_vec(&refusal).unwrap_or_default()
        })
    }
}

/// `component.auction`: who would run this component?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentAuctionRequest {
    /// Reference of the image.
    #[serde(default)]
    pub component_ref: String,
    /// Id that the component would get. A host on which it runs makes no bid.
    pub component_id: String,
    /// Labels that the host must have, with exactly these values.
    pub constraints: BTreeMap<String, String>,
}

/// A host's bid in a component auction. A host that makes none stays silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentAuctionAck {
    /// As in the request.
    pub component_ref: String,
    /// As in the request.
    pub component_id: String,
    /// The bidder.
    pub host_id: String,
    /// As in the request.
    #[serde(default)]
    pub constraints: BTreeMap<String, String>,
}

/// `provider.auction`: who would run this provider?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderAuctionRequest {
    /// Reference of the archive.
    #[serde(default)]
    pub provider_ref: String,
    /// Id that the provider would get. A host on which it runs makes no bid.
    pub provider_id: String,
    /// Labels that the host must have, with exactly these values.
    pub constraints: BTreeMap<String, String>,
}

/// A host's bid in a provider auction. A host that makes none stays silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderAuctionAck {
    /// The bidder.
    pub host_id: String,
    /// As in the request.
    pub provider_ref: String,
    /// As in the request.
    pub provider_id: String,
    /// As in the request.
    #[serde(default)]
    pub constraints: BTreeMap<String, String>,
}

/// `component.scale.{host}`: start, scale, and stop with a count of 0. The reply only says that it was accepted;
/// `component_scaled` or `component_scale_failed` tells the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleComponent {
    /// Reference of the image.
    #[serde(default)]
    pub component_ref: String,
    /// Id of the component.
    pub component_id: String,
    /// Kept with the component and told in events and inventory, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Most calls that run at once. 0 stops the component.
    #[serde(default)]
    pub count: u32,
    /// `max_memory_limit` in bytes, `max_execution_time` in seconds. Unknown keys are ignored; a value that is no whole
    /// number above 0 makes the command fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_limits: Option<BTreeMap<String, String>>,
    /// The host meant; a host refuses a command that names another one. Empty for whoever receives it.
    #[serde(default)]
    pub host_id: String,
    /// Named configs, merged from left to right; the right one wins.
    #[serde(default)]
    pub config: Vec<String>,
    /// Whether a running component with another reference is to be updated.
    #[serde(default)]
    pub allow_update: bool,
}

/// `component.update.{host}`: replace a running component's code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateComponent {
    /// Id of the component.
    #[serde(default)]
    pub component_id: String,
    /// Replace those that the component has; none given leaves it without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The host meant.
    #[serde(default)]
    pub host_id: String,
    /// Reference of the new image.
    #[serde(default)]
    pub new_component_ref: String,
}

/// `provider.start.{host}`. The reply only says that it was accepted; `provider_started` or
/// `provider_start_failed` tells the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartProvider {
    /// Id that the provider gets.
    pub provider_id: String,
    /// Reference of the archive, or of a provider inside the host.
    #[serde(default)]
    pub provider_ref: String,
    /// The host meant.
    #[serde(default)]
    pub host_id: String,
    /// Named configs, merged from left to right; the right one wins.
    #[serde(default)]
    pub config: Vec<String>,
    /// Kept with the provider and told in events and inventory, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// `provider.stop.{host}`. Replied to when it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProvider {
    /// The host meant.
    #[serde(default)]
    pub host_id: String,
    /// Id of the provider.
    #[serde(alias = "provider_ref")]
    pub provider_id: String,
}

/// `host.stop.{host}`. The payload may also be empty, which is all defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopHost {
    /// The host meant; when not empty it must be the receiver.
    #[serde(default)]
    pub host_id: String,
    /// Longest time to stop in, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// New in wattle: also forget what the host was told to run, so that it starts empty next time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
}

/// `label.put.{host}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutLabel {
    /// Key of the label; `hostcore.*` is refused.
    pub key: String,
    /// Its new value.
    pub value: String,
}

/// `label.del.{host}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteLabel {
    /// Key of the label.
    pub key: String,
}

/// `link.del`: deletes every link with this key, whatever its interfaces and target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteLink {
    /// Id of the calling component or provider.
    pub source_id: String,
    /// WIT namespace.
    pub wit_namespace: String,
    /// WIT package.
    pub wit_package: String,
    /// Name of the link.
    #[serde(default = "default_link_name")]
    pub name: String,
}

/// One value of `registry.put`, whose keys are registries (`host` or `host:port`).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryCredential {
    /// User name for basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password for basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Bearer token; ignored where user name and password are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Kind of registry; only `oci` means anything.
    #[serde(default = "oci")]
    pub registry_type: String,
}

fn oci() -> String {
    "oci".to_owned()
}

impl fmt::Debug for RegistryCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("RegistryCredential")
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("registry_type", &self.registry_type)
            .finish()
    }
}

/// The body of `registry.put`.
pub type PutRegistries = BTreeMap<String, RegistryCredential>;

/// A host's answer to `host.ping`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPing {
    /// The host's public key.
    pub id: String,
    /// A name for people.
    #[serde(default)]
    pub friendly_name: String,
    /// The host's labels, built-in ones included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Name of the lattice.
    #[serde(default)]
    pub lattice: String,
    /// Seconds since the host started.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_human: Option<String>,
    /// Version of the host program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// URL of the NATS server for calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_host: Option<String>,
    /// URL of the NATS server for control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctl_host: Option<String>,
    /// JetStream domain of the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub js_domain: Option<String>,
}

/// One entry in the answer to `claims.get`: see [`crate::state::ClaimsRecord::entry`] for its keys.
pub type ClaimsEntry = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_map, collection::vec, option, prelude::*};
    use serde_json::json;

    #[test]
    fn an_acknowledgement_has_no_response_field() {
        let ack = Ack::ok("successfully set link").encode();
        assert_eq!(ack, br#"{"success":true,"message":"successfully set link"}"#);
        let refusal = Ack::error("unsupported subject").encode();
        assert_eq!(refusal, br#"{"success":false,"message":"unsupported subject"}"#);
        let data = Envelope::ok_with(vec![1, 2]).encode();
        assert_eq!(data, br#"{"success":true,"message":"","response":[1,2]}"#);
    }

    #[test]
    fn a_null_response_reads_as_none() {
        let read: Envelope<HostPing> =
            serde_json::from_str(r#"{"success":true,"message":"","response":null}"#).unwrap();
        assert_eq!(read, Envelope { success: true, message: String::new(), response: None });
    }

    #[test]
    fn scale_requests_have_the_defaults_of_version_1() {
        let read: ScaleComponent = serde_json::from_value(json!({ "component_id": "echo" })).unwrap();
        assert_eq!(read, ScaleComponent { component_id: "echo".to_owned(), ..ScaleComponent::default() });
        assert_eq!(read.count, 0);
        serde_json::from_value::<ScaleComponent>(json!({ "count": 1 })).unwrap_err();
        let full: ScaleComponent = serde_json::from_value(json!({
            "component_ref": "ghcr.io/x/echo:1", "component_id": "echo", "count": 10, "host_id": "NX",
            "annotations": { "wasmcloud.dev/managed-by": "wadm" }, "config": ["a", "b"], "allow_update": true,
            "component_limits": { "max_memory_limit": "1048576" }, "unknown": 1
        }))
        .unwrap();
        assert_eq!((full.count, full.allow_update), (10, true));
        assert_eq!(full.component_limits.unwrap()["max_memory_limit"], "1048576");
        let nulls = json!({ "component_id": "echo", "annotations": null, "component_limits": null });
        serde_json::from_value::<ScaleComponent>(nulls).unwrap();
    }

    #[test]
    fn auctions_need_id_and_constraints() {
        let good = json!({ "component_id": "echo", "constraints": {} });
        let read: ComponentAuctionRequest = serde_json::from_value(good).unwrap();
        assert_eq!(read.component_ref, "");
        serde_json::from_value::<ComponentAuctionRequest>(json!({ "component_id": "echo" })).unwrap_err();
        serde_json::from_value::<ProviderAuctionRequest>(json!({ "constraints": {} })).unwrap_err();
    }

    #[test]
    fn a_provider_may_be_stopped_by_its_old_field_name() {
        let read: StopProvider = serde_json::from_value(json!({ "provider_ref": "http" })).unwrap();
        assert_eq!(read.provider_id, "http");
        assert_eq!(serde_json::to_value(read).unwrap(), json!({ "host_id": "", "provider_id": "http" }));
    }

    #[test]
    fn a_stop_names_its_host_and_time() {
        let read: StopHost = serde_json::from_str(r#"{"host_id":"NX","timeout":500}"#).unwrap();
        assert_eq!(read, StopHost { host_id: "NX".to_owned(), timeout: Some(500), forget: false });
        assert_eq!(serde_json::to_value(read).unwrap(), json!({ "host_id": "NX", "timeout": 500 }));
    }

    #[test]
    fn a_link_is_deleted_by_its_default_name() {
        let body = json!({ "source_id": "a", "wit_namespace": "wasi", "wit_package": "http" });
        assert_eq!(serde_json::from_value::<DeleteLink>(body).unwrap().name, "default");
    }

    #[test]
    fn credentials_are_read_as_written_by_clients_and_never_shown() {
        let body = json!({ "reg:5000": { "username": "u", "password": "pw-secret", "registryType": "oci" },
            "other": { "token": "tk-secret" } });
        let read: PutRegistries = serde_json::from_value(body).unwrap();
        assert_eq!(read["other"].registry_type, "oci");
        assert_eq!(read["reg:5000"].password.as_deref(), Some("pw-secret"));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn a_ping_answer_has_the_fields_of_version_1() {
        let ping = HostPing {
            id: "NX".to_owned(),
            friendly_name: "calm-oak-1234".to_owned(),
            labels: [("hostcore.os".to_owned(), "linux".to_owned())].into(),
            lattice: "default".to_owned(),
            uptime_seconds: 5,
            js_domain: Some("core".to_owned()),
            ..HostPing::default()
        };
        assert_eq!(
            serde_json::to_value(ping).unwrap(),
            json!({ "id": "NX", "friendly_name": "calm-oak-1234", "labels": { "hostcore.os": "linux" },
                "lattice": "default", "uptime_seconds": 5, "js_domain": "core" })
        );
    }

    proptest! {
        #[test]
        fn scale_requests_round_trip(
            component_ref in any::<String>(), component_id in any::<String>(), count in any::<u32>(),
            annotations in option::of(btree_map(any::<String>(), any::<String>(), 0..3)),
            config in vec(any::<String>(), 0..3), allow_update in any::<bool>(),
        ) {
            let request = ScaleComponent {
                component_ref, component_id, count, config, allow_update,
                component_limits: annotations.clone(), annotations, host_id: String::new(),
            };
            let reply = Envelope::ok_with(request);
            let read: Envelope<ScaleComponent> = serde_json::from_slice(&reply.encode()).unwrap();
            prop_assert_eq!(read, reply);
        }
    }
}
