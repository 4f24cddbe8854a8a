//! Members and sessions for tests.

use std::collections::BTreeSet;

use ring::rand::SystemRandom;
use wattle_identity::{Certificate, Grant, KeyKind, KeyPair};

use crate::*;

pub(crate) const LATTICE: &str = "default";
pub(crate) const WALL: Wall = Wall::from_secs(1_790_000_000);
pub(crate) const NOW: Monotonic = Monotonic::from_millis(50_000);
/// Greatest age of messages in tests that are not about it.
pub(crate) const AGE: u64 = 10_000;
/// Life of a certificate that outlives any session, in seconds.
pub(crate) const LONG: u64 = 1_000_000;

pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

/// A cluster key, and the trust in it.
pub(crate) struct World {
    pub(crate) cluster: KeyPair,
    pub(crate) issuers: Vec<String>,
    pub(crate) revoked: BTreeSet<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let issuers = vec![cluster.public_key()];
        Self { cluster, issuers, revoked: BTreeSet::new() }
    }

    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust { cluster_issuers: &self.issuers, revoked: &self.revoked }
    }

    /// The certificate of a key, valid from now for so many seconds.
    pub(crate) fn certify(&self, key: &KeyPair, grant: Grant, life: u64) -> String {
        let mut certificate =
            Certificate::new(&self.cluster, &key.public_key(), grant, WALL.as_secs()).unwrap();
        certificate.expires = WALL.as_secs() + life;
        certificate.encode(&self.cluster).unwrap()
    }

    pub(crate) fn member(&self, key: KeyPair, grant: Grant, life: u64) -> Local {
        let lattice = grant.lattice.clone();
        let chain = [self.certify(&key, grant, life)];
        let instance = InstanceId::random(&random()).unwrap();
        Local::new(key, &chain, instance, &lattice, &self.trust(), WALL).unwrap()
    }

    pub(crate) fn host(&self) -> Local {
        self.host_for(LONG)
    }

    pub(crate) fn host_for(&self, life: u64) -> Local {
        self.member(KeyPair::generate(KeyKind::Host).unwrap(), Grant::host(LATTICE), life)
    }

    pub(crate) fn offer(&self, caller: &Local, target: &Local) -> Initiator {
        Initiator::start(caller, address(target), NOW, WALL, &random()).unwrap()
    }

    pub(crate) fn accept(
        &self,
        responder: &mut Responder,
        target: &Local,
        offer: &[u8],
    ) -> Result<Vec<u8>, Error> {
        responder.accept(target, &self.trust(), offer, NOW, WALL, &random())
    }

    pub(crate) fn read(&self, initiator: &Initiator, packet: &[u8]) -> Result<Answer, Error> {
        match initiator.read(packet, &self.trust(), NOW, WALL)? {
            Response::Answer(answer) => Ok(answer),
            Response::Refusal(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// The caller's half of a session.
    pub(crate) fn finish(&self, initiator: Initiator, answer: &[u8]) -> Session {
        let answer = self.read(&initiator, answer).unwrap();
        initiator.finish(answer).unwrap()
    }

    /// A session between two members, seen from both sides, in which only a ping was sent.
    pub(crate) fn session(&self, caller: &Local, target: &Local) -> (Session, Session) {
        let mut responder = Responder::new(Limits::default());
        let initiator = self.offer(caller, target);
        let answer = self.accept(&mut responder, target, initiator.offer()).unwrap();
        let near = self.finish(initiator, &answer);
        let far = confirm(&mut responder, &near).unwrap();
        (near, far)
    }
}

pub(crate) fn address(local: &Local) -> Address {
    Address { member: local.member().key().to_owned(), instance: local.instance() }
}

pub(crate) fn text(text: &str) -> Plaintext {
    let mut plaintext = Plaintext::with_capacity(text.len());
    plaintext.extend_from_slice(text.as_bytes());
    plaintext
}

/// The target's half of a session.
pub(crate) fn confirm(responder: &mut Responder, near: &Session) -> Result<Session, Error> {
    let mut ping = near.seal(Kind::Ping, text("ping"), NOW)?;
    let (session, opened) = responder.confirm(&mut ping, NOW, AGE)?;
    assert_eq!((opened.kind, &*opened.plaintext), (Kind::Ping, &b"ping"[..]));
    Ok(session)
}

/// Every packet that differs from this one by a bit, or is cut short, or has a byte more.
pub(crate) fn damaged(packet: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..packet.len() * 8).map(|bit| {
        let mut packet = packet.to_vec();
        packet[bit / 8] ^= 1 << (bit % 8);
        packet
    });
    let cut = (0..packet.len()).map(|length| packet[..length].to_vec());
    flipped.chain(cut).chain([[packet, &[0]].concat()])
}
