//! Refusals in the clear, signed: where there is no session in which they could be sealed.

use crate::handshake::{HASH_LEN, REFUSAL_LABEL, SIGNATURE_LEN, hash, sign, verify};
use crate::head::{HANDSHAKE, REFUSAL};
use crate::local::{Address, InstanceId, Local};
use crate::wire::Reader;
use crate::{Error, VersionRange, Wall};

/// Bytes of a refusal.
pub const REFUSAL_LEN: usize = 30 + HASH_LEN + SIGNATURE_LEN;

/// A member's word that it refused one packet, and why. It is good for that packet only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the reason, as of [`Error::code`].
    pub code: u16,
    /// The versions of the protocol that the member speaks.
    pub versions: VersionRange,
    /// The time there.
    pub time: Wall,
}

impl Refusal {
    /// The refusal of a packet for a reason, signed by this member. Each costs a signature, so how many are made is to be
    /// limited; for which reasons one is due, [`Error::deserves_refusal`] says.
    pub fn sign(local: &Local, refused: &[u8], reason: &Error, wall: Wall) -> Vec<u8> {
        let mut out = vec![HANDSHAKE, REFUSAL];
        out.extend_from_slice(&reason.code().to_be_bytes());
        out.extend_from_slice(&[local.versions.lowest(), local.versions.highest()]);
        out.extend_from_slice(&wall.as_secs().to_be_bytes());
        out.extend_from_slice(local.instance().as_bytes());
        out.extend_from_slice(&hash(refused));
        let signature = sign(&local.key, REFUSAL_LABEL, &out);
        out.extend_from_slice(&signature);
        out
    }

    /// Reads a refusal of the packet `refused`, which was sent to `target`: its member and its process must have signed
    /// it.
    ///
    /// # Errors
    /// [`Error::MalformedHandshake`], also for the refusal of another packet; [`Error::WrongInstance`];
    /// [`Error::BadSignature`].
    pub fn verify(packet: &[u8], refused: &[u8], target: &Address) -> Result<Self, Error> {
        let mut reader = Reader::new(packet, |field, problem| Error::MalformedHandshake { field, problem });
        if reader.array("the kind")? != [HANDSHAKE, REFUSAL] {
            return Err(reader.error("the kind", "is another"));
        }
        let code = reader.u16("the code")?;
        let versions = VersionRange::new(reader.u8("the versions")?, reader.u8("the versions")?);
        let versions = versions.ok_or_else(|| reader.error("the versions", "are none"))?;
        let time = Wall::from_secs(reader.u64("the time")?);
        let instance = InstanceId(reader.array("the instance")?);
        let of = reader.array::<HASH_LEN>("the hash")?;
        let signature = reader.array::<SIGNATURE_LEN>("the signature")?;
        if of != hash(refused) {
            return Err(reader.error("the hash", "is that of another packet"));
        }
        reader.finish()?;
        if instance != target.instance {
            return Err(Error::WrongInstance { member: target.member.clone() });
        }
        verify(&target.member, REFUSAL_LABEL, &packet[..REFUSAL_LEN - SIGNATURE_LEN], &signature)?;
        Ok(Self { code, versions, time })
    }

    /// The refusal as the error that it is on this side.
    pub fn into_error(self, local: &Local, wall: Wall) -> Error {
        let (theirs, ours) = (self.time.as_secs(), wall.as_secs());
        match self.code {
            Error::NO_COMMON_VERSION => {
                Error::NoCommonVersion { ours: local.versions, theirs: self.versions }
            }
            Error::CLOCK_SKEW => Error::ClockSkew { theirs, ours },
            code => Error::Refused { code, theirs, ours },
        }
    }
}

#[cfg(test)]
mod tests;
