//! Where sealed calls go, and the packets with which members of a lattice find those who answer for a target.
//!
//! A member that needs a target publishes a [`Query`]; those that run it send an [`Answer`]. Members tell with an
//! [`Announcement`] what begins and ends to run. Answers and announcements are signed; the caller of this module holds
//! the keys and checks the signatures. A target is named by its [hash](target_hash) only. The bytes are specified in
//! `docs/protocol.md`.
//!
//! ```
//! use wattle_protocol::rpc::{Packet, Query, find_subject, target_hash};
//!
//! let target = target_hash("default", "echo");
//! let query = Query { lowest: 1, highest: 1, nonce: [7; 16], target };
//! assert!(find_subject("default", target[0]).starts_with("wattle.find.v1.default."));
//! assert_eq!(Packet::decode(&query.encode()), Ok(Packet::Query(query)));
//! ```

mod announcement;
mod answer;
mod query;
mod wire;

pub use announcement::{Action, Announcement};
pub use answer::Answer;
pub use query::Query;
pub use wire::Signed;

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::Error;

/// The interface of a call by which a client watches the calls of its target. Every host answers it for what it runs; no
/// component can have it.
pub const SPY_INTERFACE: &str = "wattle:lattice/spy";

/// Longest packet of discovery accepted, in bytes.
pub const MAX_PACKET_LEN: usize = 17 * 1024;

/// Most certificates that a member shows.
pub const MAX_CHAIN: usize = 2;

/// Longest certificate, in bytes.
pub const MAX_CERTIFICATE_LEN: usize = 8192;

/// A load that leaves nothing free.
pub const FULL_LOAD: u16 = 1000;

/// Name of a process.
pub type Instance = [u8; 16];

/// What stands for the id of a target.
pub type TargetHash = [u8; 32];

/// What makes a query differ from all others.
pub type Nonce = [u8; 16];

/// Where the process of a member takes what is for it alone. The names must have been checked.
#[must_use]
pub fn rpc_subject(lattice: &str, member: &str, instance: &Instance) -> String {
    let mut subject = format!("wattle.rpc.v1.{lattice}.{member}.");
    put_hex(&mut subject, instance);
    subject
}

/// Where those meet who run or need targets whose [hash](target_hash) begins with `bucket`.
#[must_use]
pub fn find_subject(lattice: &str, bucket: u8) -> String {
    format!("wattle.find.v1.{lattice}.{bucket:02x}")
}

/// What stands for a component or provider in discovery, so that its id is not shown.
#[must_use]
pub fn target_hash(lattice: &str, target: &str) -> TargetHash {
    let mut hashed = b"wattle.find.v1 target\0".to_vec();
    hashed.extend_from_slice(lattice.as_bytes());
    hashed.push(0);
    hashed.extend_from_slice(target.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &hashed).as_ref());
    hash
}

/// Where the answers to a query go: below an inbox of the member that asks.
#[must_use]
pub fn answer_subject(inbox: &str, nonce: &Nonce) -> String {
    let mut subject = format!("{inbox}.");
    put_hex(&mut subject, nonce);
    subject
}

/// All that comes to an inbox for answers.
#[must_use]
pub fn answer_subjects(inbox: &str) -> String {
    format!("{inbox}.*")
}

/// Whether a query with this nonce may be answered there. A member of the lattice publishes with rights that the asking
/// side may not have, so it must not be led to write where something else than answers is read.
#[must_use]
pub fn is_answer_subject(subject: &str, nonce: &Nonce) -> bool {
    let Some((inbox, last)) = subject.rsplit_once('.') else { return false };
    let mut expected = String::with_capacity(32);
    put_hex(&mut expected, nonce);
    last == expected && !inbox.starts_with('$') && inbox.split('.').all(|token| !token.is_empty())
}

/// The nonce at the end of a [subject for answers](answer_subject).
#[must_use]
pub fn nonce_of(subject: &str) -> Option<Nonce> {
    let (_, digits) = subject.rsplit_once('.')?;
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 32 || !digits.as_bytes().iter().all(lower) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(out, "{byte:02x}");
    }
}

/// A packet of discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Who runs this?
    Query(Query),
    /// I do.
    Answer(Signed<'a, Answer<'a>>),
    /// From now on I do, or don't.
    Announcement(Signed<'a, Announcement<'a>>),
}

impl<'a> Packet<'a> {
    /// Reads a packet. Nothing of it is believed yet: signatures are not looked at.
    ///
    /// # Errors
    /// [`Error::MalformedPacket`].
    pub fn decode(packet: &'a [u8]) -> Result<Self, Error> {
        if packet.len() > MAX_PACKET_LEN {
            return Err(wire::malformed("packet", "its length", "is above the limit"));
        }
        match packet.first() {
            Some(&query::KIND) => Query::decode(packet).map(Self::Query),
            Some(&answer::KIND) => Answer::decode(packet).map(Self::Answer),
            Some(&announcement::KIND) => Announcement::decode(packet).map(Self::Announcement),
            _ => Err(wire::malformed("packet", "its kind", "is not known")),
        }
    }
}

#[cfg(test)]
mod tests;
