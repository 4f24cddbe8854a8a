//! Member certificates: who may take part in a lattice, in which role, and what it may do there.
//!
//! A certificate is a compact JSON Web Token with the header of [claims](crate::claims). A cluster key (`C…`) signs it,
//! or a host's key (`N…`) for a provider that the host runs. A host's member key is its `N…` key. A provider process and
//! a client have a user key (`U…`): a provider's `V…` key stays with its author and says what an archive is, not which
//! process this is.
//!
//! Unlike in claims, a field that is not known is refused: it may be a restriction.

mod chain;
mod ids;
mod revocation;

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::claims::token;
use crate::keys::{self, KeyKind, KeyPair};

pub use chain::{Member, read_chain, verify_chain};
pub use ids::{Ids, MAX_IDS};
pub use revocation::{MAX_REVOCATION_LEN, MAX_REVOKED, Revocation, RevokedIds, revoked_ids};

/// How long a certificate is valid unless said otherwise: 30 days, in seconds.
pub const DEFAULT_LIFE: u64 = 30 * 24 * 60 * 60;

/// By how much clocks may differ when validity is checked, in seconds.
pub const CLOCK_TOLERANCE: u64 = 60;

/// Longest certificate accepted, in bytes.
pub const MAX_CERTIFICATE_LEN: usize = 8 * 1024;

/// Longest id of a component, provider, lattice or certificate in a certificate, in bytes.
pub const MAX_NAME_LEN: usize = 200;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs components and providers; its key is an `N…` key.
    Host,
    /// The process of a capability provider; its key is a `U…` key of its own.
    Provider,
    /// Calls, and is never called; its key is a `U…` key.
    Client,
}

impl Role {
    /// The kind of key that a member of this role has.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Host => KeyKind::Host,
            Self::Provider | Self::Client => KeyKind::User,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::Provider => "provider",
            Self::Client => "client",
        })
    }
}

/// What a certificate allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What the holder is.
    pub role: Role,
    /// The lattice in which it is that.
    pub lattice: String,
    /// The components and providers for which it may take calls.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub answers_for: Ids,
    /// The components and providers in whose name it may call.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub speaks_for: Ids,
    /// The components and providers that a client may call; what others call is a matter of links.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub may_call: Ids,
    /// The components and providers whose calls a client may watch.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub may_spy: Ids,
    /// Public key (`V…`) of the archive that a provider runs from: a note for people, which nothing is decided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
}

impl Grant {
    /// For a host, without limits: it may answer and speak for everything.
    pub fn host(lattice: &str) -> Self {
        let everything = Self::nothing(Role::Host, lattice);
        Self { answers_for: Ids::All, speaks_for: Ids::All, ..everything }
    }

    /// For the process of a provider, which answers and speaks for one id.
    pub fn provider(lattice: &str, id: &str) -> Self {
        let ids = Ids::only([id]);
        Self { answers_for: ids.clone(), speaks_for: ids, ..Self::nothing(Role::Provider, lattice) }
    }

    /// For a client, which may call these targets.
    pub fn client(lattice: &str, may_call: Ids) -> Self {
        Self { may_call, ..Self::nothing(Role::Client, lattice) }
    }

    fn nothing(role: Role, lattice: &str) -> Self {
        Self {
            role,
            lattice: lattice.to_owned(),
            answers_for: Ids::none(),
            speaks_for: Ids::none(),
            may_call: Ids::none(),
            may_spy: Ids::none(),
            artifact: None,
        }
    }

    fn check(&self) -> Result<(), Error> {
        check_name("lattice", &self.lattice)?;
        for ids in [&self.answers_for, &self.speaks_for, &self.may_call, &self.may_spy] {
            ids.check()?;
        }
        let wrong = |what, reason| Err(Error::WrongGrant { role: self.role, what, reason });
        if self.role != Role::Client && !(self.may_call.is_empty() && self.may_spy.is_empty()) {
            return wrong("`may_call` or `may_spy`", "they are for clients, others call by their links");
        }
        if self.role == Role::Client && !(self.answers_for.is_empty() && self.speaks_for.is_empty()) {
            return wrong("`answers_for` or `speaks_for`", "a client speaks only for itself");
        }
        if self.role == Role::Provider && (self.answers_for == Ids::All || self.speaks_for == Ids::All) {
            return wrong("`all`", "list the ids that it answers and speaks for");
        }
        match &self.artifact {
            Some(_) if self.role != Role::Provider => wrong("`artifact`", "only a provider has one"),
            Some(key) if !keys::public_key_kind(key).is_ok_and(|kind| kind == KeyKind::Provider) => {
                Err(malformed(format!("its artifact `{key}` is not a provider key (V…)")))
            }
            _ => Ok(()),
        }
    }
}

/// The statements of one certificate. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// When it stops being valid.
    #[serde(rename = "exp")]
    pub expires: u64,
    /// When it was made.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// Public key that signs it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Differs from one certificate to the next; revocations name it.
    #[serde(rename = "jti")]
    pub id: String,
    /// When it begins to be valid.
    #[serde(rename = "nbf")]
    pub not_before: u64,
    /// Public key of the member.
    #[serde(rename = "sub")]
    pub subject: String,
    /// What it allows.
    #[serde(rename = "member")]
    pub grant: Grant,
}

impl Certificate {
    /// A new certificate with a random id, valid from `now` for [`DEFAULT_LIFE`] (set
    /// [`not_before`](Self::not_before) and [`expires`](Self::expires) to change that). [`encode`](Self::encode) signs
    /// it. For a provider that a host certifies, see [`Member::certify_provider`].
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random numbers.
    pub fn new(issuer: &KeyPair, subject: &str, grant: Grant, now: u64) -> Result<Self, Error> {
        Ok(Self {
            expires: now.saturating_add(DEFAULT_LIFE),
            issued_at: now,
            issuer: issuer.public_key(),
            id: random_id()?,
            not_before: now,
            subject: subject.to_owned(),
            grant,
        })
    }

    /// Signs the certificate.
    ///
    /// # Errors
    /// [`Error::IssuerMismatch`], [`Error::WrongCertificateIssuer`], [`Error::NotDelegable`], [`Error::WrongMemberKey`],
    /// [`Error::WrongGrant`], [`Error::NeverValid`] or [`Error::MalformedCertificate`] when the result could not be
    /// verified at any time.
    pub fn encode(&self, issuer: &KeyPair) -> Result<String, Error> {
        if self.issuer != issuer.public_key() {
            return Err(Error::IssuerMismatch { claims: self.issuer.clone(), key: issuer.public_key() });
        }
        self.check()?;
        let token = token::encode(self, issuer).map_err(certificate_error)?;
        check_length(&token)?;
        Ok(token)
    }

    /// Reads a certificate without believing it: its form is checked, and that it could be valid; but neither
    /// signature, time nor issuer.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), but for the mismatch.
    pub fn decode_unverified(token: &str) -> Result<Self, Error> {
        Ok(Signed::read(token)?.certificate)
    }

    /// When two thirds of its life are over: time to renew it.
    pub fn renew_at(&self) -> u64 {
        self.expires - self.expires.saturating_sub(self.not_before) / 3
    }

    fn is_issued_by(&self, kind: KeyKind) -> bool {
        keys::public_key_kind(&self.issuer).is_ok_and(|found| found == kind)
    }

    /// All that can be said about a certificate by itself.
    fn check(&self) -> Result<(), Error> {
        let role = self.grant.role;
        check_name("id", &self.id)?;
        if !keys::public_key_kind(&self.subject).is_ok_and(|kind| kind == role.key_kind()) {
            return Err(Error::WrongMemberKey { role, key: self.subject.clone() });
        }
        if self.is_issued_by(KeyKind::Host) {
            if role != Role::Provider {
                return Err(Error::NotDelegable { issuer: self.issuer.clone(), role });
            }
        } else if !self.is_issued_by(KeyKind::Cluster) {
            return Err(Error::WrongCertificateIssuer { issuer: self.issuer.clone() });
        }
        if self.expires <= self.not_before {
            return Err(Error::NeverValid { not_before: self.not_before, expires: self.expires });
        }
        self.grant.check()
    }

    fn check_time(&self, now: u64) -> Result<(), Error> {
        let subject = || self.subject.clone();
        if now >= self.expires.saturating_add(CLOCK_TOLERANCE) {
            return Err(Error::CertificateExpired { subject: subject(), expires: self.expires, now });
        }
        if now.saturating_add(CLOCK_TOLERANCE) < self.not_before {
            let not_before = self.not_before;
            return Err(Error::CertificateNotYetValid { subject: subject(), not_before, now });
        }
        Ok(())
    }
}

/// A certificate as it was read, with what is needed to check its signature.
struct Signed<'a> {
    certificate: Certificate,
    parts: token::Parts<'a>,
}

impl<'a> Signed<'a> {
    fn read(token: &'a str) -> Result<Self, Error> {
        check_length(token)?;
        let parts = token::split(token).map_err(certificate_error)?;
        let certificate: Certificate = parts.claims().map_err(certificate_error)?;
        certificate.check()?;
        Ok(Self { certificate, parts })
    }

    fn verify(&self) -> Result<(), Error> {
        keys::verify(&self.certificate.issuer, self.parts.signed, &self.parts.signature)
    }
}

fn random_id() -> Result<String, Error> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| Error::Random)?;
    Ok(data_encoding::BASE32_NOPAD.encode(&id))
}

fn check_length(token: &str) -> Result<(), Error> {
    if token.len() > MAX_CERTIFICATE_LEN {
        return Err(malformed(format!("it has {} bytes, more than {MAX_CERTIFICATE_LEN}", token.len())));
    }
    Ok(())
}

/// Ids and lattices become parts of NATS subjects, so they are words of one kind everywhere.
fn check_name(field: &str, name: &str) -> Result<(), Error> {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if word && (1..=MAX_NAME_LEN).contains(&name.len()) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(malformed(format!("its {field} `{shown}` is not 1 to {MAX_NAME_LEN} letters, digits, `_` and `-`")))
}

fn malformed(reason: String) -> Error {
    Error::MalformedCertificate { reason }
}

/// Certificates and claims are the same kind of token, but people should hear which of them is bad.
fn certificate_error(error: Error) -> Error {
    match error {
        Error::MalformedToken { reason } => malformed(reason),
        other => other,
    }
}

#[cfg(test)]
mod tests;
