//! `wattle cluster revoke`: certificates that are no longer good, written into the lattice's state.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use wattle_identity::certificate::{Certificate, MAX_NAME_LEN, Revocation, read_chain};
use wattle_identity::keys::KeyPair;

use super::inspect::{add, text_of};
use super::signer::SignerFlags;
use crate::client::state;
use crate::clock::now;
use crate::context::Context;
use crate::failure::{Exit, not_found, usage};
use crate::output::{Output, note, table};
use crate::settings::{Key, Layer, connect};

/// Revoke certificates: hosts end their sessions with who has them, and begin no new ones
#[derive(Debug, Args)]
#[command(after_help = "A revocation has no end. What was revoked before stays revoked.\n\
                  Example: wattle cluster revoke alice.jwt")]
pub(crate) struct RevokeArgs {
    /// The id of a certificate, or a file with it
    #[arg(value_name = "ID|FILE", required = true)]
    certificates: Vec<String>,
    /// The JetStream domain of the lattice's state [environment: WATTLE_JS_DOMAIN, WASMCLOUD_JS_DOMAIN]
    #[arg(long, value_name = "TEXT")]
    js_domain: Option<String>,
    #[command(flatten)]
    signer: SignerFlags,
}

/// Runs the command.
pub(super) async fn run(args: RevokeArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut flags = Layer::default();
    if let Some(domain) = &args.js_domain {
        add(&mut flags, Key::JsDomain, "js-domain", domain)?;
    }
    let settings = args.signer.settings(flags, context)?;
    let cluster = args.signer.key(&settings, context)?;
    let lattice = connect::lattice(&settings);
    let wanted: BTreeSet<String> =
        args.certificates.iter().map(|named| id_of(named, &lattice)).collect::<anyhow::Result<_>>()?;

    let store = state(&settings, context).await?;
    let issuer = cluster.public_key();
    let mut merged = Merged::default();
    let edit = store.edit_revocation(&issuer, |stored| {
        merged = Merged::of(stored, &wanted, &cluster, &lattice);
        merged.sign(&cluster, &lattice)
    });
    edit.await?;
    if let Some(problem) = &merged.problem {
        note(format!(
            "warning: what was kept as this key's revocation revoked nothing, and is replaced: {problem}"
        ));
    }
    context.print(&Revoked {
        lattice,
        issuer,
        revoked: merged.new,
        already: merged.again,
        total: merged.total,
    })
}

/// The id of a certificate that a person named by it, or by a file.
fn id_of(named: &str, lattice: &str) -> anyhow::Result<String> {
    let path = Path::new(named);
    if path.is_file() {
        let no_certificate = || format!("{named} is no certificate");
        let chain = read_chain(&text_of(path)?).with_context(no_certificate)?;
        let own = chain.first().with_context(no_certificate)?;
        let own = Certificate::decode_unverified(own).with_context(no_certificate)?;
        if own.grant.lattice != lattice {
            return Err(usage(format!(
                "{named} is a certificate for the lattice `{}`, and this is `{lattice}` (--lattice)",
                own.grant.lattice
            )));
        }
        return Ok(own.id);
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=MAX_NAME_LEN).contains(&named.len()) && named.bytes().all(letter) {
        return Ok(named.to_owned());
    }
    Err(not_found(format!("there is no file {named}, and it is not the id of a certificate")))
}

/// The earlier revocation of a key and the wanted one, together.
#[derive(Debug, Default)]
struct Merged {
    /// Revoked before, wanted or not.
    known: Vec<String>,
    /// Wanted, and revoked before.
    again: Vec<String>,
    /// Wanted, and not revoked before.
    new: Vec<String>,
    /// How many are revoked in the end.
    total: usize,
    /// Why what was stored counts for nothing.
    problem: Option<String>,
}

impl Merged {
    fn of(stored: Option<&str>, wanted: &BTreeSet<String>, cluster: &KeyPair, lattice: &str) -> Self {
        let earlier = stored.map(|token| Revocation::verify(token, &[cluster.public_key()], lattice));
        let (known, problem) = match earlier {
            None => (Vec::new(), None),
            Some(Ok(revocation)) => (revocation.revoked, None),
            Some(Err(error)) => (Vec::new(), Some(error.to_string())),
        };
        let (again, new): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|id| known.contains(id));
        Self { total: known.len() + new.len(), known, again, new, problem }
    }

    /// The token that revokes all of them; `None` when the stored one does.
    fn sign(&self, cluster: &KeyPair, lattice: &str) -> anyhow::Result<Option<String>> {
        if self.new.is_empty() {
            return Ok(None);
        }
        let all = self.known.iter().chain(&self.new).cloned().collect();
        let token = Revocation::new(cluster, lattice, all, now())?.encode(cluster);
        token
            .map(Some)
            .context("the revocation cannot be signed (with a new cluster key, all is issued anew)")
    }
}

/// What was revoked.
#[derive(Debug, Serialize)]
struct Revoked {
    lattice: String,
    issuer: String,
    /// Those that were good until now.
    revoked: Vec<String>,
    /// Those that were revoked before.
    already: Vec<String>,
    /// How many this key has revoked in all.
    total: usize,
}

impl Output for Revoked {
    fn text(&self) -> String {
        let rows = |ids: &[String], state: &str| -> Vec<_> {
            ids.iter().map(|id| [id.clone(), state.to_owned()]).collect()
        };
        let rows =
            rows(&self.revoked, "revoked").into_iter().chain(rows(&self.already, "was revoked before"));
        let table = table(["CERTIFICATE", "STATE"], rows, "nothing is revoked");
        format!("{table}\n\n{} has revoked {} in lattice {}", self.issuer, self.total, self.lattice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_identity::keys::KeyKind;

    fn wanted(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn what_was_revoked_stays_revoked() {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let first = Merged::of(None, &wanted(&["a", "b"]), &cluster, "lab");
        let token = first.sign(&cluster, "lab").unwrap().unwrap();
        let second = Merged::of(Some(&token), &wanted(&["b", "c"]), &cluster, "lab");
        assert_eq!(
            (second.new.as_slice(), second.again.as_slice()),
            (&["c".to_owned()][..], &["b".to_owned()][..])
        );
        let token = second.sign(&cluster, "lab").unwrap().unwrap();
        let all = Revocation::verify(&token, &[cluster.public_key()], "lab").unwrap().revoked;
        assert_eq!((all, second.total), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 3));
        assert_eq!(
            Merged::of(Some(&token), &wanted(&["a"]), &cluster, "lab").sign(&cluster, "lab").unwrap(),
            None
        );
    }

    #[test]
    fn what_another_key_signed_is_not_merged() {
        let (cluster, other) =
            (KeyPair::generate(KeyKind::Cluster).unwrap(), KeyPair::generate(KeyKind::Cluster).unwrap());
        let foreign = Merged::of(None, &wanted(&["x"]), &other, "lab").sign(&other, "lab").unwrap().unwrap();
        let merged = Merged::of(Some(&foreign), &wanted(&["a"]), &cluster, "lab");
        assert!(merged.problem.is_some());
        assert_eq!(merged.new, ["a"]);
        assert_eq!(merged.total, 1);
    }

    #[test]
    fn an_id_is_told_from_a_file_that_is_missing() {
        assert_eq!(id_of("ABC", "lab").unwrap(), "ABC");
        assert!(id_of("no/such.jwt", "lab").unwrap_err().to_string().contains("no/such.jwt"));
    }
}
