//! Asking for manifests.
//!
//! Done here and not by the client library, which reads a manifest to its end however long it is: a server that never
//! stops would fill the memory. The library still finds out how to log in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use oci_client::{
    RegistryOperation, client::Certificate, errors::OciDistributionError, secrets::RegistryAuth,
};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, HeaderName},
};
use tokio::{sync::OnceCell, time::timeout};

use super::{RegistryClient, USER_AGENT};
use crate::{
    digest,
    error::Error,
    manifest::{ACCEPTED_MANIFESTS, MAX_MANIFEST, looks_like_manifest},
    reference::OciReference,
};

/// In bytes. What is beyond says no more about why a request failed.
const MAX_REFUSAL: usize = 64 << 10;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The connection for manifests, and what the registry gave to log in with.
pub(super) struct Manifests {
    http: reqwest::Client,
    scheme: &'static str,
    token: OnceCell<Option<String>>,
}

impl Manifests {
    /// With the same settings as the client library's own connection.
    pub(super) fn connect(
        insecure: bool,
        roots: &[Certificate],
        patience: Duration,
    ) -> Result<Self, reqwest::Error> {
        let roots = roots.iter().map(|root| reqwest::Certificate::from_der(&root.data));
        let http = reqwest::Client::builder()
            .tls_certs_merge(roots.collect::<Result<Vec<_>, _>>()?)
            .connect_timeout(patience)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { http, scheme: if insecure { "http" } else { "https" }, token: OnceCell::new() })
    }
}

impl RegistryClient {
    /// The digest that the reference's tag stands for now.
    pub(crate) async fn manifest_digest(&self, reference: &OciReference) -> Result<String, Error> {
        const DOING: &str = "looking up the tag";
        let image = reference.to_client();
        let head = self.ask(DOING, Method::HEAD, reference, &image).await?;
        let named = head.headers().get(DIGEST).filter(|_| head.status() == StatusCode::OK);
        // A refusal has its reason in the body, which HEAD leaves out.
        let Some(named) = named.filter(|value| !value.is_empty()) else {
            return Ok(digest::of(&self.get(DOING, reference, &image).await?));
        };
        match named.to_str().ok().filter(|named| digest::hex(named).is_some()) {
            Some(digest) => Ok(digest.to_owned()),
            None => Err(Error::Manifest {
                reference: reference.to_string(),
                reason: format!("the registry names it by {named:?}, which is not a SHA-256 digest"),
            }),
        }
    }

    /// The manifest with this digest, verified.
    pub(crate) async fn manifest(&self, reference: &OciReference, digest: &str) -> Result<Bytes, Error> {
        let image = reference.with_digest(digest)?.to_client();
        let bytes = self.get("fetching the manifest", reference, &image).await?;
        let actual = digest::of(&bytes);
        if actual != digest {
            let (reference, expected) = (reference.to_string(), digest.to_owned());
            return Err(Error::DigestMismatch { reference, expected, actual });
        }
        if !looks_like_manifest(&bytes) {
            return Err(self
                .about(reference)
                .not_a_registry("it answered something other than a manifest".to_owned()));
        }
        Ok(bytes)
    }

    async fn get(
        &self,
        doing: &'static str,
        reference: &OciReference,
        image: &oci_client::Reference,
    ) -> Result<Bytes, Error> {
        let response = self.ask(doing, Method::GET, reference, image).await?;
        let (status, url) = (response.status(), response.url().to_string());
        let limit = if status == StatusCode::OK { MAX_MANIFEST } else { MAX_REFUSAL };
        let (body, whole) = self.read(reference, response, limit).await?;
        match status {
            StatusCode::OK if whole => Ok(body),
            StatusCode::OK => {
                Err(Error::TooBig { what: format!("manifest of {reference}"), limit: MAX_MANIFEST as u64 })
            }
            refused => Err(self.about(reference).failed(OciDistributionError::ServerError {
                code: refused.as_u16(),
                url,
                message: String::from_utf8_lossy(&body).into_owned(),
            })),
        }
    }

    /// The head of the response to a request for a manifest.
    async fn ask(
        &self,
        doing: &'static str,
        method: Method,
        reference: &OciReference,
        image: &oci_client::Reference,
    ) -> Result<Response, Error> {
        let Manifests { http, scheme, token } = &self.manifests;
        let login = self.client.auth(image, &self.auth, RegistryOperation::Pull);
        let token = token.get_or_try_init(|| self.in_time("asking how to log in", reference, login)).await?;
        let (registry, repository) = (image.resolve_registry(), image.repository());
        let wanted = image.digest().or(image.tag()).unwrap_or("latest");
        let request = http
            .request(method, format!("{scheme}://{registry}/v2/{repository}/manifests/{wanted}"))
            .header(ACCEPT, ACCEPTED_MANIFESTS.join(", "));
        let send = |request: RequestBuilder| async {
            let sent = async { request.send().await.map_err(OciDistributionError::from) };
            self.in_time(doing, reference, sent).await
        };
        let (Some(open), RegistryAuth::Basic(user, password), None) =
            (request.try_clone(), &self.auth, token.as_deref())
        else {
            return send(match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            })
            .await;
        };
        // A password goes out as it is only to a registry that wants that.
        let response = send(open).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        send(request.basic_auth(user, Some(password))).await
    }

    /// The body as far as `limit` bytes, and whether that is all of it.
    async fn read(
        &self,
        reference: &OciReference,
        mut response: Response,
        limit: usize,
    ) -> Result<(Bytes, bool), Error> {
        let mut body = BytesMut::new();
        loop {
            let next = timeout(self.patience, response.chunk()).await;
            let next = next.map_err(|_| self.late("waiting for more of a manifest"))?;
            let Some(piece) = next.map_err(|error| self.about(reference).failed(error.into()))? else {
                return Ok((body.freeze(), true));
            };
            if body.len() + piece.len() > limit {
                body.extend_from_slice(&piece[..limit - body.len()]);
                return Ok((body.freeze(), false));
            }
            body.extend_from_slice(&piece);
        }
    }
}
