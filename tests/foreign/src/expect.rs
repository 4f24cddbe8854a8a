//! What replies and events must look like.

use std::collections::BTreeMap;
use std::error::Error;

use serde_json::{Map, Value, json};
use wasmcloud_control_interface::CtlResponse;

/// Annotations of a workload.
pub type Annotations = BTreeMap<String, String>;
type Reply<T> = Result<CtlResponse<T>, Box<dyn Error + Send + Sync>>;

/// Annotations from pairs.
pub fn annotations<const N: usize>(pairs: [(&str, &str); N]) -> Annotations {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The reply says yes.
pub fn accepted<T>(what: &str, reply: Reply<T>) -> CtlResponse<T> {
    let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(reply.succeeded(), "{what} was refused: {}", reply.message());
    reply
}

/// The reply says yes, in these words.
pub fn accepted_with<T>(what: &str, reply: Reply<T>, message: &str) {
    assert_eq!(accepted(what, reply).message(), message, "{what}");
}

/// The reply says no, in these words.
pub fn refused<T>(what: &str, reply: Reply<T>, message: &str) {
    let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!reply.succeeded(), "{what} was accepted");
    assert!(reply.message().contains(message), "{what}: `{}` does not say `{message}`", reply.message());
}

/// The object has these fields and no others.
pub fn keys(what: &str, object: &Value, names: &[&str]) {
    let mut found: Vec<_> = fields(what, object).keys().map(String::as_str).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "fields of {what}: {object:#}");
}

fn fields<'a>(what: &str, object: &'a Value) -> &'a Map<String, Value> {
    object.as_object().unwrap_or_else(|| panic!("{what} is not an object: {object:#}"))
}

/// A CloudEvent in structured JSON, from this host.
pub fn envelope(name: &str, event: &Value, host: &str) {
    let text =
        |field: &str| event[field].as_str().unwrap_or_else(|| panic!("no {field} in {name}: {event:#}"));
    assert_eq!(text("specversion"), "1.0");
    assert_eq!(text("type"), format!("com.wasmcloud.lattice.{name}"));
    assert_eq!(text("source"), host, "{name} comes from another host: the lattice must be this test's own");
    assert_eq!(text("datacontenttype"), "application/json");
    let groups: Vec<_> = text("id").split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "the id of {name} is a UUID: {}", text("id"));
    assert!(is_utc_time(text("time")), "the time of {name} is RFC 3339 in UTC: {}", text("time"));
    assert!(event["data"].is_object(), "the data of {name} is an object: {event:#}");
}

fn is_utc_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let rest = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(rest, "Z" | "+00:00")
}

/// The object that inventory replies and heartbeats share: every field there and of its type.
pub fn inventory(data: &Value) {
    let names =
        ["components", "friendly_name", "host_id", "labels", "providers", "uptime_human", "uptime_seconds"];
    for name in names {
        assert!(data.get(name).is_some(), "no {name} in the inventory: {data:#}");
    }
    assert!(data["uptime_seconds"].is_u64() && data["uptime_human"].is_string(), "{data:#}");
    assert!(data["friendly_name"].as_str().is_some_and(|name| !name.is_empty()), "{data:#}");
    semver(data["version"].as_str().unwrap_or_default());
    for label in ["hostcore.arch", "hostcore.os", "hostcore.osfamily"] {
        assert!(data["labels"][label].is_string(), "no label {label}: {data:#}");
    }
    for component in data["components"].as_array().expect("components is a list") {
        for name in ["id", "image_ref", "annotations", "revision", "max_instances", "limits"] {
            assert!(
                component.get(name).is_some(),
                "no {name} in a component of the inventory: {component:#}"
            );
        }
        assert!(component["annotations"].is_object() && component["max_instances"].is_u64(), "{component:#}");
    }
    for provider in data["providers"].as_array().expect("providers is a list") {
        for name in ["id", "image_ref", "annotations", "revision"] {
            assert!(provider.get(name).is_some(), "no {name} in a provider of the inventory: {provider:#}");
        }
    }
}

/// The text is a semantic version, as deployment managers require.
pub fn semver(version: &str) {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u64>).collect();
    assert!(numbers.len() == 3 && numbers.iter().all(Result::is_ok), "`{version}` is not a semantic version");
}

/// What a `component_scaled` event should say.
pub struct Scaled<'a> {
    /// Id of the component.
    pub id: &'a str,
    /// Its reference.
    pub reference: &'a str,
    /// How many calls may run at once.
    pub count: u32,
    /// Its annotations.
    pub annotations: &'a Annotations,
}

impl Scaled<'_> {
    /// The fields that every such event has.
    pub fn fields(&self, host: &str) -> Value {
        json!({
            "annotations": self.annotations,
            "component_id": self.id,
            "host_id": host,
            "image_ref": self.reference,
            "max_instances": self.count,
        })
    }

    /// Checks an event's data field by field; gives the public key when the component is signed.
    pub fn check(&self, mut data: Value, host: &str) -> Option<String> {
        let claims = take(&mut data, "claims");
        let public_key = take(&mut data, "public_key");
        assert_eq!(data, self.fields(host), "data of component_scaled");
        match (claims, public_key) {
            (None, None) => None,
            (Some(claims), Some(Value::String(key))) => {
                component_claims(&claims);
                component_key(&key);
                Some(key)
            }
            other => panic!("a signed component has claims and a public key in its events: {other:?}"),
        }
    }

    /// Checks the data of a `component_scale_failed` event field by field; gives the reason.
    pub fn check_failed(&self, mut data: Value, host: &str) -> String {
        let error = take(&mut data, "error");
        if let Some(key) = take(&mut data, "public_key") {
            component_key(key.as_str().unwrap_or_default());
        }
        assert_eq!(data, self.fields(host), "data of component_scale_failed");
        let error = error.as_ref().and_then(Value::as_str).unwrap_or_default();
        assert!(!error.is_empty(), "the event says no reason");
        error.to_owned()
    }
}

fn take(data: &mut Value, field: &str) -> Option<Value> {
    data.as_object_mut().and_then(|fields| fields.remove(field))
}

fn component_key(key: &str) {
    assert!(key.len() == 56 && key.starts_with('M'), "the public key of a component is an M key: {key}");
}

fn component_claims(claims: &Value) {
    let names =
        ["call_alias", "issuer", "tags", "name", "version", "revision", "not_before_human", "expires_human"];
    keys("claims in component_scaled", claims, &names);
    assert!(claims["issuer"].as_str().is_some_and(|issuer| issuer.starts_with('A')), "{claims:#}");
    assert!(claims["tags"].is_null() || claims["tags"].is_array(), "{claims:#}");
    for name in ["not_before_human", "expires_human"] {
        let time = claims[name].as_str().unwrap_or_default();
        assert!(time == "never" || time.parse::<u64>().is_ok(), "{name} is seconds or never: {claims:#}");
    }
}
