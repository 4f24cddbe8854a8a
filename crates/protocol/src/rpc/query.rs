//! Who runs this?

use super::wire::{Reader, malformed};
use super::{Nonce, TargetHash};
use crate::Error;

pub(super) const KIND: u8 = 1;
const PACKET: &str = "query";

/// Asks who answers for a target. Anyone may ask, so it is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Lowest version of sealed calls that the asking member speaks, at least 1.
    pub lowest: u8,
    /// Highest version, not below the lowest.
    pub highest: u8,
    /// Random bytes, used once: answers repeat them.
    pub nonce: Nonce,
    /// The target.
    pub target: TargetHash,
}

impl Query {
    /// The bytes that go over the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![KIND, self.lowest, self.highest];
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.target);
        out
    }

    /// Reads a query.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`].
    pub fn decode(packet: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(PACKET, packet);
        reader.kind(KIND)?;
        let (lowest, highest) = (reader.u8("the versions")?, reader.u8("the versions")?);
        if lowest == 0 || lowest > highest {
            return Err(malformed(PACKET, "the versions", "are none"));
        }
        let query =
            Self { lowest, highest, nonce: reader.array("the nonce")?, target: reader.array("the target")? };
        reader.finish()?;
        Ok(query)
    }
}
