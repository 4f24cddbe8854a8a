//! `wattle push`: put a component or a provider archive into a registry.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use wattle_artifact::{ArtifactKind, OciReference, PushDetails, Reference};
use wattle_identity::claims::{Claims, ComponentMetadata};
use wattle_identity::component;

use crate::artifacts::{Content, RegistryFlags, explain, how_to_make_a_component, read_file};
use crate::clock::{now, rfc3339};
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::output::{Output, note};
use crate::settings::value::pair;

/// Push a component or a provider archive to a registry
#[derive(Debug, Args)]
#[command(after_help = "Example: wattle push registry.example/shop/hello:1.0.0 hello_s.wasm")]
pub(crate) struct PushArgs {
    /// Where to, with a tag
    reference: String,
    /// The signed component (.wasm) or provider archive (.par, .par.gz)
    file: PathBuf,
    /// An annotation of the artifact; repeat it
    #[arg(long = "annotation", short = 'a', value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Runs the command.
pub(crate) async fn run(args: PushArgs, context: &Context) -> anyhow::Result<Exit> {
    if Path::new(&args.reference).is_file() && !args.file.is_file() {
        return Err(usage(format!("{} is a file: the reference comes first, then the file", args.reference)));
    }
    let reference = oci(&args.reference)?;
    args.registry.check_latest(&reference)?;
    let bytes = read_file(&args.file)?;
    let (kind, created) =
        match Content::of(&bytes).with_context(|| format!("cannot push {}", args.file.display()))? {
            Content::Component => (ArtifactKind::Component, created(&bytes)),
            Content::Provider(_) => (ArtifactKind::Provider, None),
            Content::Module => bail!(
                "{} is a core module, which no host runs; make it a component with: {}",
                args.file.display(),
                how_to_make_a_component(&args.file)
            ),
        };
    if kind == ArtifactKind::Component
        && let Some(problem) = problem(&bytes, now())
    {
        let file = args.file.display();
        note(format!("warning: {file} {problem}, so hosts refuse it: see `wattle claims sign`"));
    }
    let store = args.registry.store(&reference, context)?;
    let details = PushDetails { created, ..PushDetails::default() };
    let annotations = args.annotations.into_iter().collect();
    let pushed =
        store.push_with(&reference, kind, bytes.into(), annotations, &details).await.map_err(explain)?;
    context.print(&PushOutput {
        pinned: pushed.reference.with_digest(&pushed.manifest_digest)?.to_string(),
        reference: pushed.reference.to_string(),
        kind: kind.to_string(),
        manifest_digest: pushed.manifest_digest,
        digest: pushed.digest,
    })
}

/// What is wrong with a component's signature.
fn problem(component: &[u8], now: u64) -> Option<String> {
    match component::verify(component, now) {
        Ok(Some(_)) => None,
        Ok(None) => Some("is not signed".to_owned()),
        Err(error) => Some(format!("has a signature that does not hold ({error})")),
    }
}

/// When the component was signed, which the artifact repeats: the same component is always the same artifact.
fn created(component: &[u8]) -> Option<String> {
    let token = component::token(component).ok().flatten()?;
    Some(rfc3339(Claims::<ComponentMetadata>::decode_unverified(&token).ok()?.issued_at))
}

/// A reference that must be one of a registry.
///
/// # Errors
/// When it is not.
pub(crate) fn oci(text: &str) -> anyhow::Result<OciReference> {
    match Reference::parse(text) {
        Ok(Reference::Oci(reference)) => Ok(reference),
        Ok(other) => Err(usage(format!(
            "{other} is not in a registry: a reference looks like registry.example/name:tag"
        ))),
        Err(error) => Err(usage(error.to_string())),
    }
}

#[derive(Debug, Serialize)]
struct PushOutput {
    reference: String,
    /// The reference with the digest of its manifest: what it means can't change any more.
    pinned: String,
    kind: String,
    manifest_digest: String,
    digest: String,
}

impl Output for PushOutput {
    fn text(&self) -> String {
        format!("pushed the {} {}\npinned   {}", self.kind, self.reference, self.pinned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_identity::component::SignOptions;
    use wattle_identity::keys::{KeyKind, KeyPair};

    #[test]
    fn a_signature_that_does_not_hold_is_told() {
        let empty = b"\0asm\x0d\0\x01\0";
        assert_eq!(problem(empty, 200).as_deref(), Some("is not signed"));
        let account = KeyPair::generate(KeyKind::Account).unwrap();
        let subject = KeyPair::generate(KeyKind::Component).unwrap();
        let options = SignOptions { expires: Some(150), ..SignOptions::default() };
        let signed = component::sign(empty, options, &account, &subject, 100).unwrap();
        assert_eq!(problem(&signed, 120), None);
        assert!(problem(&signed, 200).unwrap().contains("expired"));
    }
}
