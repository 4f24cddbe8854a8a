//! `wattle cluster inspect`: what a certificate says, and whether it is good.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use wattle_identity::certificate::{Certificate, MAX_CERTIFICATE_LEN, read_chain, revoked_ids, verify_chain};

use super::{Said, settings};
use crate::artifacts::read_file;
use crate::client::state;
use crate::clock::now;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::output::{Output, note};
use crate::settings::host::{cluster_issuers, key};
use crate::settings::table::row;
use crate::settings::{Key, Layer, Origin, Settings};

/// Say what a certificate allows and to whom, and whether it is good now
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 when it is good, 1 when not. Lattice and issuers are compared with those that are named by \
                  flags, the environment or a host's config file, where they are.\n\
                  Example: wattle cluster inspect alice.jwt"
)]
pub(crate) struct InspectArgs {
    /// A file with a certificate (and that of its host, if that issued it), or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// A public cluster key (C…) that is trusted; repeat it [environment: WATTLE_CLUSTER_ISSUERS,
    /// WASMCLOUD_CLUSTER_ISSUERS]
    #[arg(long = "cluster-issuer", value_name = "KEY")]
    cluster_issuers: Vec<String>,
    /// Ask the lattice's state whether it was revoked
    #[arg(long)]
    revocations: bool,
    /// The JetStream domain of the lattice's state [environment: WATTLE_JS_DOMAIN, WASMCLOUD_JS_DOMAIN]
    #[arg(long, value_name = "TEXT")]
    js_domain: Option<String>,
    /// A host's config file [default: ./host_config.json, if it is there] [environment: WATTLE_CONFIG, HOST_CONFIG]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(args: InspectArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut flags = Layer::default();
    if !args.cluster_issuers.is_empty() {
        add(&mut flags, Key::ClusterIssuers, "cluster-issuer", &args.cluster_issuers.join(","))?;
    }
    if let Some(domain) = &args.js_domain {
        add(&mut flags, Key::JsDomain, "js-domain", domain)?;
    }
    let settings = settings(flags, args.config.as_deref(), context)?;
    let text = if args.file == "-" { standard_input()? } else { text_of(Path::new(&args.file))? };
    let chain = read_chain(&text).with_context(|| format!("{} is no certificate", args.file))?;
    let certificates: Vec<_> =
        chain.iter().map(|token| Certificate::decode_unverified(token)).collect::<Result<_, _>>()?;

    let named = trusted(&settings)?;
    let last = certificates.last().context("there is no certificate")?;
    let issuers = named.clone().unwrap_or_else(|| vec![last.issuer.clone()]);
    let lattice = settings.text(Key::Lattice).unwrap_or(&last.grant.lattice).to_owned();
    let revoked =
        if args.revocations { revoked(&settings, &issuers, context).await? } else { BTreeSet::new() };
    let verdict = verify_chain(&chain, &issuers, &lattice, now(), &revoked);
    let inspection = Inspection {
        valid: verdict.is_ok(),
        problem: verdict.err().map(|error| error.to_string()),
        issuer_compared: named.is_some(),
        revocations_asked: args.revocations,
        certificates: certificates.into_iter().map(Said::from).collect(),
    };
    context.print(&inspection)?;
    Ok(if inspection.valid { Exit::Success } else { Exit::Failed })
}

/// Adds a flag to a layer, checked as a setting is.
pub(super) fn add(layer: &mut Layer, key: Key, flag: &'static str, text: &str) -> anyhow::Result<()> {
    let Some(row) = row(key) else { return Ok(()) };
    let value = row.kind.parse(text).map_err(|why| usage(format!("--{flag}: {why}")))?;
    layer.add(key, value, Origin::Flag(flag));
    Ok(())
}

/// Reads a file of at most a few certificates.
pub(super) fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = read_file(path)?;
    String::from_utf8(bytes).with_context(|| format!("{} is no certificate", path.display()))
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let most = 4 * MAX_CERTIFICATE_LEN as u64;
    std::io::stdin().lock().take(most).read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

/// The cluster keys that someone named, if anyone did.
fn trusted(settings: &Settings) -> anyhow::Result<Option<Vec<String>>> {
    let own = key(settings, Key::ClusterSeed)?;
    Ok(Some(cluster_issuers(settings, own.as_ref())).filter(|issuers| !issuers.is_empty()))
}

/// What was revoked, as the lattice's state has it.
async fn revoked(
    settings: &Settings,
    issuers: &[String],
    context: &Context,
) -> anyhow::Result<BTreeSet<String>> {
    let store = state(settings, context).await?;
    let records = &store.snapshot().revocations;
    let found = revoked_ids(
        records.iter().map(|(issuer, token)| (issuer.as_str(), &**token)),
        issuers,
        store.lattice(),
    );
    for (issuer, problem) in &found.problems {
        note(format!("warning: the revocation that is kept for {issuer} counts for nothing: {problem}"));
    }
    Ok(found.ids)
}

/// What is said, and whether it holds.
#[derive(Debug, Serialize)]
struct Inspection {
    valid: bool,
    problem: Option<String>,
    /// Whether someone said which issuers are trusted.
    issuer_compared: bool,
    revocations_asked: bool,
    certificates: Vec<Said>,
}

impl Output for Inspection {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for (place, said) in self.certificates.iter().enumerate() {
            if place > 0 {
                lines.extend(["".to_owned(), "issued by".to_owned()]);
            }
            lines.extend(said.lines());
        }
        let compared = match (self.issuer_compared, self.revocations_asked) {
            (true, true) => "",
            (true, false) => " (revocations were not asked for: --revocations)",
            (false, true) => " if its issuer is trusted (--cluster-issuer)",
            (false, false) => {
                " if its issuer is trusted (--cluster-issuer); revocations were not asked for (--revocations)"
            }
        };
        lines.push(match &self.problem {
            None => format!("{:<13}yes{compared}", "good"),
            Some(problem) => format!("{:<13}NO: {problem}", "good"),
        });
        lines.join("\n")
    }
}
