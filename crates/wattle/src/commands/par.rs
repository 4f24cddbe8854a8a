//! `wattle par`: make and inspect provider archives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_artifact::ProviderArchive;
use wattle_identity::keys::KeyKind;
use wattle_identity::provider::{self, IssueOptions};

use crate::artifacts::{RegistryFlags, read_file, write_file};
use crate::clock::now;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::output::Output;
use crate::settings::value::pair;
use crate::signing::SigningFlags;

/// Make and inspect provider archives
#[derive(Debug, Args)]
pub(crate) struct ParArgs {
    #[command(subcommand)]
    command: ParCommand,
}

#[derive(Debug, Subcommand)]
enum ParCommand {
    /// Make a signed archive of a provider's programs
    #[command(
        after_help = "Example: wattle par create --name kv --vendor acme --binary x86_64-linux=target/release/kv \
                      --destination kv.par.gz"
    )]
    Create(Box<CreateArgs>),
    /// Say who signed an archive, what is in it, and whether it holds (as `wattle claims inspect`)
    #[command(after_help = "Example: wattle par inspect kv.par.gz")]
    Inspect {
        /// A file or a reference
        #[arg(value_name = "FILE|REFERENCE")]
        source: String,
        #[command(flatten)]
        registry: RegistryFlags,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The provider's name
    #[arg(long)]
    name: String,
    /// Who makes it
    #[arg(long)]
    vendor: String,
    /// Its version, for people
    #[arg(long)]
    version: Option<String>,
    /// A number that grows from one version to the next
    #[arg(long)]
    revision: Option<i32>,
    /// A program and the machine it is for, such as x86_64-linux=FILE; repeat it
    #[arg(long = "binary", value_name = "TARGET=FILE", required = true, value_parser = pair)]
    binaries: Vec<(String, String)>,
    /// The provider's WIT, as a binary package
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Where to write the archive; compressed when the name ends in .gz
    #[arg(long, short = 'd', value_name = "FILE")]
    destination: PathBuf,
    #[command(flatten)]
    signing: SigningFlags,
}

/// Runs the command.
pub(crate) async fn run(args: ParArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        ParCommand::Create(args) => create(*args, context),
        ParCommand::Inspect { source, registry } => {
            super::claims::inspect_source(&source, &registry, context).await
        }
    }
}

fn create(args: CreateArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut binaries = BTreeMap::new();
    for (target, file) in args.binaries {
        if binaries.insert(target.clone(), read_file(file.as_ref())?).is_some() {
            return Err(usage(format!("--binary names the target {target} twice")));
        }
    }
    let world = args.world.as_deref().map(read_file).transpose()?;
    let issuer = args.signing.issuer(context)?;
    let subject = args.signing.subject(KeyKind::Provider, args.name.as_ref(), context)?;
    let now = now();
    let (not_before, expires) = args.signing.validity(now);
    let options = IssueOptions {
        name: Some(args.name),
        vendor: args.vendor,
        version: args.version,
        revision: args.revision,
        config_schema: None,
        not_before,
        expires,
    };
    let claims_jwt = provider::issue(&binaries, world.as_deref(), options, &issuer, &subject, now)
        .context("cannot sign the provider")?;
    let targets = binaries.keys().cloned().collect();
    let compress = args.destination.extension().is_some_and(|extension| extension == "gz");
    let archive = ProviderArchive { claims_jwt, binaries, world };
    write_file(&args.destination, &archive.write(compress)?)?;
    context.print(&CreatedOutput {
        path: args.destination,
        issuer: issuer.public_key(),
        subject: subject.public_key(),
        targets,
    })
}

#[derive(Debug, Serialize)]
struct CreatedOutput {
    path: PathBuf,
    issuer: String,
    subject: String,
    targets: Vec<String>,
}

impl Output for CreatedOutput {
    fn text(&self) -> String {
        format!(
            "made {}\nissuer   {}\nsubject  {}\ntargets  {}",
            self.path.display(),
            self.issuer,
            self.subject,
            self.targets.join(", ")
        )
    }
}
