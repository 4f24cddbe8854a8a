//! A call.

use super::{CallId, reader};
use crate::wire::{Reader, put_long, put_short};
use crate::{Error, Plaintext};

/// How many calls can be within each other: the first has depth 0, what it calls 1, and so on to this.
pub const MAX_DEPTH: u8 = 32;

/// Longest source, target and link name, in bytes.
pub const MAX_NAME_LEN: u8 = 200;

/// Longest `traceparent`, in bytes. Those of W3C's version 00 have 55.
pub const MAX_TRACE_PARENT_LEN: u8 = 128;

/// Longest `tracestate`, in bytes.
pub const MAX_TRACE_STATE_LEN: u16 = 512;

const FIXED_LEN: usize = 8 + 4 + 1 + 8 + 1 + 8 + 1 + 6 + 2;

/// How the parameters of a call are written, and so its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// The component model's value encoding.
    Values = 0,
    /// Texts for people's tools: the parameters are WAVE, the result is WAVE and the same again as JSON.
    Wave = 1,
    /// The head of an HTTP request, and of its response; the bodies are streams.
    Http = 2,
}

impl Encoding {
    /// All encodings, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Values, Self::Wave, Self::Http];
}

/// A call of a function, the plaintext of a [`Kind::Request`](crate::Kind::Request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The call.
    pub call: CallId,
    /// Milliseconds that were left when the message was sealed. The target takes off the message's
    /// [age](crate::Opened::age).
    pub remaining: u32,
    /// How many calls this one is within.
    pub depth: u8,
    /// Revision of the state at which the caller found the link.
    pub state_revision: u64,
    /// How the parameters are written.
    pub encoding: Encoding,
    /// The first bytes of the SHA-256 of the text of the function's type; zeros when the caller does not know it.
    pub types: [u8; 8],
    /// How many streams go along, from the caller to the target.
    pub streams: u8,
    /// The component, provider or client that calls; the sealing member must be allowed to speak for it.
    pub source: &'a str,
    /// The component or provider that is called.
    pub target: &'a str,
    /// Name of the link, empty for a client's call, which needs none.
    pub link_name: &'a str,
    /// The interface, such as `wasi:http/incoming-handler@0.2.0`; empty for a function outside of any.
    pub interface: &'a str,
    /// The function.
    pub function: &'a str,
    /// W3C trace context: `traceparent`, empty when there is none.
    pub trace_parent: &'a str,
    /// W3C trace context: `tracestate`, empty when there is none.
    pub trace_state: &'a str,
    /// The encoded parameters.
    pub parameters: &'a [u8],
}

impl<'a> Request<'a> {
    /// Writes the request. Parameters can also be left empty here and be appended to the plaintext, as they come last.
    ///
    /// # Errors
    /// [`Error::TooDeep`], [`Error::FieldTooLong`]; [`Error::MalformedContent`] when source, target or function are empty.
    pub fn encode(&self) -> Result<Plaintext, Error> {
        self.check()?;
        let mut plaintext = Plaintext::with_capacity(self.length());
        let out = plaintext.buffer();
        out.extend_from_slice(&self.call.to_be_bytes());
        out.extend_from_slice(&self.remaining.to_be_bytes());
        out.push(self.depth);
        out.extend_from_slice(&self.state_revision.to_be_bytes());
        out.push(self.encoding as u8);
        out.extend_from_slice(&self.types);
        out.push(self.streams);
        put_short(out, "the source", self.source, MAX_NAME_LEN)?;
        put_short(out, "the target", self.target, MAX_NAME_LEN)?;
        put_short(out, "the link name", self.link_name, MAX_NAME_LEN)?;
        put_short(out, "the interface", self.interface, u8::MAX)?;
        put_short(out, "the function", self.function, u8::MAX)?;
        put_short(out, "the trace parent", self.trace_parent, MAX_TRACE_PARENT_LEN)?;
        put_long(out, "the trace state", self.trace_state, MAX_TRACE_STATE_LEN)?;
        out.extend_from_slice(self.parameters);
        Ok(plaintext)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(plaintext);
        let request = Self {
            call: reader.u64("the call")?,
            remaining: reader.u32("the remaining time")?,
            depth: reader.u8("the depth")?,
            state_revision: reader.u64("the state revision")?,
            encoding: read_encoding(&mut reader)?,
            types: reader.array("the types")?,
            streams: reader.u8("the streams")?,
            source: reader.short_text("the source")?,
            target: reader.short_text("the target")?,
            link_name: reader.short_text("the link name")?,
            interface: reader.short_text("the interface")?,
            function: reader.short_text("the function")?,
            trace_parent: reader.short_text("the trace parent")?,
            trace_state: reader.long_text("the trace state")?,
            parameters: reader.rest(),
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Error> {
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep { depth: self.depth, max: MAX_DEPTH });
        }
        let (name, any) = (usize::from(MAX_NAME_LEN), usize::from(u8::MAX));
        let (parent, state) = (usize::from(MAX_TRACE_PARENT_LEN), usize::from(MAX_TRACE_STATE_LEN));
        for (field, text, range) in [
            ("the source", self.source, 1..=name),
            ("the target", self.target, 1..=name),
            ("the link name", self.link_name, 0..=name),
            ("the interface", self.interface, 0..=any),
            ("the function", self.function, 1..=any),
            ("the trace parent", self.trace_parent, 0..=parent),
            ("the trace state", self.trace_state, 0..=state),
        ] {
            if text.len() < *range.start() {
                return Err(Error::MalformedContent { field, problem: "is empty" });
            }
            if text.len() > *range.end() {
                return Err(Error::FieldTooLong { field, length: text.len(), max: *range.end() });
            }
        }
        Ok(())
    }

    fn length(&self) -> usize {
        let texts = [
            self.source,
            self.target,
            self.link_name,
            self.interface,
            self.function,
            self.trace_parent,
            self.trace_state,
        ];
        FIXED_LEN + texts.iter().map(|text| text.len()).sum::<usize>() + self.parameters.len()
    }
}

fn read_encoding(reader: &mut Reader<'_>) -> Result<Encoding, Error> {
    let number = reader.u8("the encoding")?;
    let known = Encoding::ALL.into_iter().find(|encoding| *encoding as u8 == number);
    known.ok_or_else(|| reader.error("the encoding", "is not known"))
}
