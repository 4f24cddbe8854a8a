//! One conversation with one registry.
//!
//! A client is made for each fetch or push. That costs a connection, and buys that changed credentials, renewed
//! tokens of credential helpers and exchanged CA files are always the current ones.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::HeaderValue;
use oci_client::{
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;

mod manifests;

use self::manifests::Manifests;
use crate::{
    error::Error,
    manifest::{self, Descriptor},
    reference::OciReference,
    registries::{Credentials, Registries, RegistrySettings},
    translate::Request,
};

/// Layers are sent in pieces of this size, so that progress and silence can be told apart.
const PIECE: usize = 256 << 10;

/// A layer's memory is taken as it arrives, not as the manifest claims.
const FIRST_ALLOCATION: u64 = 1 << 20;

pub(crate) struct RegistryClient {
    client: oci_client::Client,
    manifests: Manifests,
    auth: RegistryAuth,
    registry: String,
    login: String,
    patience: Duration,
}

impl RegistryClient {
    /// Makes a client for a registry with its settings of this moment. Nothing is sent yet. `patience` is how long
    /// the registry may be silent.
    pub(crate) async fn new(
        registries: &Registries,
        registry: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(Error::NoTlsProvider);
        }
        let credentials = registries.credentials_for(registry).await;
        let (auth, login) = match credentials {
            None => (RegistryAuth::Anonymous, "an anonymous request".to_owned()),
            Some(Credentials::Basic { username, password }) => {
                let login = format!("user {username:?}");
                (RegistryAuth::Basic(username, password.to_string()), login)
            }
            Some(Credentials::Bearer { token }) => {
                (RegistryAuth::Bearer(token.to_string()), "a token".to_owned())
            }
        };
        let settings = registries.settings_for(registry);
        let failed = |reason: String| Error::Client { registry: registry.to_owned(), reason };
        // Reads CA files, the system's included.
        let client = tokio::task::spawn_blocking(move || connect(&settings, patience))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (client, manifests) = client.map_err(|error| match error {
            ConnectError::Ca(error) => error,
            ConnectError::Client(reason) => failed(reason),
        })?;
        let this = Self { client, manifests, auth, registry: registry.to_owned(), login, patience };
        this.client.store_auth_if_needed(this.client_registry(), &this.auth).await;
        Ok(this)
    }

    /// A layer, verified. `arrived` is told the size of each piece.
    pub(crate) async fn layer(
        &self,
        reference: &OciReference,
        layer: &Descriptor,
        mut arrived: impl FnMut(u64),
    ) -> Result<Bytes, Error> {
        let wrong_size = || Error::Manifest {
            reference: reference.to_string(),
            reason: format!("layer {} is not of the size that it gives, {} bytes", layer.digest, layer.size),
        };
        let image = reference.to_client();
        // By digest alone: the manifest's alternative addresses of a layer are not followed.
        let asked = self.client.pull_blob_stream(&image, layer.digest.as_str());
        let mut pieces = self.in_time("asking for a layer", reference, asked).await?;
        let mut bytes =
            Vec::with_capacity(usize::try_from(layer.size.min(FIRST_ALLOCATION)).unwrap_or_default());
        loop {
            let next = timeout(self.patience, pieces.next()).await;
            let Some(piece) = next.map_err(|_| self.late("waiting for more of a layer"))? else { break };
            let piece = piece.map_err(|error| self.about(reference).stream(&error))?;
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > layer.size {
                return Err(wrong_size());
            }
            arrived(piece.len() as u64);
        }
        // The stream ends well only if the digest is right.
        if bytes.len() as u64 != layer.size {
            return Err(wrong_size());
        }
        Ok(bytes.into())
    }

    /// Sends a blob, unless the registry has it. `sent` is told the size of each piece.
    pub(crate) async fn push_blob(
        &self,
        reference: &OciReference,
        descriptor: &Descriptor,
        bytes: Bytes,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<(), Error> {
        let image = reference.to_client();
        let asked = self.client.blob_exists(&image, &descriptor.digest);
        if self.in_time("asking whether a layer is there", reference, asked).await? {
            sent(descriptor.size);
            return Ok(());
        }
        let total = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&total);
        let pieces = (0..bytes.len()).step_by(PIECE).map(move |start| {
            let piece = bytes.slice(start..bytes.len().min(start + PIECE));
            counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
            sent(piece.len() as u64);
            Ok(piece)
        });
        let push = self.client.push_blob_stream(
            &image,
            stream::iter(pieces),
            &descriptor.digest,
            Some(descriptor.size),
        );
        let mut push = std::pin::pin!(push);
        let mut before = 0;
        // However large the layer and slow the line: only silence is a failure.
        let result = loop {
            match timeout(self.patience, &mut push).await {
                Ok(result) => break result,
                Err(_) => {
                    let now = total.load(Ordering::Relaxed);
                    if now == before {
                        return Err(self.late("waiting for it to take more of a layer"));
                    }
                    before = now;
                }
            }
        };
        result.map(drop).map_err(|error| self.about(reference).failed(error))
    }

    /// Puts a manifest under the reference's tag.
    pub(crate) async fn push_manifest(&self, reference: &OciReference, body: Bytes) -> Result<(), Error> {
        let image = reference.to_client();
        let asked = self.client.push_manifest_raw(&image, body, HeaderValue::from_static(manifest::MANIFEST));
        self.in_time("pushing the manifest", reference, asked).await.map(drop)
    }

    async fn in_time<T>(
        &self,
        doing: &'static str,
        reference: &OciReference,
        request: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Error> {
        match timeout(self.patience, request).await {
            Ok(result) => result.map_err(|error| self.about(reference).failed(error)),
            Err(_) => Err(self.late(doing)),
        }
    }

    fn late(&self, doing: &'static str) -> Error {
        Error::Timeout { registry: self.registry.clone(), doing, after: self.patience }
    }

    fn about(&self, reference: &OciReference) -> Request<'_> {
        Request { registry: &self.registry, reference: reference.to_string(), login: &self.login }
    }

    /// The client library speaks to Docker Hub under another name than its references have, and keeps credentials
    /// under that one.
    fn client_registry(&self) -> &str {
        if self.registry == "docker.io" { "index.docker.io" } else { &self.registry }
    }
}

enum ConnectError {
    Ca(Error),
    Client(String),
}

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

fn connect(
    settings: &RegistrySettings,
    patience: Duration,
) -> Result<(oci_client::Client, Manifests), ConnectError> {
    let mut extra_root_certificates = Vec::new();
    for file in &settings.ca {
        extra_root_certificates.extend(certificates(file).map_err(ConnectError::Ca)?);
    }
    let manifests = Manifests::connect(settings.insecure, &extra_root_certificates, patience)
        .map_err(|error| ConnectError::Client(with_causes(&error)))?;
    let config = ClientConfig {
        protocol: if settings.insecure { ClientProtocol::Http } else { ClientProtocol::Https },
        extra_root_certificates,
        // One request per layer; every registry takes it, which is not so for pieces of one's own choice.
        use_monolithic_push: true,
        platform_resolver: None,
        connect_timeout: Some(patience),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    let client = oci_client::Client::try_from(config);
    Ok((client.map_err(|error| ConnectError::Client(with_causes(&error)))?, manifests))
}

/// The certificates of a PEM file. One without any is an error, since it would silently be of no use.
fn certificates(file: &PathBuf) -> Result<Vec<Certificate>, Error> {
    let failed = |reason: String| Error::CaFile { path: file.clone(), reason };
    let pem = fs::read(file).map_err(|error| failed(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| match certificate {
            Ok(der) => Ok(Certificate { encoding: CertificateEncoding::Der, data: der.to_vec() }),
            Err(error) => Err(failed(error.to_string())),
        })
        .collect::<Result<Vec<_>, Error>>()?;
    if found.is_empty() { Err(failed("it holds no certificate in PEM form".to_owned())) } else { Ok(found) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ca_files_must_hold_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(matches!(certificates(&file), Err(Error::CaFile { .. })), "missing");
        fs::write(&file, "no certificate").unwrap();
        assert!(matches!(certificates(&file), Err(Error::CaFile { .. })), "empty");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(certificates(&file), Err(Error::CaFile { .. })), "not base64");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(2)).unwrap();
        assert_eq!(certificates(&file).unwrap().len(), 2);
    }
}
