//! `wattle pull`: get a component or a provider archive from a registry.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use wattle_artifact::OciReference;

use crate::artifacts::{Content, RegistryFlags, write_file};
use crate::context::Context;
use crate::failure::Exit;
use crate::output::Output;

use super::push::oci;

/// Pull a component or a provider archive from a registry
#[derive(Debug, Args)]
#[command(after_help = "Example: wattle pull registry.example/shop/hello:1.0.0 --destination hello.wasm")]
pub(crate) struct PullArgs {
    /// What to pull
    reference: String,
    /// Where to write it [default: the last part of its name, with .wasm or .par.gz, here]
    #[arg(long, short = 'd', value_name = "FILE")]
    destination: Option<PathBuf>,
    /// Replace a file of the usual name that is there already
    #[arg(long, short = 'f')]
    force: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Runs the command.
pub(crate) async fn run(args: PullArgs, context: &Context) -> anyhow::Result<Exit> {
    let reference = oci(&args.reference)?;
    let artifact = args.registry.fetch(&reference, context).await?;
    let (kind, extension) = match Content::of(&artifact.bytes) {
        Ok(Content::Component) => ("component", "wasm"),
        Ok(Content::Module) => ("module", "wasm"),
        Ok(Content::Provider(_)) if artifact.bytes.starts_with(&[0x1f, 0x8b]) => ("provider", "par.gz"),
        Ok(Content::Provider(_)) => ("provider", "par"),
        Err(_) => ("unknown", "bin"),
    };
    let path = match args.destination {
        Some(path) => path,
        None => {
            let usual = file_name(&reference, extension);
            if usual.exists() && !args.force {
                bail!(
                    "{} is there already, and is left as it is: name another file with --destination, or replace it \
                     with --force",
                    usual.display()
                );
            }
            usual
        }
    };
    write_file(&path, &artifact.bytes)?;
    context.print(&PullOutput {
        path,
        kind,
        size: artifact.bytes.len(),
        digest: artifact.digest,
        manifest_digest: artifact.manifest_digest,
    })
}

fn file_name(reference: &OciReference, extension: &str) -> PathBuf {
    let name = reference.repository().rsplit('/').next().unwrap_or("artifact");
    format!("{name}.{extension}").into()
}

#[derive(Debug, Serialize)]
struct PullOutput {
    path: PathBuf,
    kind: &'static str,
    /// In bytes.
    size: usize,
    digest: String,
    manifest_digest: Option<String>,
}

impl Output for PullOutput {
    fn text(&self) -> String {
        format!("pulled the {} to {} ({} bytes, {})", self.kind, self.path.display(), self.size, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_after_the_artifact() {
        let reference = oci("registry.example/shop/hello:1.0.0").unwrap();
        assert_eq!(file_name(&reference, "wasm"), PathBuf::from("hello.wasm"));
    }
}
