//! The small messages beside calls.

use super::{CallId, reader};
use crate::{Error, Plaintext};

/// The plaintext of a [`Kind::Ping`](crate::Kind::Ping), and of the [`Kind::Pong`](crate::Kind::Pong) that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Any number; the answer has the same.
    pub token: u64,
}

impl Ping {
    /// Writes the ping or pong.
    pub fn encode(&self) -> Plaintext {
        number(self.token)
    }

    /// Reads a ping or pong.
    ///
    /// # Errors
    /// [`Error::MalformedContent`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, Error> {
        read_number(plaintext, "the token").map(|token| Self { token })
    }
}

/// The plaintext of a [`Kind::Cancel`](crate::Kind::Cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    /// The call that nobody waits for any more.
    pub call: CallId,
}

impl Cancel {
    /// Writes the cancellation.
    pub fn encode(&self) -> Plaintext {
        number(self.call)
    }

    /// Reads a cancellation.
    ///
    /// # Errors
    /// [`Error::MalformedContent`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, Error> {
        read_number(plaintext, "the call").map(|call| Self { call })
    }
}

fn number(number: u64) -> Plaintext {
    let mut plaintext = Plaintext::with_capacity(8);
    plaintext.extend_from_slice(&number.to_be_bytes());
    plaintext
}

fn read_number(plaintext: &[u8], field: &'static str) -> Result<u64, Error> {
    let mut reader = reader(plaintext);
    let number = reader.u64(field)?;
    reader.finish()?;
    Ok(number)
}
