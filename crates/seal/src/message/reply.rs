//! The outcome of a call, and the refusal to begin one.

use std::fmt;

use super::{CallId, reader};
use crate::wire::{Reader, put_long};
use crate::{Error, Plaintext};

/// Longest explanation of a failure or refusal, in bytes. Longer ones are cut when written.
pub const MAX_REASON_LEN: u16 = 1024;

const VALUE: u8 = 0;
const FAILED: u8 = 1;

/// The plaintext of a [`Kind::Reply`](crate::Kind::Reply).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The call.
    pub call: CallId,
    /// What became of it.
    pub outcome: Outcome<'a>,
}

/// What became of a call that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The function returned.
    Value {
        /// How many streams go along, from the target to the caller.
        streams: u8,
        /// The encoded result.
        value: &'a [u8],
    },
    /// The call failed after it was begun: what it did until then stays done.
    Failed {
        /// The number of the reason, which is for those who call and run components to agree on.
        code: u16,
        /// The reason for people.
        message: &'a str,
    },
}

impl<'a> Reply<'a> {
    /// Writes the reply. A value can also be left empty here and be appended to the plaintext, as it comes last.
    pub fn encode(&self) -> Plaintext {
        let size = match self.outcome {
            Outcome::Value { value, .. } => 1 + value.len(),
            Outcome::Failed { message, .. } => 4 + message.len(),
        };
        let mut plaintext = Plaintext::with_capacity(9 + size);
        plaintext.extend_from_slice(&self.call.to_be_bytes());
        match self.outcome {
            Outcome::Value { streams, value } => {
                plaintext.extend_from_slice(&[VALUE, streams]);
                plaintext.extend_from_slice(value);
            }
            Outcome::Failed { code, message } => {
                plaintext.extend_from_slice(&[FAILED]);
                put_reason(&mut plaintext, code, message);
            }
        }
        plaintext
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// [`Error::MalformedContent`], [`Error::FieldTooLong`].
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(plaintext);
        let call = reader.u64("the call")?;
        let outcome = match reader.u8("the outcome")? {
            VALUE => Outcome::Value { streams: reader.u8("the streams")?, value: reader.rest() },
            FAILED => {
                let (code, message) = read_reason(&mut reader)?;
                reader.finish()?;
                Outcome::Failed { code, message }
            }
            _ => return Err(reader.error("the outcome", "is not known")),
        };
        Ok(Self { call, outcome })
    }
}

/// The plaintext of a [`Kind::Refusal`](crate::Kind::Refusal): the call was certainly not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The call.
    pub call: CallId,
    /// Why.
    pub reason: Reason,
    /// The reason for people.
    pub message: &'a str,
}

impl<'a> Refused<'a> {
    /// Writes the refusal.
    pub fn encode(&self) -> Plaintext {
        let mut plaintext = Plaintext::with_capacity(12 + self.message.len());
        plaintext.extend_from_slice(&self.call.to_be_bytes());
        put_reason(&mut plaintext, self.reason.code(), self.message);
        plaintext
    }

    /// Reads a refusal.
    ///
    /// # Errors
    /// [`Error::MalformedContent`], [`Error::FieldTooLong`].
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(plaintext);
        let call = reader.u64("the call")?;
        let (code, message) = read_reason(&mut reader)?;
        reader.finish()?;
        Ok(Self { call, reason: Reason::from_code(code), message })
    }
}

/// Why a target did not begin a call. The numbers are of one series with those of [`Error::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The target's queue is full (401).
    Busy,
    /// The target's host is shutting down (402).
    Draining,
    /// The target has not yet heard of the state that the caller saw (403).
    StateBehind,
    /// The target does not run here (404).
    NotHere,
    /// The member may not speak for the source (405).
    SourceNotAllowed,
    /// The client's certificate does not list the target (406).
    TargetNotAllowed,
    /// No link leads from the source to the target for this interface (407).
    NoLink,
    /// The target does not export this function (408).
    NoFunction,
    /// A policy forbids the call (409).
    Denied,
    /// There was no time left when the message arrived (410).
    DeadlinePassed,
    /// The target's function has other types than the caller's (411).
    TypesDiffer,
    /// Anything else, by its number, such as a code of [`Error::code`].
    Other(u16),
}

impl Reason {
    /// All reasons with a name, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Busy,
        Self::Draining,
        Self::StateBehind,
        Self::NotHere,
        Self::SourceNotAllowed,
        Self::TargetNotAllowed,
        Self::NoLink,
        Self::NoFunction,
        Self::Denied,
        Self::DeadlinePassed,
        Self::TypesDiffer,
    ];

    /// The number.
    pub fn code(self) -> u16 {
        match self {
            Self::Busy => 401,
            Self::Draining => 402,
            Self::StateBehind => 403,
            Self::NotHere => 404,
            Self::SourceNotAllowed => 405,
            Self::TargetNotAllowed => 406,
            Self::NoLink => 407,
            Self::NoFunction => 408,
            Self::Denied => 409,
            Self::DeadlinePassed => 410,
            Self::TypesDiffer => 411,
            Self::Other(code) => code,
        }
    }

    /// The reason with a number.
    pub fn from_code(code: u16) -> Self {
        Self::ALL.into_iter().find(|reason| reason.code() == code).unwrap_or(Self::Other(code))
    }

    /// Whether another process may be able to do what this one refused.
    pub fn may_be_tried_elsewhere(self) -> bool {
        matches!(self, Self::Busy | Self::Draining | Self::StateBehind | Self::NotHere | Self::TypesDiffer)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("busy"),
            Self::Draining => f.write_str("draining"),
            Self::StateBehind => f.write_str("state behind"),
            Self::NotHere => f.write_str("target does not run here"),
            Self::SourceNotAllowed => f.write_str("member may not speak for the source"),
            Self::TargetNotAllowed => f.write_str("client may not call the target"),
            Self::NoLink => f.write_str("no link"),
            Self::NoFunction => f.write_str("no such function"),
            Self::Denied => f.write_str("denied by policy"),
            Self::DeadlinePassed => f.write_str("deadline passed"),
            Self::TypesDiffer => f.write_str("types of the function differ"),
            Self::Other(code) => write!(f, "refused with code {code}"),
        }
    }
}

fn put_reason(plaintext: &mut Plaintext, code: u16, message: &str) {
    plaintext.extend_from_slice(&code.to_be_bytes());
    let end = message.floor_char_boundary(MAX_REASON_LEN.into());
    // Cut to the longest that is allowed, it fits.
    let _ = put_long(plaintext.buffer(), "the message", &message[..end], MAX_REASON_LEN);
}

fn read_reason<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a str), Error> {
    let code = reader.u16("the code")?;
    let message = reader.long_text("the message")?;
    if message.len() > MAX_REASON_LEN.into() {
        let (field, length) = ("the message", message.len());
        return Err(Error::FieldTooLong { field, length, max: MAX_REASON_LEN.into() });
    }
    Ok((code, message))
}
