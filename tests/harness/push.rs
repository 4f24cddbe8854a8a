//! Putting any bytes into a registry, also those that `wattle push` rightly refuses.

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{Method, Request, header};
use serde_json::json;

use crate::http::{Answer, fetch};
use crate::registry::{PASSWORD, Registry, USER};

/// The media type of a component's layer.
pub const WASM_LAYER: &str = "application/wasm";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `sha256:` and the hash of the bytes.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()))
}

impl Registry {
    /// Stores the bytes as an artifact with one layer, whatever they are, and gives its reference.
    pub async fn put(&self, name: &str, tag: &str, bytes: &[u8]) -> String {
        self.put_as(name, tag, bytes, WASM_LAYER).await;
        format!("{}/{name}:{tag}", self.address)
    }

    /// [`Registry::put`] with another media type of the layer; gives the digest of the manifest.
    pub async fn put_as(&self, name: &str, tag: &str, bytes: &[u8], media_type: &str) -> String {
        let config = b"{}";
        self.put_blob(name, config).await;
        self.put_blob(name, bytes).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": WASM_CONFIG, "digest": sha256(config), "size": config.len() },
            "layers": [{ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() }],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let digest = sha256(&manifest);
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.address);
        self.send(Method::PUT, &url, MANIFEST, manifest).await;
        digest
    }

    async fn put_blob(&self, name: &str, bytes: &[u8]) {
        let url = format!("http://{}/v2/{name}/blobs/uploads/", self.address);
        let upload = self.send(Method::POST, &url, "application/octet-stream", Vec::new()).await;
        let place = upload.headers[header::LOCATION].to_str().unwrap();
        let url =
            if place.starts_with('/') { format!("http://{}{place}", self.address) } else { place.to_owned() };
        let join = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{join}digest={}", sha256(bytes));
        self.send(Method::PUT, &url, "application/octet-stream", bytes.to_vec()).await;
    }

    async fn send(&self, method: Method, url: &str, media_type: &str, body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(url).header(header::CONTENT_TYPE, media_type);
        if self.login {
            let login = BASE64.encode(format!("{USER}:{PASSWORD}").as_bytes());
            request = request.header(header::AUTHORIZATION, format!("Basic {login}"));
        }
        let answer = fetch(request.body(Bytes::from(body)).unwrap()).await.unwrap();
        assert!(matches!(answer.status, 201 | 202), "the registry answered {answer:?} to {url}");
        answer
    }
}
