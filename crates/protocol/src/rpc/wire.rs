//! Reading and writing of what the packets of discovery have in common: fields, chains and signatures.

use super::{MAX_CERTIFICATE_LEN, MAX_CHAIN, MAX_PACKET_LEN};
use crate::Error;

/// Bytes of an Ed25519 signature.
const SIGNATURE_LEN: usize = 64;

/// Longest name of a member, in bytes. Public keys have 56.
const MAX_MEMBER_LEN: u8 = 64;

pub(super) const fn malformed(packet: &'static str, field: &'static str, problem: &'static str) -> Error {
    Error::MalformedPacket { packet, field, problem }
}

/// A packet that was read, with the signature under it, which is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a, T> {
    /// What the packet says.
    pub content: T,
    /// The signature, of 64 bytes.
    pub signature: &'a [u8],
    label: &'static [u8],
    unsigned: &'a [u8],
}

impl<T> Signed<'_, T> {
    /// The bytes of which [`signature`](Self::signature) must be the signature, if the packet is meant for `lattice`.
    #[must_use]
    pub fn message(&self, lattice: &str) -> Vec<u8> {
        message(self.label, lattice, self.unsigned)
    }
}

/// The label keeps a signature from being taken for one of another kind of packet; it ends with a zero byte. So does the
/// lattice's name, which can't hold one.
fn message(label: &[u8], lattice: &str, unsigned: &[u8]) -> Vec<u8> {
    [label, lattice.as_bytes(), &[0], unsigned].concat()
}

/// Puts the signature under a packet.
pub(super) fn sign(
    packet: &'static str,
    label: &'static [u8],
    lattice: &str,
    mut unsigned: Vec<u8>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let signature = sign(&message(label, lattice, &unsigned));
    if signature.len() != SIGNATURE_LEN {
        return Err(malformed(packet, "the signature", "does not have 64 bytes"));
    }
    unsigned.extend_from_slice(&signature);
    if unsigned.len() > MAX_PACKET_LEN {
        return Err(malformed(packet, "its length", "is above the limit"));
    }
    Ok(unsigned)
}

/// Appends the public key of a member behind its length.
pub(super) fn put_member(packet: &'static str, out: &mut Vec<u8>, member: &str) -> Result<(), Error> {
    let length = u8::try_from(member.len()).unwrap_or(u8::MAX);
    check_member(packet, length)?;
    out.push(length);
    out.extend_from_slice(member.as_bytes());
    Ok(())
}

fn check_member(packet: &'static str, length: u8) -> Result<(), Error> {
    if length == 0 || length > MAX_MEMBER_LEN {
        return Err(malformed(packet, "the member", "does not have 1 to 64 bytes"));
    }
    Ok(())
}

/// Appends a chain of certificates: how many, then each behind its length.
pub(super) fn put_chain(packet: &'static str, out: &mut Vec<u8>, chain: &[&str]) -> Result<(), Error> {
    let count = u8::try_from(chain.len()).unwrap_or(u8::MAX);
    check_count(packet, count)?;
    out.push(count);
    for certificate in chain {
        check_certificate(packet, certificate.len())?;
        let length = u16::try_from(certificate.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(certificate.as_bytes());
    }
    Ok(())
}

fn check_count(packet: &'static str, count: u8) -> Result<(), Error> {
    if count == 0 || usize::from(count) > MAX_CHAIN {
        return Err(malformed(packet, "the chain", "has neither one certificate nor two"));
    }
    Ok(())
}

fn check_certificate(packet: &'static str, length: usize) -> Result<(), Error> {
    if length > MAX_CERTIFICATE_LEN {
        return Err(malformed(packet, "a certificate", "is longer than 8192 bytes"));
    }
    Ok(())
}

/// Reads fields from the front of a packet. Nothing is copied, so whatever lengths say, nothing much is allocated.
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    packet: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: &'static str, bytes: &'a [u8]) -> Self {
        Self { whole: bytes, rest: bytes, packet }
    }

    pub(super) fn error(&self, field: &'static str, problem: &'static str) -> Error {
        malformed(self.packet, field, problem)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error(field, "is cut off"))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(super) fn kind(&mut self, kind: u8) -> Result<(), Error> {
        if self.u8("its kind")? == kind { Ok(()) } else { Err(self.error("its kind", "is another")) }
    }

    pub(super) fn chain(&mut self) -> Result<Vec<&'a str>, Error> {
        let count = self.u8("the chain")?;
        check_count(self.packet, count)?;
        (0..count).map(|_| self.certificate()).collect()
    }

    fn certificate(&mut self) -> Result<&'a str, Error> {
        let length = usize::from(self.u16("a certificate")?);
        check_certificate(self.packet, length)?;
        self.text(length, "a certificate")
    }

    pub(super) fn member(&mut self) -> Result<&'a str, Error> {
        let length = self.u8("the member")?;
        check_member(self.packet, length)?;
        self.text(length.into(), "the member")
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<&'a str, Error> {
        let cut_off = || self.error(field, "is cut off");
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| self.error(field, "is not UTF-8"))
    }

    /// Takes the signature, which ends the packet.
    pub(super) fn signed<T>(self, label: &'static [u8], content: T) -> Result<Signed<'a, T>, Error> {
        if self.rest.len() != SIGNATURE_LEN {
            return Err(self.error("the signature", "does not have 64 bytes"));
        }
        let unsigned = &self.whole[..self.whole.len() - SIGNATURE_LEN];
        Ok(Signed { content, signature: self.rest, label, unsigned })
    }

    /// Ends the reading of a packet without a signature.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("the end", "has bytes behind it")) }
    }
}
