//! A piece of a stream.

use super::{CallId, reader};
use crate::{Error, Plaintext};

/// Most bytes in one frame: 1 MiB. What a NATS server takes is often less.
pub const MAX_FRAME_LEN: usize = 1024 * 1024;

/// The plaintext of a [`Kind::Frame`](crate::Kind::Frame): data that goes one way, credit for data that goes the other, or
/// both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The call.
    pub call: CallId,
    /// The stream, among those of the call.
    pub stream: u32,
    /// The frame's place among those that its sender sends on the stream, from 0 and without gaps: after a gap, or when
    /// the end is missing, the stream is broken.
    pub sequence: u64,
    /// Whether it is the last.
    pub end: End,
    /// How many more bytes of data its sender will take on the stream.
    pub credit: u32,
    /// The data.
    pub data: &'a [u8],
}

/// How a stream goes on after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// There is more to come.
    Open = 0,
    /// It is complete.
    Complete = 1,
    /// Its sender broke it off: it is not complete.
    Aborted = 2,
}

impl<'a> Frame<'a> {
    /// Writes the frame.
    ///
    /// # Errors
    /// [`Error::FieldTooLong`].
    pub fn encode(&self) -> Result<Plaintext, Error> {
        self.check()?;
        let mut plaintext = Plaintext::with_capacity(25 + self.data.len());
        plaintext.extend_from_slice(&self.call.to_be_bytes());
        plaintext.extend_from_slice(&self.stream.to_be_bytes());
        plaintext.extend_from_slice(&self.sequence.to_be_bytes());
        plaintext.extend_from_slice(&[self.end as u8]);
        plaintext.extend_from_slice(&self.credit.to_be_bytes());
        plaintext.extend_from_slice(self.data);
        Ok(plaintext)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`Error::MalformedContent`], [`Error::FieldTooLong`].
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(plaintext);
        let call = reader.u64("the call")?;
        let stream = reader.u32("the stream")?;
        let sequence = reader.u64("the sequence")?;
        let end = match reader.u8("the end")? {
            0 => End::Open,
            1 => End::Complete,
            2 => End::Aborted,
            _ => return Err(reader.error("the end", "is not known")),
        };
        let credit = reader.u32("the credit")?;
        let frame = Self { call, stream, sequence, end, credit, data: reader.rest() };
        frame.check()?;
        Ok(frame)
    }

    fn check(&self) -> Result<(), Error> {
        let (field, length) = ("the data", self.data.len());
        if length > MAX_FRAME_LEN {
            return Err(Error::FieldTooLong { field, length, max: MAX_FRAME_LEN });
        }
        Ok(())
    }
}
