//! The fields of each event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    lenient,
    link::{DEFAULT_LINK_NAME, Link},
};

/// Annotations of a component or provider.
pub type Annotations = BTreeMap<String, String>;

/// Data of `host_started`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStarted {
    /// A name for people.
    pub friendly_name: String,
    /// The host's labels.
    pub labels: BTreeMap<String, String>,
    /// 0.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Version of the host program.
    #[serde(default)]
    pub version: String,
}

/// Data of `host_stopped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStopped {
    /// The host's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Data of `component_scaled`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentScaled {
    /// The component's annotations; of the stopped one when `max_instances` is 0.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub annotations: Annotations,
    /// Where it runs.
    pub host_id: String,
    /// Reference exactly as in the command.
    pub image_ref: String,
    /// Most calls that run at once; 0 when it was stopped.
    pub max_instances: u32,
    /// Id of the component.
    pub component_id: String,
    /// Its public key, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Its claims, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<ComponentEventClaims>,
}

/// Data of `component_scale_failed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentScaleFailed {
    /// Annotations of the command.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub annotations: Annotations,
    /// Id of the component.
    pub component_id: String,
    /// The host that failed.
    pub host_id: String,
    /// Reference exactly as in the command.
    pub image_ref: String,
    /// The count asked for.
    pub max_instances: u32,
    /// Why.
    pub error: String,
    /// The component's public key, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// A component's claims in an event. Readers expect every key; only the alias and the tags may be `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentEventClaims {
    /// A short name.
    #[serde(default)]
    pub call_alias: Option<String>,
    /// Public key of the issuing account.
    #[serde(default)]
    pub issuer: String,
    /// Tags.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Name of the component.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub name: String,
    /// Version, for people.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub version: String,
    /// Revision.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub revision: i32,
    /// Not valid before: seconds since 1970 as text, or `never`.
    #[serde(default)]
    pub not_before_human: String,
    /// Expires: seconds since 1970 as text, or `never`.
    #[serde(default)]
    pub expires_human: String,
}

/// Data of `provider_started`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStarted {
    /// Where it runs.
    pub host_id: String,
    /// Reference as [`super::event_image_ref`] gives it.
    pub image_ref: String,
    /// Id of the provider.
    pub provider_id: String,
    /// Its annotations.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub annotations: Annotations,
    /// Its claims, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<ProviderEventClaims>,
    /// The provider id again, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The provider id again, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// `default`, when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_name: Option<String>,
}

impl ProviderStarted {
    /// Adds what the event of a signed provider carries: the claims, and the fields kept for old readers.
    #[must_use]
    pub fn with_claims(mut self, claims: ProviderEventClaims) -> Self {
        self.claims = Some(claims);
        self.instance_id = Some(self.provider_id.clone());
        self.public_key = Some(self.provider_id.clone());
        self.link_name = Some(DEFAULT_LINK_NAME.to_owned());
        self
    }
}

/// A provider's claims in an event. Readers expect every key, and text in each but the tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderEventClaims {
    /// Public key of the issuing account.
    #[serde(default)]
    pub issuer: String,
    /// Always `null`: providers have no tags, but readers want the key.
    #[serde(default)]
    pub tags: Option<String>,
    /// Name of the provider.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub name: String,
    /// Version, for people.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub version: String,
    /// Not valid before: seconds since 1970 as text, or `never`.
    #[serde(default)]
    pub not_before_human: String,
    /// Expires: seconds since 1970 as text, or `never`.
    #[serde(default)]
    pub expires_human: String,
}

/// Data of `provider_start_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStartFailed {
    /// Reference exactly as in the command.
    pub provider_ref: String,
    /// Id that the provider would have got.
    pub provider_id: String,
    /// The host that failed.
    #[serde(default)]
    pub host_id: String,
    /// Why.
    pub error: String,
    /// `default`.
    #[serde(default = "crate::link::default_link_name")]
    pub link_name: String,
}

/// Data of `provider_stopped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStopped {
    /// Where it ran.
    pub host_id: String,
    /// Id of the provider.
    pub provider_id: String,
    /// Its annotations.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub annotations: Annotations,
    /// `stop` when it was told to.
    pub reason: String,
    /// The provider id again.
    #[serde(default)]
    pub instance_id: String,
    /// The provider id again.
    #[serde(default)]
    pub public_key: String,
    /// `default`.
    #[serde(default = "crate::link::default_link_name")]
    pub link_name: String,
}

impl ProviderStopped {
    /// The event, with the fields kept for old readers filled in.
    #[must_use]
    pub fn new(host_id: &str, provider_id: &str, annotations: Annotations, reason: &str) -> Self {
        Self {
            host_id: host_id.to_owned(),
            provider_id: provider_id.to_owned(),
            annotations,
            reason: reason.to_owned(),
            instance_id: provider_id.to_owned(),
            public_key: provider_id.to_owned(),
            link_name: DEFAULT_LINK_NAME.to_owned(),
        }
    }
}

/// Data of the three health events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderHealth {
    /// Where the provider runs.
    pub host_id: String,
    /// Id of the provider.
    pub provider_id: String,
}

/// Data of `linkdef_set_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkdefSetFailed {
    /// The link that was refused.
    #[serde(flatten)]
    pub link: Link,
    /// Why.
    pub error: String,
}

/// Data of `linkdef_deleted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkdefDeleted {
    /// Id of the source.
    pub source_id: String,
    /// Name of the link.
    pub name: String,
    /// WIT namespace.
    pub wit_namespace: String,
    /// WIT package.
    pub wit_package: String,
    /// Id of the target, when a link was there to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its interfaces, when a link was there to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
}

impl From<Link> for LinkdefDeleted {
    fn from(link: Link) -> Self {
        Self {
            source_id: link.source_id,
            name: link.name,
            wit_namespace: link.wit_namespace,
            wit_package: link.wit_package,
            target: Some(link.target),
            interfaces: Some(link.interfaces),
        }
    }
}

/// Data of `config_set` and `config_deleted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChanged {
    /// Name of the config.
    pub config_name: String,
}

/// Data of `labels_changed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsChanged {
    /// The host.
    pub host_id: String,
    /// All its labels, after the change.
    pub labels: BTreeMap<String, String>,
}
