//! OCI manifests: the media types of each kind of artifact, and what of a manifest is to be fetched.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{digest, error::Error};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What manifest requests accept. Indexes are among them only so that they can be refused with a reason.
pub(crate) const ACCEPTED_MANIFESTS: &[&str] = &[MANIFEST, DOCKER_MANIFEST, INDEX, DOCKER_INDEX];

/// The config type of the CNCF's Wasm artifact, whose manifests have exactly one layer.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";
const OLD_WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
pub(crate) const PROVIDER_CONFIG: &str = "application/vnd.wasmcloud.provider.archive.config";
pub(crate) const PROVIDER_LAYER: &str = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
const TAR_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// In bytes. Manifests are small; the OCI distribution specification asks registries to take 4 MiB.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// What an artifact is, which decides the media types that are accepted and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArtifactKind {
    /// A WebAssembly component.
    Component,
    /// A capability provider's archive (PAR).
    Provider,
}

impl ArtifactKind {
    fn accepted_layers(self) -> &'static [&'static str] {
        match self {
            Self::Component => &[WASM_LAYER, OLD_WASM_LAYER, TAR_LAYER],
            Self::Provider => &[PROVIDER_LAYER, TAR_LAYER],
        }
    }
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Provider => "provider",
        })
    }
}

/// An image manifest, as far as it concerns us.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// The description of a blob in a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: u64,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// The layers to fetch, in order, and their size together.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) size: u64,
}

/// The form common to everything that answers a manifest request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// Whether the text is a manifest of any kind; a web page that some other server sent is not.
pub(crate) fn looks_like_manifest(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Envelope>(bytes).is_ok()
}

/// Reads a manifest and decides what of it is the artifact.
pub(crate) fn plan(bytes: &[u8], kind: ArtifactKind, reference: &str, max_bytes: u64) -> Result<Plan, Error> {
    let unusable = |reason: String| Error::Manifest { reference: reference.to_owned(), reason };
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| unusable(format!("it can't be read: {error}")))?;
    if envelope.schema_version != 2 {
        return Err(unusable(format!("its schema version is {}, not 2", envelope.schema_version)));
    }
    let media_type = envelope.media_type.as_deref();
    if envelope.manifests.is_some() || media_type.is_some_and(|found| found == INDEX || found == DOCKER_INDEX)
    {
        return Err(unusable("it is an index of several images: name the digest of one of them".to_owned()));
    }
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| unusable(format!("it can't be read: {error}")))?;
    if manifest.layers.is_empty() {
        return Err(unusable("it has no layers".to_owned()));
    }
    if manifest.config.media_type == WASM_CONFIG && manifest.layers.len() > 1 {
        return Err(unusable(format!(
            "a Wasm artifact has exactly one layer, this one has {}",
            manifest.layers.len()
        )));
    }
    let accepted = kind.accepted_layers();
    let mut size: u64 = 0;
    for layer in &manifest.layers {
        if !accepted.contains(&layer.media_type.as_str()) {
            return Err(Error::MediaType {
                reference: reference.to_owned(),
                kind,
                found: layer.media_type.clone(),
                accepted: accepted.join(", "),
            });
        }
        if digest::hex(&layer.digest).is_none() {
            return Err(unusable(format!("layer digest {:?} is not a SHA-256 digest", layer.digest)));
        }
        size = size.saturating_add(layer.size);
    }
    if size > max_bytes {
        return Err(Error::TooBig { what: format!("{reference} ({size} bytes)"), limit: max_bytes });
    }
    Ok(Plan { layers: manifest.layers, size })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ANY: u64 = u64::MAX;

    fn layer(media_type: &str, size: u64) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": digest::of(media_type.as_bytes()), "size": size})
    }

    fn image(config: &str, layers: &[serde_json::Value]) -> Vec<u8> {
        let config = layer(config, 2);
        serde_json::to_vec(
            &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
        )
        .unwrap()
    }

    #[test]
    fn each_kind_takes_its_media_types() {
        use ArtifactKind::{Component, Provider};
        for (kind, media_type, taken) in [
            (Component, WASM_LAYER, true),
            (Component, OLD_WASM_LAYER, true),
            (Component, TAR_LAYER, true),
            (Component, PROVIDER_LAYER, false),
            (Provider, PROVIDER_LAYER, true),
            (Provider, TAR_LAYER, true),
            (Provider, WASM_LAYER, false),
            (Provider, "application/vnd.oci.image.layer.v1.tar+gzip", false),
        ] {
            let result = plan(&image("any/config", &[layer(media_type, 3)]), kind, "r", ANY);
            match (taken, result) {
                (true, Ok(plan)) => assert_eq!((plan.layers.len(), plan.size), (1, 3)),
                (false, Err(Error::MediaType { found, .. })) => assert_eq!(found, media_type),
                (_, other) => panic!("{kind} {media_type}: {other:?}"),
            }
        }
    }

    #[test]
    fn several_layers_are_for_older_artifacts_only() {
        let two = [layer(TAR_LAYER, 1), layer(TAR_LAYER, 2)];
        let plan_of = |config| plan(&image(config, &two), ArtifactKind::Component, "r", ANY);
        assert_eq!(plan_of("application/vnd.oci.image.config.v1+json").unwrap().size, 3);
        let error = plan_of(WASM_CONFIG).unwrap_err();
        assert!(error.to_string().contains("exactly one layer"), "{error}");
    }

    #[test]
    fn unusable_manifests_say_why() {
        let kind = ArtifactKind::Component;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string();
        let sha512 = json!({"mediaType": WASM_LAYER, "digest": "sha512:00", "size": 1});
        for (bytes, word) in [
            (b"<html></html>".to_vec(), "can't be read"),
            (index.into_bytes(), "index"),
            (br#"{"schemaVersion": 1}"#.to_vec(), "schema version"),
            (image(WASM_CONFIG, &[]), "no layers"),
            (image(WASM_CONFIG, &[sha512]), "SHA-256"),
        ] {
            let error = plan(&bytes, kind, "registry.example/a:1", ANY).unwrap_err();
            assert!(matches!(error, Error::Manifest { .. }), "{error:?}");
            assert!(error.to_string().contains(word), "{error}");
        }
        let huge = [layer(TAR_LAYER, u64::MAX), layer(TAR_LAYER, 1)];
        let error = plan(&image("c", &huge), kind, "r", 100).unwrap_err();
        assert!(matches!(error, Error::TooBig { limit: 100, .. }), "{error:?}");
    }
}
