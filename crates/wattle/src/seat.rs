//! A seat among the members of a lattice, for commands that call.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wattle_identity::certificate::{Certificate, Grant, Ids, Role, read_chain};
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_lattice::{Incoming, Membership, Outcome, Reason, Seat, SeatOptions, Service, async_trait};

use crate::client::connection;
use crate::clock::now;
use crate::commands::cluster::SignerFlags;
use crate::context::Context;
use crate::keystore::KeyStore;
use crate::settings::{Key, Layer, Settings, connect};

/// How long NATS may take to answer.
const REPLY: Duration = Duration::from_secs(5);
/// How long a certificate is good that is made for one command, in seconds.
const CERTIFICATE_TIME: u64 = 300;

/// As whom a command calls.
#[derive(Debug, Args)]
pub(crate) struct ClientFlags {
    /// A client's certificate, from a file
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate: its name, or a file with its seed
    #[arg(long, value_name = "NAME|FILE", requires = "certificate")]
    key: Option<String>,
    #[command(flatten)]
    signer: SignerFlags,
}

impl ClientFlags {
    /// Joins the lattice as a client, and says as whom: as the certificate says that is named; otherwise, with the
    /// cluster's key, as one that is made for this command, with the rights that it needs.
    ///
    /// # Errors
    /// When there is neither, one of them is no good, or NATS can't be reached.
    pub(crate) async fn join(
        &self,
        rights: impl FnOnce(&mut Grant),
        context: &Context,
    ) -> anyhow::Result<(Seat, Arc<str>)> {
        let settings = self.signer.settings(Layer::default(), context)?;
        let lattice = connect::lattice(&settings);
        let membership = self.membership(&settings, &lattice, rights, context)?;
        let source = membership.key.public_key().into();
        let connection = connection(&settings, context.timeout_or(REPLY)).await?;
        let options = SeatOptions::new(&lattice);
        Ok((Seat::join(&connection, options, membership, Arc::new(Nobody)).await?, source))
    }

    fn membership(
        &self,
        settings: &Settings,
        lattice: &str,
        rights: impl FnOnce(&mut Grant),
        context: &Context,
    ) -> anyhow::Result<Membership> {
        let (key, chain) = match (&self.certificate, &self.key) {
            (Some(path), Some(key)) => {
                let key = KeyStore::of(&context.variables)?.named_or_in_file(key, KeyKind::User)?;
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read the certificate {}", path.display()))?;
                let chain =
                    read_chain(&text).with_context(|| format!("{} is no certificate", path.display()))?;
                (key, chain)
            }
            _ => certified(&self.signer.key(settings, context)?, lattice, rights)?,
        };
        let mut issuers = settings.list(Key::ClusterIssuers).unwrap_or_default().to_vec();
        if issuers.is_empty() {
            // Whoever handed out the certificate is believed for hosts, too.
            let last = chain.last().context("the file holds no certificate")?;
            issuers.push(Certificate::decode_unverified(last)?.issuer);
        }
        Ok(Membership { key, chain, issuers, revoked: BTreeSet::new() })
    }
}

/// A new client.
fn certified(
    cluster: &KeyPair,
    lattice: &str,
    rights: impl FnOnce(&mut Grant),
) -> anyhow::Result<(KeyPair, Vec<String>)> {
    let key = KeyPair::generate(KeyKind::User)?;
    let mut grant = Grant {
        role: Role::Client,
        lattice: lattice.to_owned(),
        answers_for: Ids::default(),
        speaks_for: Ids::default(),
        may_call: Ids::default(),
        may_spy: Ids::default(),
        artifact: None,
    };
    rights(&mut grant);
    let mut certificate = Certificate::new(cluster, &key.public_key(), grant, now())?;
    certificate.expires = certificate.not_before + CERTIFICATE_TIME;
    let token = certificate.encode(cluster)?;
    Ok((key, vec![token]))
}

/// A client is called by nobody.
struct Nobody;

#[async_trait]
impl Service for Nobody {
    async fn serve(&self, _: Incoming) -> Outcome {
        Outcome::Refused { reason: Reason::NotHere, message: "this is a client".to_owned() }
    }

    fn load(&self, _: &str) -> Option<u16> {
        None
    }
}
