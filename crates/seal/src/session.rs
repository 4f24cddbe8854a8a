//! A session: the keys of both directions, with what bounds their use.

mod keys;
mod window;

use std::io;

use wattle_identity::Member;

use crate::handshake::Keys;
use crate::head::{HEAD_LEN, SessionId, Side};
use crate::{Address, Error, Features, InstanceId, Kind, Monotonic};
use keys::{KeyUse, OpenKey, SealKey};

pub use window::WINDOW;

/// After so many milliseconds a session should be renewed: an hour.
pub const RENEW_AFTER_MILLIS: u64 = 60 * 60 * 1000;

/// After so many messages in one direction a session should be renewed.
pub const RENEW_AFTER_MESSAGES: u64 = 1 << 32;

/// After so many milliseconds a session has ended, renewed or not: an hour and five minutes.
pub const SESSION_MILLIS: u64 = RENEW_AFTER_MILLIS + GRACE_MILLIS;

/// No key ever seals more messages.
pub const MAX_MESSAGES: u64 = RENEW_AFTER_MESSAGES + (1 << 28);

/// Longest plaintext, in bytes: the longest value, 8 MiB, and room for what is said beside it.
pub const MAX_PLAINTEXT_LEN: usize = 8 * 1024 * 1024 + 64 * 1024;

/// By how much a sealed message is longer than its plaintext, in bytes: head, time and tag.
pub const OVERHEAD: usize = RESERVED_LEN + TAG_LEN;

/// A message that claims to be sealed so many milliseconds later than now is refused.
pub const MAX_AHEAD_MILLIS: u64 = 5_000;

const GRACE_MILLIS: u64 = 5 * 60 * 1000;
const RESERVED_LEN: usize = HEAD_LEN + 4;
const TAG_LEN: usize = 16;

/// A plaintext, with room for what sealing puts around it so that nothing has to be moved. Sealing takes it.
#[derive(Clone)]
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// An empty plaintext with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity.min(MAX_PLAINTEXT_LEN) + OVERHEAD);
        bytes.resize(RESERVED_LEN, 0);
        Self(bytes)
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[RESERVED_LEN..]
    }

    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// Appends, so that values can be encoded in place. Never fails.
impl io::Write for Plaintext {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows the length only.
impl std::fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plaintext({} bytes)", self.as_bytes().len())
    }
}

/// A message that opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its number among those that the other side sealed in this session.
    pub counter: u64,
    /// How long ago it was sealed, in milliseconds: never less than the truth, and at most
    /// [`MAX_HANDSHAKE_MILLIS`](crate::MAX_HANDSHAKE_MILLIS) more. A remaining time in it is to be lowered by as much.
    pub age: u64,
    /// What was sealed, in the message's own bytes.
    pub plaintext: &'a mut [u8],
}

/// One side's half of a session between a caller and a target. It can be used by many threads at once.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    version: u8,
    features: Features,
    peer: Member,
    peer_instance: InstanceId,
    seal: SealKey,
    open: OpenKey,
    renew_at: Monotonic,
    ends_at: Monotonic,
}

/// What a handshake comes to.
pub(crate) struct Terms {
    pub(crate) id: SessionId,
    pub(crate) version: u8,
    pub(crate) features: Features,
    pub(crate) peer: Member,
    pub(crate) peer_instance: InstanceId,
    pub(crate) side: Side,
    pub(crate) keys: Keys,
    /// When the handshake began and ended on this side. Times of sealing count from its end and times of opening from its
    /// begin, so that a message never seems younger than it is.
    pub(crate) began: Monotonic,
    pub(crate) ended: Monotonic,
    /// When the certificates of either side end.
    pub(crate) certificates_end: Monotonic,
}

impl Session {
    pub(crate) fn new(terms: Terms) -> Self {
        let Terms { id, version, began, ended, .. } = terms;
        let ends_at = terms.certificates_end.min(began.plus(SESSION_MILLIS));
        let life = ends_at.since(began);
        let Keys { caller_to_target, target_to_caller } = terms.keys;
        let (seal, open, peer_side) = match terms.side {
            Side::Caller => (caller_to_target, target_to_caller, Side::Target),
            Side::Target => (target_to_caller, caller_to_target, Side::Caller),
        };
        let use_of = |from, origin| KeyUse { version, session: id, from, origin, ends_at };
        Self {
            id,
            version,
            features: terms.features,
            peer: terms.peer,
            peer_instance: terms.peer_instance,
            seal: SealKey::new(seal, use_of(terms.side, ended)),
            open: OpenKey::new(open, use_of(peer_side, began)),
            renew_at: began.plus(life - GRACE_MILLIS.min(life / 4)),
            ends_at,
        }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The version of the protocol that it uses.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The features that it has.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The other member. When trust changes, [`Member::check`] says whether the session may go on.
    pub fn peer(&self) -> &Member {
        &self.peer
    }

    /// The process of the other member.
    pub fn peer_address(&self) -> Address {
        Address { member: self.peer.key().to_owned(), instance: self.peer_instance }
    }

    /// From when on nothing is sealed or opened any more.
    pub fn ends_at(&self) -> Monotonic {
        self.ends_at
    }

    /// Whether it is time for a new session: this one is nearly over, or has sealed many messages.
    pub fn should_renew(&self, now: Monotonic) -> bool {
        now >= self.renew_at || self.seal.count() >= RENEW_AFTER_MESSAGES
    }

    /// Seals a message for the other side.
    ///
    /// # Errors
    /// [`Error::WrongDirection`], [`Error::SessionEnded`], [`Error::SessionExhausted`], [`Error::MessageTooLarge`].
    pub fn seal(&self, kind: Kind, plaintext: Plaintext, now: Monotonic) -> Result<Vec<u8>, Error> {
        self.seal.seal(kind, plaintext, now)
    }

    /// Opens a message from the other side in place, each only once, and none that was sealed more than `max_age`
    /// milliseconds ago. After an error the message's bytes are of no more use.
    ///
    /// # Errors
    /// [`Error::MalformedHead`], [`Error::WrongVersion`], [`Error::UnknownSession`], [`Error::WrongDirection`],
    /// [`Error::MessageTooLarge`], [`Error::SessionEnded`], [`Error::SessionExhausted`], [`Error::NotAuthentic`], [`Error::Replayed`],
    /// [`Error::OutsideWindow`], [`Error::Expired`], [`Error::AheadOfTime`].
    pub fn open<'a>(&self, message: &'a mut [u8], now: Monotonic, max_age: u64) -> Result<Opened<'a>, Error> {
        self.open.open(message, now, max_age)
    }
}

#[cfg(test)]
mod tests;
