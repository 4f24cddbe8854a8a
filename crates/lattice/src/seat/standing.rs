//! What this member is at the moment, and whom it trusts. It is replaced as a whole when the certificate is renewed or
//! trust changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use wattle_identity::KeyPair;
use wattle_seal::{InstanceId, Local, Trust, Wall};

use crate::Error;

/// A member of a lattice: its key, what proves that it is one, and whom it believes.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The member key.
    pub key: KeyPair,
    /// Its certificates, the member's own first.
    pub chain: Vec<String>,
    /// Public keys (`C…`) of the cluster keys whose certificates count.
    pub issuers: Vec<String>,
    /// Ids of the certificates that were revoked.
    pub revoked: BTreeSet<String>,
}

/// A membership that was checked, for one process.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) local: Local,
    pub(crate) key: KeyPair,
    /// The certificates that it shows, its own first.
    pub(crate) chain: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) revoked: BTreeSet<String>,
}

/// The standing that all parts of a seat share.
pub(crate) type SharedStanding = Arc<arc_swap::ArcSwap<Standing>>;

impl Standing {
    /// Checks a membership.
    ///
    /// # Errors
    /// [`Error::Membership`] when other members would not accept it.
    pub(crate) fn new(
        membership: Membership,
        instance: InstanceId,
        lattice: &str,
        wall: Wall,
    ) -> Result<Self, Error> {
        let Membership { key, chain, issuers, revoked } = membership;
        let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };
        let local = Local::new(key.clone(), &chain, instance, lattice, &trust, wall)?;
        Ok(Self { local, key, chain, issuers, revoked })
    }

    /// Whom to believe.
    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust { cluster_issuers: &self.issuers, revoked: &self.revoked }
    }
}
