//! I run it.

use super::wire::{Reader, Signed, malformed, put_chain, put_member, sign};
use super::{FULL_LOAD, Instance, Nonce, TargetHash};
use crate::Error;

pub(super) const KIND: u8 = 2;
const PACKET: &str = "answer";
const LABEL: &[u8] = b"wattle.find.v1 answer\0";

/// A process that runs the target answers a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The highest version of sealed calls that both sides speak, at least 1.
    pub version: u8,
    /// The nonce of the query.
    pub nonce: Nonce,
    /// The target.
    pub target: TargetHash,
    /// The process that answers.
    pub instance: Instance,
    /// The number of the latest announcement that the process made before it looked whether it runs the target; 0 when
    /// it has made none.
    pub sequence: u64,
    /// From 0, idle, to [`FULL_LOAD`].
    pub load: u16,
    /// Whether the process takes no more calls.
    pub draining: bool,
    /// Public key of the member. That the chain shows the same one is to be checked.
    pub member: &'a str,
    /// The member's certificates, its own first.
    pub chain: Vec<&'a str>,
}

impl<'a> Answer<'a> {
    /// The bytes that go over the wire. `key` makes the Ed25519 signature with the member's key.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`] when a field is beyond its limits.
    pub fn encode(&self, lattice: &str, key: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, Error> {
        check(self.version, self.load)?;
        let mut out = vec![KIND, self.version];
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.target);
        out.extend_from_slice(&self.instance);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.load.to_be_bytes());
        out.push(self.draining.into());
        put_member(PACKET, &mut out, self.member)?;
        put_chain(PACKET, &mut out, &self.chain)?;
        sign(PACKET, LABEL, lattice, out, key)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`].
    pub fn decode(packet: &'a [u8]) -> Result<Signed<'a, Self>, Error> {
        let mut reader = Reader::new(PACKET, packet);
        reader.kind(KIND)?;
        let version = reader.u8("the version")?;
        let nonce = reader.array("the nonce")?;
        let target = reader.array("the target")?;
        let instance = reader.array("the instance")?;
        let sequence = reader.u64("the sequence")?;
        let load = reader.u16("the load")?;
        check(version, load)?;
        let draining = match reader.u8("the state")? {
            0 => false,
            1 => true,
            _ => return Err(reader.error("the state", "is not known")),
        };
        let member = reader.member()?;
        let chain = reader.chain()?;
        let answer = Self { version, nonce, target, instance, sequence, load, draining, member, chain };
        reader.signed(LABEL, answer)
    }
}

fn check(version: u8, load: u16) -> Result<(), Error> {
    if version == 0 {
        return Err(malformed(PACKET, "the version", "is none"));
    }
    if load > FULL_LOAD {
        return Err(malformed(PACKET, "the load", "is above 1000"));
    }
    Ok(())
}
