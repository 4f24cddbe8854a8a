//! `wattle cluster issue`: sign a certificate for a member.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use wattle_identity::certificate::{Certificate, Grant, Ids, Role};
use wattle_identity::keys::{KeyKind, KeyPair, public_key_kind};

use super::signer::SignerFlags;
use super::{Said, ids};
use crate::artifacts::write_private_file;
use crate::clock::now;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::keystore::{KeyStore, write_seed};
use crate::output::{Output, note};
use crate::settings::value::seconds;
use crate::settings::{Layer, connect};

/// Issue a certificate: which key is a member of the lattice, as what, and what it may do there
#[derive(Debug, Args)]
#[command(
    after_help = "The certificate goes to standard output, or with --destination into a file that only you may read.\n\
                  Ids are those of components and providers; `all` and `none` stand for themselves.\n\
                  Example: wattle cluster issue --new-key alice.nk --may-call hello --destination alice.jwt"
)]
pub(crate) struct IssueArgs {
    /// The member: its public key (N… of a host, U… of a client), the name of a stored key, or a file with its seed
    #[arg(value_name = "KEY|NAME|FILE", required_unless_present = "new_key")]
    member: Option<String>,
    /// Make a new key for the member, and write its seed into this file
    #[arg(long, value_name = "FILE", conflicts_with = "member")]
    new_key: Option<PathBuf>,
    /// What the member is [default: what its key is for: host for N…, client for U…]
    #[arg(long, value_enum)]
    role: Option<RoleName>,
    /// What a host or provider may take calls for; repeat it [default: as --speaks-for; of a host, else all]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    answers_for: Vec<String>,
    /// In whose name a host or provider may call; repeat it [default: as --answers-for; of a host, else all]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    speaks_for: Vec<String>,
    /// What a client may call; repeat it
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    may_call: Vec<String>,
    /// Whose calls a client may watch; repeat it
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    may_spy: Vec<String>,
    /// How long it is valid from now on, such as 12h or 365d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = seconds)]
    expires: Duration,
    /// Write the certificate into this file, in place of one that is there
    #[arg(long, short = 'd', value_name = "FILE")]
    destination: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerFlags,
}

/// A role, on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Host,
    Provider,
    Client,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Host => Self::Host,
            RoleName::Provider => Self::Provider,
            RoleName::Client => Self::Client,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: IssueArgs, context: &Context) -> anyhow::Result<Exit> {
    let settings = args.signer.settings(Layer::default(), context)?;
    let cluster = args.signer.key(&settings, context)?;
    let (subject, new_key) = args.member(context)?;
    let role = args.role(&subject)?;
    let grant = args.grant(role, &connect::lattice(&settings))?;
    let now = now();
    let mut certificate = Certificate::new(&cluster, &subject, grant, now)?;
    certificate.expires = now.saturating_add(args.expires.as_secs().max(1));
    let token = certificate.encode(&cluster).map_err(|error| usage(error.to_string()))?;
    if let (Some(key), Some(path)) = (&new_key, &args.new_key) {
        write_seed(path, key)?;
        note(format!("the seed of {subject} is in {}: keep it secret", path.display()));
    }
    if let Some(path) = &args.destination {
        write_private_file(path, format!("{token}\n").as_bytes())?;
    }
    if role == Role::Host {
        let file =
            args.destination.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
        note(format!(
            "on its machine: wattle host --lattice {} --cluster-certificate {file} --cluster-issuer {}",
            certificate.grant.lattice, certificate.issuer
        ));
    }
    context.print(&Issued {
        said: certificate.into(),
        certificate: token,
        path: args.destination,
        seed_path: args.new_key,
    })
}

impl IssueArgs {
    /// The member's public key, and the key itself where it was made now.
    fn member(&self, context: &Context) -> anyhow::Result<(String, Option<KeyPair>)> {
        let Some(named) = &self.member else {
            let kind = self.role.map_or(KeyKind::User, |role| Role::from(role).key_kind());
            let key = KeyPair::generate(kind)?;
            return Ok((key.public_key(), Some(key)));
        };
        match public_key_kind(named) {
            Ok(_) => Ok((named.clone(), None)),
            // As long as a public key, and no file: a typing error.
            Err(error) if named.len() == 56 && !std::path::Path::new(named).exists() => {
                Err(usage(error.to_string()))
            }
            Err(_) => Ok((KeyStore::of(&context.variables)?.of_any_kind(named)?.public_key(), None)),
        }
    }

    fn role(&self, subject: &str) -> anyhow::Result<Role> {
        if let Some(role) = self.role {
            return Ok(role.into());
        }
        match public_key_kind(subject).context("the member's key")? {
            KeyKind::Host => Ok(Role::Host),
            KeyKind::User => Ok(Role::Client),
            kind => Err(usage(format!(
                "{subject} is a {kind} key: members of a lattice are hosts (N…), and clients and providers (U…)"
            ))),
        }
    }

    /// What the certificate allows; what a role can't have is refused where it is signed.
    fn grant(&self, role: Role, lattice: &str) -> anyhow::Result<Grant> {
        let answers_for = ids("--answers-for", &self.answers_for)?;
        let speaks_for = ids("--speaks-for", &self.speaks_for)?;
        let (may_call, may_spy) = (ids("--may-call", &self.may_call)?, ids("--may-spy", &self.may_spy)?);
        if role == Role::Provider && answers_for.is_none() && speaks_for.is_none() {
            return Err(usage("a provider answers for itself: name its id with --answers-for"));
        }
        if role == Role::Client && may_call.is_none() && may_spy.is_none() {
            return Err(usage("a client calls what its certificate lists: name it with --may-call"));
        }
        // Who limits the one means the other as well.
        let usual = if role == Role::Host { Ids::All } else { Ids::none() };
        let either = answers_for.clone().or_else(|| speaks_for.clone()).unwrap_or(usual);
        Ok(Grant {
            role,
            lattice: lattice.to_owned(),
            answers_for: answers_for.unwrap_or_else(|| either.clone()),
            speaks_for: speaks_for.unwrap_or(either),
            may_call: may_call.unwrap_or_default(),
            may_spy: may_spy.unwrap_or_default(),
            artifact: None,
        })
    }
}

/// A certificate, and where it went.
#[derive(Debug, Serialize)]
struct Issued {
    #[serde(flatten)]
    said: Said,
    certificate: String,
    path: Option<PathBuf>,
    seed_path: Option<PathBuf>,
}

impl Output for Issued {
    fn text(&self) -> String {
        let Some(path) = &self.path else { return self.certificate.clone() };
        let mut lines = self.said.lines();
        lines.push(format!("file         {}", path.display()));
        lines.join("\n")
    }
}
