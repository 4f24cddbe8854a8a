//! Offers written by hand, byte by byte as `docs/protocol.md` has them.

use wattle_identity::KeyPair;
use wattle_seal::{Address, Refusal};

use super::{Insider, random_bytes, wall};

/// The fields of an offer. All can be changed before it is signed.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) versions: (u8, u8),
    pub(crate) time: u64,
    pub(crate) lattice: String,
    pub(crate) target: Address,
    pub(crate) chain: Vec<String>,
    pub(crate) signer: KeyPair,
    instance: [u8; 16],
    public_key: [u8; 32],
    nonce: [u8; 32],
}

impl Offer {
    /// An offer to which nothing is wrong, unless the insider's certificates are.
    pub(crate) fn new(caller: &Insider, lattice: &str, target: &Address) -> Self {
        Self {
            versions: (1, 1),
            time: wall().as_secs(),
            lattice: lattice.to_owned(),
            target: target.clone(),
            chain: caller.chain.clone(),
            signer: caller.key.clone(),
            instance: *caller.instance.as_bytes(),
            // Any 32 bytes but for a few are a good public key of X25519; who needs the session can't make one up.
            public_key: random_bytes(),
            nonce: random_bytes(),
        }
    }

    /// The same with something changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same with another public key.
    pub(crate) fn with_public_key(mut self, key: [u8; 32]) -> Self {
        self.public_key = key;
        self
    }

    /// The packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut out = vec![0, 128, self.versions.0, self.versions.1];
        out.extend_from_slice(&0_u64.to_be_bytes());
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.instance);
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.nonce);
        for text in [&self.lattice, &self.target.member] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(self.target.instance.as_bytes());
        out.push(u8::try_from(self.chain.len()).unwrap());
        for certificate in &self.chain {
            out.extend_from_slice(&u16::try_from(certificate.len()).unwrap().to_be_bytes());
            out.extend_from_slice(certificate.as_bytes());
        }
        let signature = self.signer.sign(&[b"wattle.seal.v1 offer\0", &out[..]].concat());
        out.extend_from_slice(&signature);
        out
    }
}

/// The code of a refusal in the clear, which must be of this packet, and signed by this process.
pub(crate) fn refusal_code(packet: &[u8], refused: &[u8], signer: &Address) -> u16 {
    Refusal::verify(packet, refused, signer).unwrap().code
}
