//! From now on I run it, or don't.

use super::wire::{Reader, Signed, malformed, put_chain, put_member, sign};
use super::{Instance, TargetHash};
use crate::Error;

pub(super) const KIND: u8 = 3;
const PACKET: &str = "announcement";
const LABEL: &[u8] = b"wattle.find.v1 announcement\0";

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process takes calls for the target.
    Started,
    /// It takes none any more.
    Stopped,
    /// It takes no new ones, and finishes those that it has.
    Draining,
}

impl Action {
    const fn byte(self) -> u8 {
        match self {
            Self::Started => 1,
            Self::Stopped => 2,
            Self::Draining => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Started),
            2 => Some(Self::Stopped),
            3 => Some(Self::Draining),
            _ => None,
        }
    }
}

/// A process tells what changed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// What changed.
    pub action: Action,
    /// When, in seconds since the Unix epoch.
    pub time: u64,
    /// The process.
    pub instance: Instance,
    /// The number of the announcement: each one of a process has a higher number than those before.
    pub sequence: u64,
    /// For which target; `None` stands for all that the process runs, and doesn't go with [`Action::Started`].
    pub target: Option<TargetHash>,
    /// Public key of the member. That the chain shows the same one is to be checked.
    pub member: &'a str,
    /// The member's certificates, its own first.
    pub chain: Vec<&'a str>,
}

impl<'a> Announcement<'a> {
    /// The bytes that go over the wire. `key` makes the Ed25519 signature with the member's key.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`] when a field is beyond its limits.
    pub fn encode(&self, lattice: &str, key: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, Error> {
        check(self.action, self.target.as_ref())?;
        let mut out = vec![KIND, self.action.byte()];
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.instance);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.push(self.target.is_some().into());
        out.extend_from_slice(self.target.as_ref().map_or(&[][..], |target| target));
        put_member(PACKET, &mut out, self.member)?;
        put_chain(PACKET, &mut out, &self.chain)?;
        sign(PACKET, LABEL, lattice, out, key)
    }

    /// Reads an announcement.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`].
    pub fn decode(packet: &'a [u8]) -> Result<Signed<'a, Self>, Error> {
        let mut reader = Reader::new(PACKET, packet);
        reader.kind(KIND)?;
        let action = Action::from_byte(reader.u8("the action")?);
        let action = action.ok_or_else(|| reader.error("the action", "is not known"))?;
        let time = reader.u64("the time")?;
        let instance = reader.array("the instance")?;
        let sequence = reader.u64("the sequence")?;
        let target = match reader.u8("the scope")? {
            0 => None,
            1 => Some(reader.array("the target")?),
            _ => return Err(reader.error("the scope", "is not known")),
        };
        check(action, target.as_ref())?;
        let member = reader.member()?;
        let chain = reader.chain()?;
        reader.signed(LABEL, Self { action, time, instance, sequence, target, member, chain })
    }
}

fn check(action: Action, target: Option<&TargetHash>) -> Result<(), Error> {
    if action == Action::Started && target.is_none() {
        return Err(malformed(PACKET, "the scope", "is all, and something starts"));
    }
    Ok(())
}
