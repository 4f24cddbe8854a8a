//! What happened in a lattice: CloudEvents 1.0 on `wasmbus.evt.{lattice}.{event}`.

mod data;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::data::{
    Annotations, ComponentEventClaims, ComponentScaleFailed, ComponentScaled, ConfigChanged, HostStarted,
    HostStopped, LabelsChanged, LinkdefDeleted, LinkdefSetFailed, ProviderEventClaims, ProviderHealth,
    ProviderStartFailed, ProviderStarted, ProviderStopped,
};
use crate::{inventory::HostInventory, link::Link};

/// What comes before an event's name in the type of its CloudEvent.
pub const TYPE_PREFIX: &str = "com.wasmcloud.lattice.";

/// An event in its envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// Unique; a UUID.
    pub id: String,
    /// [`TYPE_PREFIX`] and the event's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Public key of the host that tells of it.
    pub source: String,
    /// When, in RFC 3339, UTC.
    #[serde(default)]
    pub time: String,
    /// `application/json`.
    #[serde(default)]
    pub datacontenttype: String,
    /// The event's own fields.
    #[serde(default)]
    pub data: Value,
}

/// An event with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A host has joined and caught up.
    HostStarted(HostStarted),
    /// A host lives; its whole inventory.
    HostHeartbeat(Box<HostInventory>),
    /// A host leaves.
    HostStopped(HostStopped),
    /// A component was started, scaled, updated or stopped.
    ComponentScaled(ComponentScaled),
    /// It was not.
    ComponentScaleFailed(ComponentScaleFailed),
    /// A provider runs.
    ProviderStarted(ProviderStarted),
    /// It does not.
    ProviderStartFailed(ProviderStartFailed),
    /// A provider was stopped.
    ProviderStopped(ProviderStopped),
    /// A provider is well again.
    HealthCheckPassed(ProviderHealth),
    /// A provider is no longer well.
    HealthCheckFailed(ProviderHealth),
    /// A provider is as well, or as unwell, as before.
    HealthCheckStatus(ProviderHealth),
    /// A link was put.
    LinkdefSet(Link),
    /// It was not.
    LinkdefSetFailed(LinkdefSetFailed),
    /// A link was deleted.
    LinkdefDeleted(LinkdefDeleted),
    /// A named config was written.
    ConfigSet(ConfigChanged),
    /// A named config was deleted.
    ConfigDeleted(ConfigChanged),
    /// A host's labels changed.
    LabelsChanged(LabelsChanged),
}

impl Event {
    /// Name of the event: the last token of its subject, and the end of its CloudEvent's type.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostStarted(_) => "host_started",
            Self::HostHeartbeat(_) => "host_heartbeat",
            Self::HostStopped(_) => "host_stopped",
            Self::ComponentScaled(_) => "component_scaled",
            Self::ComponentScaleFailed(_) => "component_scale_failed",
            Self::ProviderStarted(_) => "provider_started",
            Self::ProviderStartFailed(_) => "provider_start_failed",
            Self::ProviderStopped(_) => "provider_stopped",
            Self::HealthCheckPassed(_) => "health_check_passed",
            Self::HealthCheckFailed(_) => "health_check_failed",
            Self::HealthCheckStatus(_) => "health_check_status",
            Self::LinkdefSet(_) => "linkdef_set",
            Self::LinkdefSetFailed(_) => "linkdef_set_failed",
            Self::LinkdefDeleted(_) => "linkdef_deleted",
            Self::ConfigSet(_) => "config_set",
            Self::ConfigDeleted(_) => "config_deleted",
            Self::LabelsChanged(_) => "labels_changed",
        }
    }

    /// The event's own fields.
    ///
    /// # Errors
    /// None in practice: every field is text, a number or a list or map of these.
    pub fn data(&self) -> serde_json::Result<Value> {
        match self {
            Self::HostStarted(data) => serde_json::to_value(data),
            Self::HostHeartbeat(data) => serde_json::to_value(data),
            Self::HostStopped(data) => serde_json::to_value(data),
            Self::ComponentScaled(data) => serde_json::to_value(data),
            Self::ComponentScaleFailed(data) => serde_json::to_value(data),
            Self::ProviderStarted(data) => serde_json::to_value(data),
            Self::ProviderStartFailed(data) => serde_json::to_value(data),
            Self::ProviderStopped(data) => serde_json::to_value(data),
            Self::HealthCheckPassed(data) | Self::HealthCheckFailed(data) | Self::HealthCheckStatus(data) => {
                serde_json::to_value(data)
            }
            Self::LinkdefSet(data) => serde_json::to_value(data),
            Self::LinkdefSetFailed(data) => serde_json::to_value(data),
            Self::LinkdefDeleted(data) => serde_json::to_value(data),
            Self::ConfigSet(data) | Self::ConfigDeleted(data) => serde_json::to_value(data),
            Self::LabelsChanged(data) => serde_json::to_value(data),
        }
    }

    /// The event in its envelope. `id` is unique (a UUID), `source` the host's public key and `time` in RFC 3339,
    /// UTC.
    ///
    /// # Errors
    /// As for [`Event::data`].
    pub fn to_cloud_event(&self, id: String, source: String, time: String) -> serde_json::Result<CloudEvent> {
        Ok(CloudEvent {
            specversion: "1.0".to_owned(),
            id,
            kind: format!("{TYPE_PREFIX}{}", self.name()),
            source,
            time,
            datacontenttype: "application/json".to_owned(),
            data: self.data()?,
        })
    }

    /// Reads an event. `None` when it is none of these or lacks a field, as may come from other kinds of hosts.
    #[must_use]
    pub fn from_cloud_event(event: &CloudEvent) -> Option<Self> {
        let data = &event.data;
        Some(match event.kind.strip_prefix(TYPE_PREFIX)? {
            "host_started" => Self::HostStarted(read(data)?),
            "host_heartbeat" => Self::HostHeartbeat(read(data)?),
            "host_stopped" => Self::HostStopped(read(data)?),
            "component_scaled" => Self::ComponentScaled(read(data)?),
            "component_scale_failed" => Self::ComponentScaleFailed(read(data)?),
            "provider_started" => Self::ProviderStarted(read(data)?),
            "provider_start_failed" => Self::ProviderStartFailed(read(data)?),
            "provider_stopped" => Self::ProviderStopped(read(data)?),
            "health_check_passed" => Self::HealthCheckPassed(read(data)?),
            "health_check_failed" => Self::HealthCheckFailed(read(data)?),
            "health_check_status" => Self::HealthCheckStatus(read(data)?),
            "linkdef_set" => Self::LinkdefSet(read(data)?),
            "linkdef_set_failed" => Self::LinkdefSetFailed(read(data)?),
            "linkdef_deleted" => Self::LinkdefDeleted(read(data)?),
            "config_set" => Self::ConfigSet(read(data)?),
            "config_deleted" => Self::ConfigDeleted(read(data)?),
            "labels_changed" => Self::LabelsChanged(read(data)?),
            _ => return None,
        })
    }
}

fn read<T: DeserializeOwned>(data: &Value) -> Option<T> {
    T::deserialize(data).ok()
}

/// The reference of a provider as `provider_started` and the inventory give it: verbatim, except that `file://` is
/// removed. (Components' references are always verbatim, as is the one in `provider_start_failed`.)
#[must_use]
pub fn event_image_ref(reference: &str) -> &str {
    reference.strip_prefix("file://").unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::json;

    fn link() -> Link {
        serde_json::from_value(json!({
            "source_id": "http", "target": "echo", "name": "default", "wit_namespace": "wasi",
            "wit_package": "http", "interfaces": ["incoming-handler"], "source_config": ["addr"],
            "target_config": []
        }))
        .unwrap()
    }

    fn map(key: &str, value: &str) -> BTreeMap<String, String> {
        [(key.to_owned(), value.to_owned())].into()
    }

    /// Every event beside its data as the protocol spells it.
    fn samples() -> Vec<(Event, &'static str, Value)> {
        let s = str::to_owned;
        let host_started = HostStarted {
            friendly_name: s("calm-oak-1"),
            labels: map("a", "b"),
            uptime_seconds: 0,
            version: s("0.1.0"),
        };
        let inventory = HostInventory { host_id: s("NX"), version: s("0.1.0"), ..HostInventory::default() };
        let claims = ComponentEventClaims {
            call_alias: None,
            issuer: s("AX"),
            tags: Some(vec![s("t")]),
            name: s("Echo"),
            version: s("1.0"),
            revision: 4,
            not_before_human: s("never"),
            expires_human: s("1800000000"),
        };
        let scaled = ComponentScaled {
            annotations: map("wasmcloud.dev/managed-by", "wadm"),
            host_id: s("NX"),
            image_ref: s("file:///tmp/a.wasm"),
            max_instances: 5,
            component_id: s("echo"),
            public_key: Some(s("MX")),
            claims: Some(claims),
        };
        let unsigned = ComponentScaled { public_key: None, claims: None, ..scaled.clone() };
        let scale_failed = ComponentScaleFailed {
            annotations: Annotations::new(),
            component_id: s("echo"),
            host_id: s("NX"),
            image_ref: s("reg/x:1"),
            max_instances: 5,
            error: s("why"),
            public_key: None,
        };
        let started = ProviderStarted {
            host_id: s("NX"),
            image_ref: s("reg/http:1"),
            provider_id: s("http"),
            ..ProviderStarted::default()
        };
        let signed = started.clone().with_claims(ProviderEventClaims {
            issuer: s("AX"),
            tags: None,
            name: s("HTTP"),
            version: s("0.1"),
            not_before_human: s("never"),
            expires_human: s("never"),
        });
        let start_failed = ProviderStartFailed {
            provider_ref: s("file:///x.par"),
            provider_id: s("http"),
            host_id: s("NX"),
            error: s("why"),
            link_name: s("default"),
        };
        let health = ProviderHealth { host_id: s("NX"), provider_id: s("http") };
        let health_json = json!({ "host_id": "NX", "provider_id": "http" });
        let mut failed_link = serde_json::to_value(link()).unwrap();
        failed_link["error"] = json!("why");
        let nothing_deleted =
            LinkdefDeleted { target: None, interfaces: None, ..LinkdefDeleted::from(link()) };
        let config = ConfigChanged { config_name: s("c") };
        vec![
            (
                Event::HostStarted(host_started),
                "host_started",
                json!({ "friendly_name": "calm-oak-1", "labels": { "a": "b" }, "uptime_seconds": 0,
                    "version": "0.1.0" }),
            ),
            (
                Event::HostHeartbeat(Box::new(inventory)),
                "host_heartbeat",
                json!({ "components": [], "providers": [], "host_id": "NX", "friendly_name": "", "labels": {},
                    "version": "0.1.0", "uptime_human": "", "uptime_seconds": 0 }),
            ),
            (
                Event::HostStopped(HostStopped { labels: map("a", "b") }),
                "host_stopped",
                json!({ "labels": { "a": "b" } }),
            ),
            (
                Event::ComponentScaled(scaled),
                "component_scaled",
                json!({ "annotations": { "wasmcloud.dev/managed-by": "wadm" }, "host_id": "NX",
                    "image_ref": "file:///tmp/a.wasm", "max_instances": 5, "component_id": "echo",
                    "public_key": "MX",
                    "claims": { "call_alias": null, "issuer": "AX", "tags": ["t"], "name": "Echo",
                        "version": "1.0", "revision": 4, "not_before_human": "never",
                        "expires_human": "1800000000" } }),
            ),
            (
                Event::ComponentScaled(unsigned),
                "component_scaled",
                json!({ "annotations": { "wasmcloud.dev/managed-by": "wadm" }, "host_id": "NX",
                    "image_ref": "file:///tmp/a.wasm", "max_instances": 5, "component_id": "echo" }),
            ),
            (
                Event::ComponentScaleFailed(scale_failed),
                "component_scale_failed",
                json!({ "annotations": {}, "component_id": "echo", "host_id": "NX", "image_ref": "reg/x:1",
                    "max_instances": 5, "error": "why" }),
            ),
            (
                Event::ProviderStarted(started),
                "provider_started",
                json!({ "host_id": "NX", "image_ref": "reg/http:1", "provider_id": "http", "annotations": {} }),
            ),
            (
                Event::ProviderStarted(signed),
                "provider_started",
                json!({ "host_id": "NX", "image_ref": "reg/http:1", "provider_id": "http", "annotations": {},
                    "instance_id": "http", "public_key": "http", "link_name": "default",
                    "claims": { "issuer": "AX", "tags": null, "name": "HTTP", "version": "0.1",
                        "not_before_human": "never", "expires_human": "never" } }),
            ),
            (
                Event::ProviderStartFailed(start_failed),
                "provider_start_failed",
                json!({ "provider_ref": "file:///x.par", "provider_id": "http", "host_id": "NX", "error": "why",
                    "link_name": "default" }),
            ),
            (
                Event::ProviderStopped(ProviderStopped::new("NX", "http", Annotations::new(), "stop")),
                "provider_stopped",
                json!({ "host_id": "NX", "provider_id": "http", "annotations": {}, "reason": "stop",
                    "instance_id": "http", "public_key": "http", "link_name": "default" }),
            ),
            (Event::HealthCheckPassed(health.clone()), "health_check_passed", health_json.clone()),
            (Event::HealthCheckFailed(health.clone()), "health_check_failed", health_json.clone()),
            (Event::HealthCheckStatus(health), "health_check_status", health_json),
            (Event::LinkdefSet(link()), "linkdef_set", serde_json::to_value(link()).unwrap()),
            (
                Event::LinkdefSetFailed(LinkdefSetFailed { link: link(), error: s("why") }),
                "linkdef_set_failed",
                failed_link,
            ),
            (
                Event::LinkdefDeleted(LinkdefDeleted::from(link())),
                "linkdef_deleted",
                json!({ "source_id": "http", "name": "default", "wit_namespace": "wasi", "wit_package": "http",
                    "target": "echo", "interfaces": ["incoming-handler"] }),
            ),
            (
                Event::LinkdefDeleted(nothing_deleted),
                "linkdef_deleted",
                json!({ "source_id": "http", "name": "default", "wit_namespace": "wasi", "wit_package": "http" }),
            ),
            (Event::ConfigSet(config.clone()), "config_set", json!({ "config_name": "c" })),
            (Event::ConfigDeleted(config), "config_deleted", json!({ "config_name": "c" })),
            (
                Event::LabelsChanged(LabelsChanged { host_id: s("NX"), labels: map("a", "b") }),
                "labels_changed",
                json!({ "host_id": "NX", "labels": { "a": "b" } }),
            ),
        ]
    }

    #[test]
    fn every_event_is_spelled_as_specified_and_read_back() {
        for (event, name, data) in samples() {
            let cloud = event.to_cloud_event("id".to_owned(), "NX".to_owned(), "time".to_owned()).unwrap();
            assert_eq!(
                serde_json::to_value(&cloud).unwrap(),
                json!({ "specversion": "1.0", "id": "id", "type": format!("com.wasmcloud.lattice.{name}"),
                    "source": "NX", "time": "time", "datacontenttype": "application/json", "data": data })
            );
            assert_eq!(event.name(), name);
            assert_eq!(Event::from_cloud_event(&cloud), Some(event));
        }
    }

    #[test]
    fn nulls_of_other_hosts_are_read() {
        let cloud = CloudEvent {
            specversion: "1.0".to_owned(),
            id: "1".to_owned(),
            kind: "com.wasmcloud.lattice.component_scaled".to_owned(),
            source: "NX".to_owned(),
            time: String::new(),
            datacontenttype: String::new(),
            data: json!({ "annotations": null, "host_id": "NX", "image_ref": "r", "max_instances": 1,
                "component_id": "c", "claims": { "issuer": "AX", "tags": null, "name": null, "version": null,
                    "revision": null, "call_alias": null } }),
        };
        assert!(matches!(Event::from_cloud_event(&cloud), Some(Event::ComponentScaled(_))));
    }

    #[test]
    fn what_is_not_an_event_of_the_lattice_is_none() {
        let (event, _, _) = samples().swap_remove(0);
        let good = event.to_cloud_event(String::new(), String::new(), String::new()).unwrap();
        for kind in ["host_started", "com.wasmcloud.lattice.actor_started"] {
            assert_eq!(Event::from_cloud_event(&CloudEvent { kind: kind.to_owned(), ..good.clone() }), None);
        }
        assert_eq!(Event::from_cloud_event(&CloudEvent { data: json!([1]), ..good }), None);
    }

    #[test]
    fn only_the_file_scheme_is_removed() {
        assert_eq!(event_image_ref("file:///a/b.par.gz"), "/a/b.par.gz");
        for verbatim in ["oci://x/y:1", "https://x/y:1", "wasmcloud+builtin://http-server", "reg:5000/x"] {
            assert_eq!(event_image_ref(verbatim), verbatim);
        }
    }

    proptest! {
        #[test]
        fn scaled_events_round_trip(
            annotations in btree_map(any::<String>(), any::<String>(), 0..3), image_ref in any::<String>(),
            max_instances in any::<u32>(), public_key in any::<Option<String>>(),
        ) {
            let event = Event::ComponentScaled(ComponentScaled {
                annotations, host_id: "NX".to_owned(), image_ref, max_instances, component_id: "c".to_owned(),
                public_key, claims: None,
            });
            let cloud = event.to_cloud_event("i".to_owned(), "NX".to_owned(), "t".to_owned()).unwrap();
            let text = serde_json::to_string(&cloud).unwrap();
            let read: CloudEvent = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Event::from_cloud_event(&read), Some(event));
        }
    }
}
