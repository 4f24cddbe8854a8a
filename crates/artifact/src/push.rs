//! Pushing artifacts.
//!
//! Components are written as the CNCF's Wasm artifact (one `application/wasm` layer), providers as wasmCloud's provider
//! archive. The same bytes, annotations and details always make the same manifest, so pushing twice changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    digest,
    error::Error,
    manifest::{
        ArtifactKind, Descriptor, MANIFEST, Manifest, PROVIDER_CONFIG, PROVIDER_LAYER, WASM_CONFIG,
        WASM_LAYER,
    },
    reference::OciReference,
    store::ArtifactStore,
};

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it was pushed to.
    pub reference: OciReference,
    /// `sha256:…` of the manifest, by which it can be fetched whatever becomes of the tag.
    pub manifest_digest: String,
    /// `sha256:…` of the bytes.
    pub digest: String,
}

/// What the config object of a component's artifact says beside the digest of its layer. A provider's says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushDetails {
    /// When the component was made, in RFC 3339. Left out, the artifact is the same at every push; some readers of
    /// other projects insist on it.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What it imports and exports.
    pub component: Option<ComponentInterfaces>,
}

/// The interfaces of a component, as in the config object of the CNCF's Wasm artifact (`wasi:http/types@0.2.2`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ComponentInterfaces {
    /// What the component exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// The world that it targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a ComponentInterfaces>,
}

impl ArtifactStore {
    /// Pushes bytes under the reference's tag, with details for the config object of a component. What the registry
    /// already has is not sent again.
    ///
    /// # Errors
    /// [`Error::InvalidPush`] without a tag, with a digest, or without bytes; and those of the registry.
    pub async fn push_with(
        &self,
        reference: &OciReference,
        kind: ArtifactKind,
        bytes: Bytes,
        annotations: BTreeMap<String, String>,
        details: &PushDetails,
    ) -> Result<Pushed, Error> {
        check(reference, &bytes)?;
        let layer_type = match kind {
            ArtifactKind::Component => WASM_LAYER,
            ArtifactKind::Provider => PROVIDER_LAYER,
        };
        let layer = Descriptor::new(layer_type, &bytes);
        let (config_type, config) = config(kind, &layer.digest, details);
        let config_descriptor = Descriptor::new(config_type, &config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config: config_descriptor.clone(),
            layers: vec![layer.clone()],
            annotations: Some(annotations).filter(|map| !map.is_empty()),
        };
        let body = Bytes::from(json(&manifest));
        let pushed = Pushed {
            reference: reference.clone(),
            manifest_digest: digest::of(&body),
            digest: layer.digest.clone(),
        };

        let client = self.client(reference).await?;
        let meter = std::sync::Mutex::new(self.inner.meter(reference, layer.size));
        let sent = move |size| meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner).advance(size);
        client.push_blob(reference, &layer, bytes, sent).await?;
        client.push_blob(reference, &config_descriptor, config, |_| {}).await?;
        client.push_manifest(reference, body).await?;
        Ok(pushed)
    }
}

fn check(reference: &OciReference, bytes: &Bytes) -> Result<(), Error> {
    let invalid = |reason: &str| {
        Err(Error::InvalidPush { reference: reference.to_string(), reason: reason.to_owned() })
    };
    if reference.digest().is_some() {
        return invalid("a digest is what a push results in, not where it goes to: give a tag");
    }
    if reference.tag().is_none() {
        return invalid("it has no tag: give a version");
    }
    if bytes.is_empty() {
        return invalid("there is nothing to push, the file is empty");
    }
    Ok(())
}

fn config(kind: ArtifactKind, layer_digest: &str, details: &PushDetails) -> (&'static str, Bytes) {
    match kind {
        ArtifactKind::Provider => (PROVIDER_CONFIG, Bytes::from_static(b"{}")),
        ArtifactKind::Component => {
            let config = WasmConfig {
                created: details.created.as_deref(),
                author: details.author.as_deref(),
                architecture: "wasm",
                os: "wasip2",
                layer_digests: [layer_digest],
                component: details.component.as_ref(),
            };
            (WASM_CONFIG, json(&config).into())
        }
    }
}

#[expect(clippy::expect_used, reason = "structs of strings, numbers and string maps always serialise")]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data serialises")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config_of(details: &PushDetails) -> Value {
        let (media_type, bytes) = config(ArtifactKind::Component, "sha256:00", details);
        assert_eq!(media_type, WASM_CONFIG);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn component_config_says_what_is_known() {
        let least = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": ["sha256:00"]});
        assert_eq!(config_of(&PushDetails::default()), least);
        let component = ComponentInterfaces {
            exports: vec!["wasi:http/incoming-handler@0.2.2".to_owned()],
            imports: vec![],
            target: None,
        };
        let full = config_of(&PushDetails {
            created: Some("2026-01-02T03:04:05Z".to_owned()),
            author: Some("Ada".to_owned()),
            component: Some(component),
        });
        assert_eq!(full["created"], "2026-01-02T03:04:05Z");
        assert_eq!(full["author"], "Ada");
        assert_eq!(
            full["component"],
            json!({"exports": ["wasi:http/incoming-handler@0.2.2"], "imports": []})
        );
    }

    #[test]
    fn senseless_pushes_are_refused() {
        let digest = digest::of(b"x");
        for (reference, bytes) in [
            ("localhost/a".to_owned(), "x"),
            (format!("localhost/a:1@{digest}"), "x"),
            ("localhost/a:1".to_owned(), ""),
        ] {
            let parsed = OciReference::parse(&reference).unwrap();
            let error = check(&parsed, &Bytes::from_static(bytes.as_bytes())).unwrap_err();
            assert!(matches!(error, Error::InvalidPush { .. }), "{reference}: {error}");
        }
    }
}
