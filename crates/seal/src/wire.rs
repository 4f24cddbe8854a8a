//! Reading and writing of fields: numbers in network byte order, texts behind their length.

use crate::Error;

/// Reads fields from the front of a slice. Nothing is copied, so whatever lengths say, nothing is allocated.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    malformed: fn(&'static str, &'static str) -> Error,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], malformed: fn(&'static str, &'static str) -> Error) -> Self {
        Self { rest: bytes, malformed }
    }

    pub(crate) fn error(&self, field: &'static str, problem: &'static str) -> Error {
        (self.malformed)(field, problem)
    }

    pub(crate) fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.error(field, "is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error(field, "is cut off"))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A text behind a length of one byte.
    pub(crate) fn short_text(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let length = self.u8(field)?;
        self.text(length.into(), field)
    }

    /// A text behind a length of two bytes.
    pub(crate) fn long_text(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let length = self.u16(field)?;
        self.text(length.into(), field)
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<&'a str, Error> {
        let bytes = self.take(length, field)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(field, "is not UTF-8"))
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("the end", "has bytes behind it")) }
    }
}

/// Appends a text behind a length of one byte.
pub(crate) fn put_short(out: &mut Vec<u8>, field: &'static str, text: &str, max: u8) -> Result<(), Error> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length <= max);
    out.push(length.ok_or(Error::FieldTooLong { field, length: text.len(), max: max.into() })?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends a text behind a length of two bytes.
pub(crate) fn put_long(out: &mut Vec<u8>, field: &'static str, text: &str, max: u16) -> Result<(), Error> {
    let length = u16::try_from(text.len()).ok().filter(|length| *length <= max);
    let length = length.ok_or(Error::FieldTooLong { field, length: text.len(), max: max.into() })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
