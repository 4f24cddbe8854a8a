//! Revocations: a cluster key's word that certificates are no longer good, as a token like theirs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{check_name, random_id};
use crate::Error;
use crate::claims::token;
use crate::keys::{self, KeyKind, KeyPair};

/// Most certificates that one revocation can name.
pub const MAX_REVOKED: usize = 4096;

/// Longest revocation accepted, in bytes.
pub const MAX_REVOCATION_LEN: usize = 256 * 1024;

/// The statements of one revocation. It has no end: what it names stays revoked for as long as its issuer is trusted and
/// the record is kept, which must be until the certificates have expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// When it was made, in seconds since the Unix epoch; for people, nothing is decided by it.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// Public key (`C…`) of the cluster key that signs it. Any trusted one can revoke what another one issued.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Differs from one revocation to the next.
    #[serde(rename = "jti")]
    pub id: String,
    /// The lattice that it is for.
    pub lattice: String,
    /// The ids of the certificates.
    pub revoked: Vec<String>,
}

impl Revocation {
    /// A new revocation with a random id. [`encode`](Self::encode) signs it.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random numbers.
    pub fn new(issuer: &KeyPair, lattice: &str, revoked: Vec<String>, now: u64) -> Result<Self, Error> {
        let (issuer, lattice, id) = (issuer.public_key(), lattice.to_owned(), random_id()?);
        Ok(Self { issued_at: now, issuer, id, lattice, revoked })
    }

    /// Signs the revocation.
    ///
    /// # Errors
    /// [`Error::IssuerMismatch`], [`Error::WrongCertificateIssuer`] when the key is no cluster key, or
    /// [`Error::MalformedRevocation`].
    pub fn encode(&self, issuer: &KeyPair) -> Result<String, Error> {
        if self.issuer != issuer.public_key() {
            return Err(Error::IssuerMismatch { claims: self.issuer.clone(), key: issuer.public_key() });
        }
        self.check()?;
        let token = token::encode(self, issuer).map_err(revocation_error)?;
        check_length(&token)?;
        Ok(token)
    }

    /// Reads a revocation for a lattice and checks its signature, and that its issuer is trusted.
    ///
    /// # Errors
    /// [`Error::MalformedRevocation`], [`Error::WrongCertificateIssuer`], [`Error::UntrustedIssuer`],
    /// [`Error::WrongLattice`], [`Error::BadSignature`].
    pub fn verify(token: &str, cluster_issuers: &[String], lattice: &str) -> Result<Self, Error> {
        check_length(token)?;
        let parts = token::split(token).map_err(revocation_error)?;
        let revocation: Self = parts.claims().map_err(revocation_error)?;
        revocation.check()?;
        if !cluster_issuers.contains(&revocation.issuer) {
            return Err(Error::UntrustedIssuer { issuer: revocation.issuer });
        }
        if revocation.lattice != lattice {
            return Err(Error::WrongLattice { expected: lattice.to_owned(), found: revocation.lattice });
        }
        keys::verify(&revocation.issuer, parts.signed, &parts.signature)?;
        Ok(revocation)
    }

    fn check(&self) -> Result<(), Error> {
        if !keys::public_key_kind(&self.issuer).is_ok_and(|kind| kind == KeyKind::Cluster) {
            return Err(Error::WrongCertificateIssuer { issuer: self.issuer.clone() });
        }
        if self.revoked.len() > MAX_REVOKED {
            let found = self.revoked.len();
            return Err(malformed(format!("it names {found} certificates, more than {MAX_REVOKED}")));
        }
        check_name("lattice", &self.lattice).map_err(revocation_error)?;
        std::iter::once(&self.id)
            .chain(&self.revoked)
            .try_for_each(|id| check_name("id", id))
            .map_err(revocation_error)
    }
}

/// What revocations come to.
#[derive(Debug, Default)]
pub struct RevokedIds {
    /// The ids of the certificates that are no longer good.
    pub ids: BTreeSet<String>,
    /// The records that revoke nothing, by their names, and why.
    pub problems: BTreeMap<String, Error>,
}

/// Puts together what the revocations of trusted issuers say of a lattice's certificates. The name of a record is for
/// messages only: what counts is who signed it.
pub fn revoked_ids<N: Into<String>, T: AsRef<str>>(
    records: impl IntoIterator<Item = (N, T)>,
    cluster_issuers: &[String],
    lattice: &str,
) -> RevokedIds {
    let mut found = RevokedIds::default();
    for (name, token) in records {
        match Revocation::verify(token.as_ref(), cluster_issuers, lattice) {
            Ok(revocation) => found.ids.extend(revocation.revoked),
            Err(error) => {
                found.problems.insert(name.into(), error);
            }
        }
    }
    found
}

fn check_length(token: &str) -> Result<(), Error> {
    if token.len() > MAX_REVOCATION_LEN {
        return Err(malformed(format!("it has {} bytes, more than {MAX_REVOCATION_LEN}", token.len())));
    }
    Ok(())
}

fn malformed(reason: String) -> Error {
    Error::MalformedRevocation { reason }
}

fn revocation_error(error: Error) -> Error {
    match error {
        Error::MalformedToken { reason } | Error::MalformedCertificate { reason } => malformed(reason),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn cluster() -> KeyPair {
        KeyPair::generate(KeyKind::Cluster).unwrap()
    }

    fn token(issuer: &KeyPair, lattice: &str, ids: &[&str]) -> String {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Revocation::new(issuer, lattice, ids, NOW).unwrap().encode(issuer).unwrap()
    }

    #[test]
    fn what_trusted_issuers_revoked_is_put_together_and_the_rest_is_named() {
        let (one, two, stranger) = (cluster(), cluster(), cluster());
        let mut forged = token(&two, "lab", &["forged"]);
        let signature = forged.rsplit('.').next().unwrap().len();
        forged.truncate(forged.len() - signature);
        forged.push_str(token(&two, "lab", &["other"]).rsplit('.').next().unwrap());
        let records = [
            ("one", token(&one, "lab", &["a", "b"])),
            ("two", token(&two, "lab", &["b", "c"])),
            ("stranger", token(&stranger, "lab", &["d"])),
            ("elsewhere", token(&one, "attic", &["e"])),
            ("forged", forged),
            ("junk", "a.b.c".to_owned()),
        ];
        let found = revoked_ids(records, &[one.public_key(), two.public_key()], "lab");
        assert_eq!(found.ids.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(found.problems.keys().collect::<Vec<_>>(), ["elsewhere", "forged", "junk", "stranger"]);
        assert!(matches!(found.problems["stranger"], Error::UntrustedIssuer { .. }));
        assert!(matches!(found.problems["elsewhere"], Error::WrongLattice { .. }));
        assert!(matches!(found.problems["forged"], Error::BadSignature { .. }));
        assert!(matches!(found.problems["junk"], Error::MalformedRevocation { .. }));
    }

    #[test]
    fn without_issuers_nothing_is_revoked() {
        let one = cluster();
        let found = revoked_ids([("one", token(&one, "lab", &["a"]))], &[], "lab");
        assert!(found.ids.is_empty() && found.problems.len() == 1);
    }
}
