//! What is in the clear at the front of each packet.

use std::fmt;

use data_encoding::HEXLOWER;

use crate::Error;
use crate::wire::Reader;

/// Bytes of the head of a sealed message: version, kind, session and counter.
pub const HEAD_LEN: usize = 26;

/// In the place of the version, it marks what is not sealed.
pub(crate) const HANDSHAKE: u8 = 0;
pub(crate) const OFFER: u8 = 0x80;
pub(crate) const ANSWER: u8 = 0x81;
pub(crate) const REFUSAL: u8 = 0x82;

/// The name of a session, chosen at random by the target.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(crate) [u8; 16]);

impl SessionId {
    /// The bytes of the name.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a sealed message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A call.
    Request = 1,
    /// The outcome of a call.
    Reply = 2,
    /// A piece of a stream, or credit for one.
    Frame = 3,
    /// Asks for a sign of life.
    Ping = 4,
    /// The sign of life.
    Pong = 5,
    /// Ends a call whose outcome nobody waits for any more.
    Cancel = 6,
    /// A call that was not begun, and why.
    Refusal = 7,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Request, Self::Reply, Self::Frame, Self::Ping, Self::Pong, Self::Cancel, Self::Refusal];

    /// Whether that side of a session sends such messages.
    pub(crate) fn comes_from(self, side: Side) -> bool {
        match self {
            Self::Request | Self::Cancel => side == Side::Caller,
            Self::Reply | Self::Refusal => side == Side::Target,
            Self::Frame | Self::Ping | Self::Pong => true,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The two sides of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Target,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Frame => "frame",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Cancel => "cancel",
            Self::Refusal => "refusal",
        })
    }
}

/// The head of a sealed message. Until the message has opened, none of it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Version of the protocol.
    pub version: u8,
    /// What the message is.
    pub kind: Kind,
    /// The session that it belongs to.
    pub session: SessionId,
    /// Its number among the messages that one side seals in the session.
    pub counter: u64,
}

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[0] = self.version;
        bytes[1] = self.kind as u8;
        bytes[2..18].copy_from_slice(&self.session.0);
        bytes[18..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    pub(crate) fn read(message: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(message, |field, problem| Error::MalformedHead { field, problem });
        let version = reader.u8("the version")?;
        if version == HANDSHAKE {
            return Err(reader.error("the version", "is that of a handshake"));
        }
        let kind = Kind::from_number(reader.u8("the kind")?);
        let kind = kind.ok_or_else(|| reader.error("the kind", "is not known"))?;
        let session = SessionId(reader.array("the session")?);
        Ok(Self { version, kind, session, counter: reader.u64("the counter")? })
    }
}

/// What a packet is, by its first bytes: where to take it before anything is decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// An offer, for [`Responder::accept`](crate::Responder::accept).
    Offer,
    /// An answer, for [`Initiator::read`](crate::Initiator::read).
    Answer,
    /// A signed refusal of an offer, for [`Initiator::read`](crate::Initiator::read), or of a sealed message, for
    /// [`Refusal::verify`](crate::Refusal::verify).
    Refusal,
    /// A message of a session.
    Sealed(Head),
}

impl Packet {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// [`Error::MalformedHead`] when they are those of no packet.
    pub fn classify(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [HANDSHAKE, OFFER, ..] => Ok(Self::Offer),
            [HANDSHAKE, ANSWER, ..] => Ok(Self::Answer),
            [HANDSHAKE, REFUSAL, ..] => Ok(Self::Refusal),
            _ => Head::read(bytes).map(Self::Sealed),
        }
    }
}
