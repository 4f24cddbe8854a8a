//! `wattle claims`: sign components, and say what is signed and whether it holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_artifact::ProviderArchive;
use wattle_identity::claims::{Claims, ComponentMetadata, Metadata, ProviderMetadata};
use wattle_identity::component::{self, SignOptions};
use wattle_identity::keys::KeyKind;
use wattle_identity::provider;

use crate::artifacts::{Content, RegistryFlags, Source, how_to_make_a_component, read_file, write_file};
use crate::clock::{now, rfc3339};
use crate::context::Context;
use crate::failure::Exit;
use crate::output::{Output, note};
use crate::signing::SigningFlags;

/// Sign components, and inspect what is signed
#[derive(Debug, Args)]
pub(crate) struct ClaimsArgs {
    #[command(subcommand)]
    command: ClaimsCommand,
}

#[derive(Debug, Subcommand)]
enum ClaimsCommand {
    /// Sign a component: its hash and what is said about it become part of it
    #[command(after_help = "Example: wattle claims sign hello.wasm --name hello --version 1.0.0")]
    Sign(Box<SignArgs>),
    /// Say who signed a component or a provider archive, and whether it holds
    #[command(
        after_help = "Exit code 0 when the signature is valid, 1 when not.\nExample: wattle claims inspect hello_s.wasm -o json"
    )]
    Inspect {
        /// A file or a reference
        #[arg(value_name = "FILE|REFERENCE")]
        source: String,
        #[command(flatten)]
        registry: RegistryFlags,
    },
}

#[derive(Debug, Args)]
struct SignArgs {
    /// The component
    file: PathBuf,
    /// Its name [default: the file's, without its extension]
    #[arg(long)]
    name: Option<String>,
    /// Its version, for people
    #[arg(long)]
    version: Option<String>,
    /// A number that grows from one version to the next
    #[arg(long)]
    revision: Option<i32>,
    /// A free word; repeat it
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A short name
    #[arg(long, value_name = "ALIAS")]
    call_alias: Option<String>,
    /// Where to write the signed component [default: the file's name with `_s` before its extension]
    #[arg(long, short = 'd', value_name = "FILE")]
    destination: Option<PathBuf>,
    #[command(flatten)]
    signing: SigningFlags,
}

/// Runs the command.
pub(crate) async fn run(args: ClaimsArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        ClaimsCommand::Sign(args) => sign(*args, context),
        ClaimsCommand::Inspect { source, registry } => inspect_source(&source, &registry, context).await,
    }
}

/// Reads a file or an artifact and prints what is signed about it.
pub(crate) async fn inspect_source(
    source: &str,
    registry: &RegistryFlags,
    context: &Context,
) -> anyhow::Result<Exit> {
    let bytes = Source::of(source)?.read(registry, context).await?;
    inspect(&bytes, context).with_context(|| source.to_owned())
}

fn sign(args: SignArgs, context: &Context) -> anyhow::Result<Exit> {
    let bytes = read_file(&args.file)?;
    match Content::of(&bytes).with_context(|| format!("cannot sign {}", args.file.display()))? {
        Content::Component => {}
        Content::Module => note(format!(
            "warning: {} is a core module, which no host runs; make it a component with: {}",
            args.file.display(),
            how_to_make_a_component(&args.file)
        )),
        Content::Provider(_) => bail!(
            "{} is a provider archive, which is signed when it is made: see `wattle par create`",
            args.file.display()
        ),
    }
    let issuer = args.signing.issuer(context)?;
    let subject = args.signing.subject(KeyKind::Component, &args.file, context)?;
    let now = now();
    let (not_before, expires) = args.signing.validity(now);
    let stem = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let options = SignOptions {
        name: args.name.or(stem),
        version: args.version,
        revision: args.revision,
        tags: args.tags,
        call_alias: args.call_alias,
        not_before,
        expires,
    };
    let signed = component::sign(&bytes, options, &issuer, &subject, now)
        .with_context(|| format!("cannot sign {}", args.file.display()))?;
    let destination = args.destination.unwrap_or_else(|| signed_name(&args.file));
    write_file(&destination, &signed)?;
    context.print(&SignedOutput {
        path: destination,
        issuer: issuer.public_key(),
        subject: subject.public_key(),
    })
}

/// `hello.wasm` becomes `hello_s.wasm`.
fn signed_name(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push("_s");
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

#[derive(Debug, Serialize)]
struct SignedOutput {
    path: PathBuf,
    issuer: String,
    subject: String,
}

impl Output for SignedOutput {
    fn text(&self) -> String {
        format!("signed {}\nissuer   {}\nsubject  {}", self.path.display(), self.issuer, self.subject)
    }
}

/// What is said about bytes, and whether it holds.
#[derive(Debug, Default, Serialize)]
struct Inspection {
    kind: &'static str,
    issuer: Option<String>,
    subject: Option<String>,
    name: Option<String>,
    version: Option<String>,
    revision: Option<i32>,
    tags: Vec<String>,
    call_alias: Option<String>,
    vendor: Option<String>,
    target_hashes: BTreeMap<String, String>,
    not_before: Option<u64>,
    expires: Option<u64>,
    valid: bool,
    problem: Option<String>,
}

fn inspect(bytes: &[u8], context: &Context) -> anyhow::Result<Exit> {
    let inspection = match Content::of(bytes)? {
        Content::Component => Inspection::of_component("component", bytes, now()),
        Content::Module => Inspection::of_component("module", bytes, now()),
        Content::Provider(archive) => Inspection::of_provider(&archive, now()),
    };
    context.print(&inspection)?;
    Ok(if inspection.valid { Exit::Success } else { Exit::Failed })
}

impl Inspection {
    fn of_component(kind: &'static str, bytes: &[u8], now: u64) -> Self {
        let token = match component::token(bytes) {
            Ok(Some(token)) => token,
            Ok(None) => return Self::invalid(kind, "it is not signed"),
            Err(error) => return Self::invalid(kind, error),
        };
        let found = match Claims::<ComponentMetadata>::decode_unverified(&token) {
            Ok(claims) => Self {
                name: claims.metadata.name.clone(),
                version: claims.metadata.version.clone(),
                revision: claims.metadata.revision,
                tags: claims.metadata.tags.clone().unwrap_or_default(),
                call_alias: claims.metadata.call_alias.clone(),
                ..Self::of_claims(kind, &claims)
            },
            Err(error) => return Self::invalid(kind, error),
        };
        found.judged(component::verify(bytes, now).map(drop))
    }

    fn of_provider(archive: &ProviderArchive, now: u64) -> Self {
        let found = match Claims::<ProviderMetadata>::decode_unverified(&archive.claims_jwt) {
            Ok(claims) => Self {
                name: claims.metadata.name.clone(),
                version: claims.metadata.version.clone(),
                revision: claims.metadata.revision,
                vendor: Some(claims.metadata.vendor.clone()),
                target_hashes: claims.metadata.target_hashes.clone(),
                ..Self::of_claims("provider", &claims)
            },
            Err(error) => return Self::invalid("provider", error),
        };
        found.judged(provider::verify(&archive.claims_jwt, now).and_then(|verified| {
            for (target, program) in &archive.binaries {
                provider::check_binary(&verified.claims, target, program)?;
            }
            archive
                .world
                .iter()
                .try_for_each(|world| provider::check_binary(&verified.claims, provider::WORLD, world))
        }))
    }

    fn of_claims<M: Metadata>(kind: &'static str, claims: &Claims<M>) -> Self {
        Self {
            kind,
            issuer: Some(claims.issuer.clone()),
            subject: Some(claims.subject.clone()),
            not_before: claims.not_before,
            expires: claims.expires,
            ..Self::default()
        }
    }

    fn invalid(kind: &'static str, problem: impl ToString) -> Self {
        Self { kind, problem: Some(problem.to_string()), ..Self::default() }
    }

    fn judged(self, verdict: Result<(), wattle_identity::Error>) -> Self {
        let problem = verdict.err().map(|error| error.to_string());
        Self { valid: problem.is_none(), problem, ..self }
    }
}

impl Output for Inspection {
    fn text(&self) -> String {
        let mut lines = vec![format!("kind         {}", self.kind)];
        let mut line = |label: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                lines.push(format!("{label:<13}{value}"));
            }
        };
        line("name", self.name.clone());
        line("version", self.version.clone());
        line("revision", self.revision.map(|revision| revision.to_string()));
        line("vendor", self.vendor.clone());
        line("tags", Some(self.tags.join(", ")));
        line("call alias", self.call_alias.clone());
        line("issuer", self.issuer.clone());
        line("subject", self.subject.clone());
        line("not before", self.not_before.map(rfc3339));
        if self.issuer.is_some() {
            line("expires", Some(self.expires.map_or_else(|| "never".to_owned(), rfc3339)));
        }
        for (target, hash) in &self.target_hashes {
            line("program", Some(format!("{target} sha256 {hash}")));
        }
        line("signature", Some(if self.valid { "valid" } else { "NOT VALID" }.to_owned()));
        line("problem", self.problem.clone());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_identity::keys::KeyPair;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn signed(expires: Option<u64>) -> Vec<u8> {
        let (issuer, subject) =
            (KeyPair::generate(KeyKind::Account).unwrap(), KeyPair::generate(KeyKind::Component).unwrap());
        let options = SignOptions { name: Some("hello".into()), expires, ..SignOptions::default() };
        component::sign(EMPTY, options, &issuer, &subject, 100).unwrap()
    }

    #[test]
    fn what_is_signed_is_told_and_judged() {
        let valid = Inspection::of_component("component", &signed(None), 200);
        assert!(valid.valid && valid.problem.is_none());
        assert_eq!(valid.name.as_deref(), Some("hello"));

        let expired = Inspection::of_component("component", &signed(Some(150)), 200);
        assert!(!expired.valid && expired.problem.as_deref().unwrap().contains("expired"));
        assert_eq!(expired.name.as_deref(), Some("hello"), "what it says is shown nevertheless");

        let unsigned = Inspection::of_component("component", EMPTY, 200);
        assert!(!unsigned.valid && unsigned.problem.as_deref() == Some("it is not signed"));
    }

    #[test]
    fn json_has_every_field() {
        let value = serde_json::to_value(Inspection::of_component("component", &signed(None), 200)).unwrap();
        for field in [
            "kind",
            "issuer",
            "subject",
            "name",
            "version",
            "revision",
            "tags",
            "call_alias",
            "vendor",
            "target_hashes",
            "not_before",
            "expires",
            "valid",
            "problem",
        ] {
            assert!(value.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn the_signed_file_stands_beside_the_other() {
        assert_eq!(signed_name(Path::new("/a/hello.wasm")), Path::new("/a/hello_s.wasm"));
        assert_eq!(signed_name(Path::new("hello")), Path::new("hello_s"));
    }
}
