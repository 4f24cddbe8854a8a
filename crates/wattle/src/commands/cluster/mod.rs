//! `wattle cluster`: who may be a member of a lattice, and what it may do there: certificates, issued, inspected and
//! revoked.

mod inspect;
mod issue;
mod revoke;
mod signer;

use std::path::Path;

pub(crate) use signer::SignerFlags;

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_identity::certificate::{Certificate, Ids};

use crate::clock::rfc3339;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::output::note;
use crate::settings::host::config_file;
use crate::settings::table::Row;
use crate::settings::{Key, Layer, Settings, env, file};

/// Issue, inspect and revoke the certificates of members
#[derive(Debug, Args)]
#[command(
    after_help = "The cluster key that signs is --cluster-key, else --cluster-seed, else that of WATTLE_CLUSTER_SEED, \
                  else the one in a host's config file: --config, or ./host_config.json if it is there."
)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Issue(Box<issue::IssueArgs>),
    Inspect(inspect::InspectArgs),
    Revoke(revoke::RevokeArgs),
}

/// Runs the command.
pub(crate) async fn run(args: ClusterArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        ClusterCommand::Issue(args) => issue::run(*args, context),
        ClusterCommand::Inspect(args) => inspect::run(args, context).await,
        ClusterCommand::Revoke(args) => revoke::run(args, context).await,
    }
}

/// The settings of a command that knows the cluster's keys: flags, the environment, and a host's config file.
///
/// # Errors
/// When one of them has a wrong value.
fn settings(flags: Layer, config: Option<&Path>, context: &Context) -> anyhow::Result<Settings> {
    let path = config_file(config.map(Path::to_owned), &context.variables);
    let from_file = path.as_deref().map(file::layer).transpose()?.unwrap_or_default();
    if let Some(path) = path.filter(|path| file::shows_a_secret(path, &from_file)) {
        let path = path.display();
        note(format!("warning: other users may read the secrets in {path}: chmod 600 {path}"));
    }
    let wanted = |row: &Row| env::connection(row) || env::cluster(row) || row.key == Key::JsDomain;
    let environment = env::layer(&context.variables, wanted)?;
    Ok(Settings::new([flags, context.connection.clone(), environment, from_file]))
}

/// Ids as people write them; `None` where they wrote none.
///
/// # Errors
/// When `all` or `none` stands beside other ids.
fn ids(flag: &str, words: &[String]) -> anyhow::Result<Option<Ids>> {
    let special = |word: &&String| *word == "all" || *word == "none";
    match words {
        [] => Ok(None),
        [word] if word == "all" => Ok(Some(Ids::All)),
        [word] if word == "none" => Ok(Some(Ids::none())),
        words => match words.iter().find(special) {
            Some(word) => Err(usage(format!("{flag}: `{word}` stands alone, not beside other ids"))),
            None => Ok(Some(Ids::only(words.iter().cloned()))),
        },
    }
}

/// What a certificate says, for people and programs.
#[derive(Debug, Serialize)]
struct Said {
    id: String,
    role: String,
    subject: String,
    lattice: String,
    answers_for: Ids,
    speaks_for: Ids,
    may_call: Ids,
    may_spy: Ids,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<String>,
    issuer: String,
    issued_at: u64,
    not_before: u64,
    expires: u64,
}

impl From<Certificate> for Said {
    fn from(certificate: Certificate) -> Self {
        let grant = certificate.grant;
        Self {
            id: certificate.id,
            role: grant.role.to_string(),
            subject: certificate.subject,
            lattice: grant.lattice,
            answers_for: grant.answers_for,
            speaks_for: grant.speaks_for,
            may_call: grant.may_call,
            may_spy: grant.may_spy,
            artifact: grant.artifact,
            issuer: certificate.issuer,
            issued_at: certificate.issued_at,
            not_before: certificate.not_before,
            expires: certificate.expires,
        }
    }
}

impl Said {
    /// One line for each thing that it says.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |label: &str, value: &str| lines.push(format!("{label:<13}{value}"));
        line("role", &self.role);
        line("member", &self.subject);
        line("lattice", &self.lattice);
        for (label, ids) in [
            ("answers for", &self.answers_for),
            ("speaks for", &self.speaks_for),
            ("may call", &self.may_call),
            ("may spy", &self.may_spy),
        ] {
            match ids {
                Ids::All => line(label, "all"),
                Ids::Only(ids) if ids.is_empty() => {}
                Ids::Only(ids) => line(label, &ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
            }
        }
        if let Some(artifact) = &self.artifact {
            line("artifact", artifact);
        }
        line("issuer", &self.issuer);
        line("valid", &format!("{} to {}", rfc3339(self.not_before), rfc3339(self.expires)));
        line("id", &self.id);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_and_none_stand_alone() {
        let read = |words: &[&str]| {
            ids("--may-call", &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["all"]).unwrap(), Some(Ids::All));
        assert_eq!(read(&["none"]).unwrap(), Some(Ids::none()));
        assert_eq!(read(&["a", "b", "a"]).unwrap(), Some(Ids::only(["a", "b"])));
        let error = read(&["a", "all"]).unwrap_err().to_string();
        assert!(error.contains("--may-call") && error.contains("`all`"), "{error}");
    }
}
