//! What may run here: bytes are fetched, their signature is checked, and whose it is.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wattle_artifact::{ArtifactKind, ArtifactStore, ProviderArchive, Reference, native_target};
use wattle_identity::claims::{ComponentMetadata, ProviderMetadata, Verified};
use wattle_runtime::{Compiled, Runtime, check_component};

use crate::error::StartError;
use crate::settings::TrustedIssuers;

/// The gate that everything passes before it runs.
pub(crate) struct Admission {
    pub(crate) artifacts: ArtifactStore,
    pub(crate) runtime: Runtime,
    pub(crate) trusted: TrustedIssuers,
    pub(crate) allow_unsigned: bool,
}

/// What a reference stood for when it was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    /// `sha256:…` of the bytes.
    pub(crate) digest: String,
    /// `sha256:…` of the registry's manifest; none for a file.
    pub(crate) manifest: Option<String>,
}

/// A component that may run here.
pub(crate) struct AdmittedComponent {
    pub(crate) compiled: Compiled,
    pub(crate) pinned: Pinned,
    pub(crate) claims: Option<Verified<ComponentMetadata>>,
}

impl Admission {
    /// Fetches, checks and compiles a component: what the reference stands for now, or what it stood for when `pinned`
    /// was noted.
    pub(crate) async fn component(
        &self,
        reference: &str,
        pinned: Option<&Pinned>,
    ) -> Result<AdmittedComponent, StartError> {
        let parsed =
            match (Reference::parse(reference)?, pinned.and_then(|pinned| pinned.manifest.as_deref())) {
                (Reference::Builtin(_), _) => {
                    return Err(wrong_kind(reference, "component", "built-in references name providers"));
                }
                (Reference::Oci(tag), Some(manifest)) => Reference::Oci(tag.with_digest(manifest)?),
                (parsed, _) => parsed,
            };
        let bytes = pinned.map(|pinned| &*pinned.digest);
        let artifact = self.artifacts.fetch(&parsed, ArtifactKind::Component, bytes).await?;
        if let Some(pinned) = pinned.filter(|pinned| pinned.digest != artifact.digest) {
            let (was, is) = (pinned.digest.clone(), artifact.digest);
            return Err(StartError::Changed { reference: reference.to_owned(), was, is });
        }
        let load = |subject, reason| StartError::Load { reference: reference.to_owned(), subject, reason };
        check_component(&artifact.bytes).map_err(|reason| load(None, reason))?;
        let claims = component_claims(reference, artifact.bytes.clone()).await?;
        let signer = claims.as_ref().map(|verified| (&*verified.claims.issuer, &*verified.claims.subject));
        self.check_signer(reference, &parsed, signer)?;
        let compiled = self
            .runtime
            .load(artifact.bytes, &artifact.digest)
            .await
            .map_err(|reason| load(signer.map(|(_, subject)| subject.to_owned()), reason))?;
        let manifest = artifact.manifest_digest.or_else(|| pinned.and_then(|pinned| pinned.manifest.clone()));
        let pinned = Pinned { digest: artifact.digest, manifest };
        Ok(AdmittedComponent { compiled, pinned, claims })
    }

    /// Fetches a provider archive and checks that it is sound; answers whose it is.
    pub(crate) async fn provider(
        &self,
        reference: &str,
        parsed: &Reference,
    ) -> Result<Verified<ProviderMetadata>, StartError> {
        let artifact = self.artifacts.fetch(parsed, ArtifactKind::Provider, None).await?;
        let archive = ProviderArchive::read(&artifact.bytes)?;
        let refused = |reason| StartError::Claims { reference: reference.to_owned(), reason };
        let verified = wattle_identity::provider::verify(&archive.claims_jwt, now()).map_err(refused)?;
        self.check_signer(reference, parsed, Some((&verified.claims.issuer, &verified.claims.subject)))?;
        let target = native_target();
        let Some(binary) = archive.binaries.get(&target) else {
            let held: Vec<_> = archive.binaries.keys().map(String::as_str).collect();
            let reason = format!("the archive has no program for {target}, only for {}", held.join(", "));
            return Err(wrong_kind(reference, "provider", &reason));
        };
        wattle_identity::provider::check_binary(&verified.claims, &target, binary).map_err(refused)?;
        Ok(verified)
    }

    /// Local files were let in by name, signed or not. The rest is signed by somebody trusted, or unsigned where the
    /// operator allowed that.
    fn check_signer(
        &self,
        reference: &str,
        parsed: &Reference,
        signer: Option<(&str, &str)>,
    ) -> Result<(), StartError> {
        match (parsed, signer) {
            (Reference::File(_), _) => Ok(()),
            (_, None) if self.allow_unsigned => Ok(()),
            (_, None) => Err(StartError::Unsigned { reference: reference.to_owned() }),
            (_, Some((issuer, _))) if self.trusted.trusts(issuer) => Ok(()),
            (_, Some((issuer, subject))) => Err(StartError::UntrustedIssuer {
                reference: reference.to_owned(),
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
            }),
        }
    }
}

/// The component's claims, checked. Away from the workers: hashing a large component takes its time.
async fn component_claims(
    reference: &str,
    bytes: Bytes,
) -> Result<Option<Verified<ComponentMetadata>>, StartError> {
    let check = move || wattle_identity::component::verify(&bytes, now());
    let checked = tokio::task::spawn_blocking(check).await.map_err(|_| StartError::Stopping)?;
    checked.map_err(|reason| StartError::Claims { reference: reference.to_owned(), reason })
}

fn wrong_kind(reference: &str, wanted: &'static str, reason: &str) -> StartError {
    StartError::WrongKind { reference: reference.to_owned(), wanted, reason: reason.to_owned() }
}

/// Seconds since the Unix epoch; a clock before it counts as 0.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
