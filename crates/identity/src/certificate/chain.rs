//! Chains of certificates: a member's own, and that of its host if the host signed it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Certificate, DEFAULT_LIFE, Grant, Ids, Role, Signed};
use crate::Error;
use crate::keys::{KeyKind, KeyPair};

/// A member whose chain was verified. It can't be made in another way than by [`verify_chain`]. Clones share one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    own: Arc<Certificate>,
    host: Option<Arc<Certificate>>,
}

/// Checks the chain that a member showed, its own certificate first: form, trust, lattice, revocation, times (in seconds
/// since the Unix epoch, with [`CLOCK_TOLERANCE`](super::CLOCK_TOLERANCE)), what the host may delegate, and last the
/// signatures. That the member holds the key is for a handshake to show.
///
/// # Errors
/// One variant for each reason: [`Error::EmptyChain`], [`Error::ChainTooLong`], [`Error::MalformedCertificate`],
/// [`Error::WrongMemberKey`], [`Error::WrongCertificateIssuer`], [`Error::NotDelegable`], [`Error::WrongGrant`],
/// [`Error::NeverValid`], [`Error::MissingIssuer`], [`Error::BrokenChain`],
/// [`Error::WrongLattice`], [`Error::ExceedsIssuer`], [`Error::OutlivesIssuer`], [`Error::UntrustedIssuer`],
/// [`Error::CertificateExpired`], [`Error::CertificateNotYetValid`], [`Error::Revoked`], [`Error::BadSignature`].
pub fn verify_chain<T: AsRef<str>>(
    chain: &[T],
    cluster_issuers: &[String],
    lattice: &str,
    now: u64,
    revoked: &BTreeSet<String>,
) -> Result<Member, Error> {
    let (own, host) = match chain {
        [] => return Err(Error::EmptyChain),
        [own] => (Signed::read(own.as_ref())?, None),
        [own, host] => (Signed::read(own.as_ref())?, Some(Signed::read(host.as_ref())?)),
        more => return Err(Error::ChainTooLong { found: more.len() }),
    };
    match &host {
        Some(host) => check_delegation(&own.certificate, &host.certificate)?,
        None if own.certificate.is_issued_by(KeyKind::Host) => {
            return Err(Error::MissingIssuer { issuer: own.certificate.issuer });
        }
        None => {}
    }
    // Signatures last: whoever floods a member with made-up chains shall not make it do the costly part.
    let shared = |signed: &Signed<'_>| Arc::new(signed.certificate.clone());
    let member = Member { own: shared(&own), host: host.as_ref().map(shared) };
    if let Some(other) = member.certificates().find(|certificate| certificate.grant.lattice != lattice) {
        let found = other.grant.lattice.clone();
        return Err(Error::WrongLattice { expected: lattice.to_owned(), found });
    }
    member.check(cluster_issuers, now, revoked)?;
    host.as_ref().map_or(Ok(()), Signed::verify)?;
    own.verify()?;
    Ok(member)
}

/// Reads the text of a file with a chain: one certificate a line, the member's own first. Nothing is believed yet; see
/// [`verify_chain`].
///
/// # Errors
/// [`Error::EmptyChain`], [`Error::ChainTooLong`], and as [`Certificate::decode_unverified`].
pub fn read_chain(text: &str) -> Result<Vec<String>, Error> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines().count() {
        0 => return Err(Error::EmptyChain),
        1 | 2 => {}
        found => return Err(Error::ChainTooLong { found }),
    }
    lines().map(|line| Certificate::decode_unverified(line).map(|_| line.to_owned())).collect()
}

/// What a host may delegate. That the issuer is a host, and one which a cluster key certified, follows from the kinds of
/// keys: [`Certificate::decode_unverified`] refuses any other.
fn check_delegation(own: &Certificate, host: &Certificate) -> Result<(), Error> {
    let issuer = || own.issuer.clone();
    if own.issuer != host.subject {
        return Err(Error::BrokenChain { issuer: issuer(), shown: host.subject.clone() });
    }
    let exceeds = |ids: &Ids, allowed: &Ids, verb| {
        let id = ids.first_not_in(allowed)?;
        Some(Error::ExceedsIssuer { issuer: issuer(), verb, id: id.to_owned() })
    };
    // A provider speaks in the name of what it is, so what it may speak for, its host must both answer and speak for.
    let (grant, limits) = (&own.grant, &host.grant);
    let excess = exceeds(&grant.answers_for, &limits.answers_for, "answer for")
        .or_else(|| exceeds(&grant.speaks_for, &limits.answers_for, "speak for"))
        .or_else(|| exceeds(&grant.speaks_for, &limits.speaks_for, "speak for"));
    if let Some(excess) = excess {
        return Err(excess);
    }
    if own.expires > host.expires {
        let (expires, issuer_expires) = (own.expires, host.expires);
        return Err(Error::OutlivesIssuer { issuer: issuer(), expires, issuer_expires });
    }
    Ok(())
}

impl Member {
    /// Public key of the member.
    pub fn key(&self) -> &str {
        &self.own.subject
    }

    /// What the member is.
    pub fn role(&self) -> Role {
        self.own.grant.role
    }

    /// The lattice of which it is a member.
    pub fn lattice(&self) -> &str {
        &self.own.grant.lattice
    }

    /// The member's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.own
    }

    /// The host that certified the member, if not a cluster key did.
    pub fn host(&self) -> Option<&str> {
        self.host.as_ref().map(|host| host.subject.as_str())
    }

    /// The cluster key at the end of the chain.
    pub fn cluster_issuer(&self) -> &str {
        &self.host.as_ref().unwrap_or(&self.own).issuer
    }

    /// End of the chain's validity, in seconds since the Unix epoch, before any tolerance.
    pub fn expires(&self) -> u64 {
        self.certificates().map(|certificate| certificate.expires).fold(u64::MAX, u64::min)
    }

    /// Whether the member may call in the name of a component or provider. Its own public key is a name, too, and every
    /// member may speak for that.
    pub fn may_speak_for(&self, id: &str) -> bool {
        id == self.own.subject || self.own.grant.speaks_for.contains(id)
    }

    /// Whether the member may take calls for a component or provider.
    pub fn may_answer_for(&self, id: &str) -> bool {
        self.own.grant.answers_for.contains(id)
    }

    /// Whether the member's certificate lets it call a component or provider. A client's lists its targets; for hosts and
    /// providers links decide, so here nothing is in their way.
    pub fn may_call(&self, target: &str) -> bool {
        match self.own.grant.role {
            Role::Client => self.own.grant.may_call.contains(target),
            Role::Host | Role::Provider => true,
        }
    }

    /// Whether the member is a client that may watch the calls of a component or provider.
    pub fn may_spy(&self, target: &str) -> bool {
        self.own.grant.may_spy.contains(target)
    }

    /// Checks again what changes with time: that the cluster key is still trusted, that no certificate of the chain has
    /// expired or was revoked. Signatures stay good and are not looked at.
    ///
    /// # Errors
    /// [`Error::UntrustedIssuer`], [`Error::CertificateExpired`], [`Error::CertificateNotYetValid`],
    /// [`Error::Revoked`].
    pub fn check(
        &self,
        cluster_issuers: &[String],
        now: u64,
        revoked: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let issuer = self.cluster_issuer();
        if !cluster_issuers.iter().any(|trusted| trusted == issuer) {
            return Err(Error::UntrustedIssuer { issuer: issuer.to_owned() });
        }
        for certificate in self.certificates() {
            certificate.check_time(now)?;
            if revoked.contains(&certificate.id) {
                let (subject, id) = (certificate.subject.clone(), certificate.id.clone());
                return Err(Error::Revoked { subject, id });
            }
        }
        Ok(())
    }

    /// Certifies, as this host and with its key, the process of a provider that it runs. The certificate is valid from
    /// `now` for [`DEFAULT_LIFE`], but not for longer than the host's; the process shows it with the host's.
    ///
    /// # Errors
    /// [`Error::CannotCertify`] when this is no host that a cluster key certified or `key` is not its; otherwise as
    /// [`verify_chain`] and [`Certificate::encode`], when the grant is more than the host has.
    pub fn certify_provider(
        &self,
        key: &KeyPair,
        subject: &str,
        grant: Grant,
        now: u64,
    ) -> Result<String, Error> {
        let cannot = |reason| Err(Error::CannotCertify { key: key.public_key(), reason });
        if self.own.grant.role != Role::Host {
            return cannot("only a host can");
        }
        if key.public_key() != self.own.subject {
            return cannot("it is not the key of this host's certificate");
        }
        if grant.lattice != self.own.grant.lattice {
            let (expected, found) = (self.own.grant.lattice.clone(), grant.lattice);
            return Err(Error::WrongLattice { expected, found });
        }
        let mut certificate = Certificate::new(key, subject, grant, now)?;
        certificate.expires = now.saturating_add(DEFAULT_LIFE).min(self.own.expires);
        check_delegation(&certificate, &self.own)?;
        certificate.encode(key)
    }

    fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.own).chain(&self.host).map(Arc::as_ref)
    }
}
