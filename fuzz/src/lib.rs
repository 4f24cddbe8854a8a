//! Members with fixed keys, so that a corpus stays good from one run to the next.

#![allow(
    deprecated,
    reason = "the only fixed numbers that ring takes for random ones are in a module it may remove"
)]

use std::cell::UnsafeCell;
use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use ring::test::rand::FixedSliceSequenceRandom;
use wattle_identity::{Certificate, Grant, KeyPair};
use wattle_seal::{Address, Initiator, Local, Monotonic, Trust, Wall};

/// The lattice.
pub const LATTICE: &str = "default";
/// The time at which everything happens.
pub const WALL: Wall = Wall::from_secs(1_790_000_000);
/// The same on the other clock.
pub const NOW: Monotonic = Monotonic::from_millis(50_000);

const CLUSTER: &str = "SCAK4NT2YKAG6GLODFKBBPHYYAODFQALUM7YRADZ43SED6NVOZLBAFPEAY";
const CALLER: &str = "SNAEBLIAIMWSHS5VGJ35K3UYPA7VUJBBIHNAGJBTCH37YPE3VIQGWLPKK4";
const TARGET: &str = "SNAMKV3WSR7IVH74L7ATZBQC6UYYQJD366T4OM7QD6CG2HSPGOLBSGOTVE";

/// A cluster key and two hosts that it certified.
pub struct World {
    /// Signs certificates.
    pub cluster: KeyPair,
    /// The caller's member key.
    pub caller_key: KeyPair,
    /// The target's member key.
    pub target_key: KeyPair,
    /// The caller.
    pub caller: Local,
    /// The target.
    pub target: Local,
    /// The cluster key's public half.
    pub issuers: Vec<String>,
    /// Nothing.
    pub revoked: BTreeSet<String>,
}

impl World {
    /// The same at every start.
    ///
    /// # Panics
    /// Never, unless keys or certificates are broken.
    pub fn new() -> Self {
        let key = |seed| KeyPair::from_seed(seed).expect("a good seed");
        let (cluster, caller_key, target_key) = (key(CLUSTER), key(CALLER), key(TARGET));
        let issuers = vec![cluster.public_key()];
        let revoked = BTreeSet::new();
        let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };
        let local = |key: &KeyPair, id: &str, instance: &str| {
            let grant = Grant::host(LATTICE);
            let mut certificate =
                Certificate::new(&cluster, &key.public_key(), grant, WALL.as_secs()).expect("random numbers");
            certificate.id = id.to_owned();
            let chain = [certificate.encode(&cluster).expect("a good certificate")];
            let instance = instance.parse().expect("a good instance");
            Local::new(key.clone(), &chain, instance, LATTICE, &trust, WALL).expect("a good member")
        };
        let caller = local(&caller_key, "CALLER", "000102030405060708090a0b0c0d0e0f");
        let target = local(&target_key, "TARGET", "101112131415161718191a1b1c1d1e1f");
        Self { cluster, caller_key, target_key, caller, target, issuers, revoked }
    }

    /// Whom the members trust.
    pub fn trust(&self) -> Trust<'_> {
        Trust { cluster_issuers: &self.issuers, revoked: &self.revoked }
    }

    /// An offer of the caller, the same every time.
    ///
    /// # Panics
    /// Never, unless the handshake is broken.
    pub fn initiator(&self) -> Initiator {
        let address =
            Address { member: self.target.member().key().to_owned(), instance: self.target.instance() };
        let (private, nonce) = (counting(0x40), counting(0x60));
        let random = [&private[..], &nonce[..]];
        let random = fixed(&random);
        Initiator::start(&self.caller, address, NOW, WALL, &random).expect("a good offer")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Random numbers that are none.
pub fn fixed<'a>(parts: &'a [&'a [u8]]) -> FixedSliceSequenceRandom<'a> {
    FixedSliceSequenceRandom { bytes: parts, current: UnsafeCell::new(0) }
}

/// Those of the protocol's test vectors.
fn counting(from: u8) -> [u8; 32] {
    std::array::from_fn(|place| from + place as u8)
}

/// What a target signs in its answer.
pub fn answer_signature(key: &KeyPair, offer: &[u8], unsigned: &[u8]) -> Vec<u8> {
    let mut hashed = b"wattle.seal.v1 transcript\0".to_vec();
    for part in [offer, unsigned] {
        hashed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        hashed.extend_from_slice(part);
    }
    key.sign(&[b"wattle.seal.v1 answer\0", digest(&SHA256, &hashed).as_ref()].concat())
}
