//! `wattle push`: put a component or a provider archive into a registry.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use wattle_artifact::{ArtifactKind, OciReference, PushDetails, Reference};
use wattle_identity::claims::{Claims, ComponentMetadata};
use wattle_identity::component;

use crate::artifacts::{Content, RegistryFlags, explain, how_to_make_a_component, read_file};
use crate::clock::rfc3339;
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
    let reference = oci(&args.reference)?;
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
    if kind == ArtifactKind::Component && created.is_none() {
        note(format!(
            "warning: {} is not signed, so hosts refuse it: see `wattle claims sign`",
            args.file.display()
        ));
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
