//! Keys and certificates, good ones and such that no tool would make.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use wattle_identity::{Certificate, Grant, Ids, KeyKind, KeyPair};
use wattle_seal::{Address, InstanceId, Local, Trust};

use super::{random, wall};

/// Somebody with a key and a chain of certificates, which need not be good.
#[derive(Clone)]
pub(crate) struct Insider {
    pub(crate) key: KeyPair,
    pub(crate) chain: Vec<String>,
    pub(crate) instance: InstanceId,
}

impl Insider {
    /// A key of the right kind with one certificate of this cluster key.
    pub(crate) fn new(cluster: &KeyPair, grant: Grant) -> Self {
        Self::with_key(KeyPair::generate(grant.role.key_kind()).unwrap(), cluster, grant)
    }

    /// The same with a key that there is already.
    pub(crate) fn with_key(key: KeyPair, cluster: &KeyPair, grant: Grant) -> Self {
        Self::edited(key, cluster, grant, |_| {})
    }

    /// The same with something changed before the certificate is signed.
    pub(crate) fn edited(
        key: KeyPair,
        issuer: &KeyPair,
        grant: Grant,
        edit: impl FnOnce(&mut Certificate),
    ) -> Self {
        let mut certificate = Certificate::new(issuer, &key.public_key(), grant, wall().as_secs()).unwrap();
        edit(&mut certificate);
        let chain = vec![certificate.encode(issuer).unwrap()];
        Self { key, chain, instance: InstanceId::random(&random()).unwrap() }
    }

    /// A provider's process that a host certifies, with whatever the host likes to say.
    pub(crate) fn provider(host: &Self, grant: Grant, edit: impl FnOnce(&mut Certificate)) -> Self {
        let key = KeyPair::generate(KeyKind::User).unwrap();
        let mut provider = Self::edited(key, &host.key, grant, edit);
        provider.chain.extend(host.chain.clone());
        provider
    }

    /// Where it can be reached.
    pub(crate) fn address(&self) -> Address {
        Address { member: self.key.public_key(), instance: self.instance }
    }

    /// The member that its certificates show, whosever they are.
    pub(crate) fn shown(&self) -> String {
        self.certificate().subject
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::decode_unverified(&self.chain[0]).unwrap()
    }

    /// The same as a member that keeps to the protocol.
    pub(crate) fn local(&self, lattice: &str, issuers: &[String]) -> Local {
        let revoked = BTreeSet::new();
        let trust = Trust { cluster_issuers: issuers, revoked: &revoked };
        Local::new(self.key.clone(), &self.chain, self.instance, lattice, &trust, wall()).unwrap()
    }
}

/// What a host may do that answers and speaks for these only.
pub(crate) fn host_grant(lattice: &str, answers_for: &[&str], speaks_for: &[&str]) -> Grant {
    let ids = |ids: &[&str]| Ids::only(ids.iter().copied());
    Grant { answers_for: ids(answers_for), speaks_for: ids(speaks_for), ..Grant::host(lattice) }
}

/// A token with these statements, whatever they are, signed by this key.
pub(crate) fn json_certificate(statements: &Value, issuer: &KeyPair) -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"jwt","alg":"Ed25519"}"#);
    let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(statements.to_string().as_bytes()));
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
