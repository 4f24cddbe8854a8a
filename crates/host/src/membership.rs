//! This host as a member of its lattice: its certificate, whose word it takes, and its seat from which it calls and is
//! called.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use wattle_identity::certificate::{Certificate, Grant, Ids, Role, revoked_ids};
use wattle_identity::keys::KeyPair;
use wattle_lattice::{Connection, Membership, Seat, SeatOptions, Snapshot};

use crate::calls::Incoming;
use crate::names::human_duration;
use crate::settings::{CertificateFile, ClusterSettings};
use crate::shared::Shared;

/// How often the certificate's age is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Why this host makes and takes no calls over the lattice, or soon won't; for the inventory.
#[derive(Default)]
pub(crate) struct SeatProblem(Mutex<Option<String>>);

impl SeatProblem {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the problem, or that there is none; logs what is news.
    fn set(&self, problem: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem {
            match &problem {
                Some(problem) => tracing::warn!(%problem, "calls over the lattice"),
                None => tracing::info!("calls over the lattice are as they should be"),
            }
            *known = problem;
        }
    }
}

/// The host's certificate, when it made it itself.
struct OwnCertificate {
    cluster_key: String,
    certificate: Certificate,
    token: String,
}

/// What a host needs to take its seat, and to keep it.
pub(crate) struct Member {
    pub(crate) key: KeyPair,
    pub(crate) cluster: watch::Receiver<ClusterSettings>,
    pub(crate) connection: Connection,
    own: Option<OwnCertificate>,
}

impl Member {
    pub(crate) fn new(
        key: KeyPair,
        cluster: watch::Receiver<ClusterSettings>,
        connection: Connection,
    ) -> Self {
        Self { key, cluster, connection, own: None }
    }

    /// The chain that this host shows, and what is to be said about it. With the cluster's key it is renewed here at two
    /// thirds of its life; otherwise the operator brings a new one in time.
    fn chain(
        &mut self,
        cluster: &ClusterSettings,
        lattice: &str,
        now: u64,
    ) -> Result<(Vec<String>, Option<String>), String> {
        if let Some(file) = &cluster.certificate {
            return Ok((file.chain.clone(), late(file, now)));
        }
        let Some(cluster_key) = &cluster.key else {
            return Err("this host has neither a cluster seed nor a certificate, so it makes and takes no calls over \
                        the lattice; give it one: wattle cluster issue"
                .to_owned());
        };
        let public = cluster_key.public_key();
        if self.own.as_ref().is_none_or(|own| own.cluster_key != public || is_old(&own.certificate, now)) {
            let grant = Grant {
                role: Role::Host,
                lattice: lattice.to_owned(),
                answers_for: Ids::All,
                speaks_for: Ids::All,
                may_call: Ids::default(),
                may_spy: Ids::default(),
                artifact: None,
            };
            let made = Certificate::new(cluster_key, &self.key.public_key(), grant, now)
                .and_then(|certificate| certificate.encode(cluster_key).map(|token| (certificate, token)));
            let (certificate, token) =
                made.map_err(|error| format!("this host can't certify itself: {error}"))?;
            self.own = Some(OwnCertificate { cluster_key: public, certificate, token });
        }
        Ok((self.own.iter().map(|own| own.token.clone()).collect(), None))
    }
}

/// At two thirds of its life.
fn is_old(certificate: &Certificate, now: u64) -> bool {
    let life = certificate.expires.saturating_sub(certificate.not_before);
    now >= certificate.not_before.saturating_add(life / 3 * 2)
}

/// A certificate that someone else has to renew is warned of from two thirds of its life on.
fn late(file: &CertificateFile, now: u64) -> Option<String> {
    let certificate = Certificate::decode_unverified(file.chain.first()?).ok()?;
    let path = file.path.display();
    match certificate.expires.checked_sub(now) {
        None | Some(0) => Some(format!(
            "the certificate of this host has ended, so other hosts refuse it; issue a new one and put it in the place \
             of {path}"
        )),
        Some(left) if is_old(&certificate, now) => {
            let left = human_duration(Duration::from_secs(left));
            Some(format!(
                "the certificate of this host ends in {left}; issue a new one and put it in the place of {path}"
            ))
        }
        Some(_) => None,
    }
}

/// Waits for the operator to change something; for ever, where nobody follows what the operator says.
async fn news(cluster: &mut watch::Receiver<ClusterSettings>) {
    if cluster.changed().await.is_err() {
        std::future::pending().await
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What was revoked by those whose word counts.
fn revoked(snapshot: &Snapshot, issuers: &[String], lattice: &str) -> BTreeSet<String> {
    let records = snapshot.revocations.iter();
    let revoked = revoked_ids(records.map(|(issuer, token)| (issuer.as_str(), &**token)), issuers, lattice);
    for (issuer, error) in revoked.problems {
        tracing::debug!(%issuer, %error, "a revocation in the lattice's state does not count");
    }
    revoked.ids
}

impl Shared {
    /// Takes the host's seat and keeps it: renews its certificate, and follows what the operator and the lattice say of
    /// whom to believe.
    pub(crate) async fn keep_seat(self: Arc<Self>, mut member: Member) {
        let mut snapshots = self.store.watch();
        let mut last = None;
        loop {
            let cluster = member.cluster.borrow_and_update().clone();
            let snapshot = snapshots.borrow_and_update().clone();
            let problem = match self.membership(&mut member, &cluster, &snapshot) {
                Err(problem) => Some(problem),
                Ok((membership, warning)) => {
                    let now =
                        (membership.chain.clone(), membership.issuers.clone(), membership.revoked.clone());
                    let news = last.as_ref() != Some(&now);
                    match if news { self.take_seat(&member, membership).await } else { Ok(()) } {
                        Ok(()) => {
                            last = Some(now);
                            warning
                        }
                        Err(problem) => Some(problem),
                    }
                }
            };
            self.seat_problem.set(problem);
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = news(&mut member.cluster) => {}
                changed = snapshots.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn membership(
        &self,
        member: &mut Member,
        cluster: &ClusterSettings,
        snapshot: &Snapshot,
    ) -> Result<(Membership, Option<String>), String> {
        let (chain, warning) = member.chain(cluster, self.lattice(), now())?;
        let revoked = revoked(snapshot, &cluster.issuers, self.lattice());
        let membership =
            Membership { key: member.key.clone(), chain, issuers: cluster.issuers.clone(), revoked };
        Ok((membership, warning))
    }

    async fn take_seat(self: &Arc<Self>, member: &Member, membership: Membership) -> Result<(), String> {
        let seat = self.seat.load_full();
        if let Some(seat) = seat {
            return seat.set_membership(membership).map_err(|error| {
                format!("the new certificate or issuers can't be used, the old ones stay: {error}")
            });
        }
        let options = SeatOptions::new(self.lattice());
        let service = Arc::new(Incoming(Arc::downgrade(self)));
        let seat = Seat::join(&member.connection, options, membership, service)
            .await
            .map_err(|error| format!("this host makes and takes no calls over the lattice: {error}"))?;
        tracing::info!(member = %seat.address(), "calls over the lattice are sealed");
        self.seat.store(Some(Arc::new(seat)));
        // What starts from now on finds the seat.
        for component in self.components.all() {
            self.tell_seat(&component.id);
        }
        Ok(())
    }

    /// Tells the seat whether a component runs here, once that has changed. One after another, so that the last word is
    /// the truth: of two at the same moment, the later one looks after both changes.
    pub(crate) fn tell_seat(&self, id: &str) {
        let _one_at_a_time = self.telling_seat.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = self.seat.load();
        match seat.as_ref() {
            Some(seat) if self.components.get(id).is_some() => seat.serve(id),
            Some(seat) => seat.unserve(id),
            None => {}
        }
    }
}
