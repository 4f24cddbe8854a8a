//! Numbers and lengths in encoded values.

use super::error::CodecError;

/// What is left of encoded bytes. Nothing is taken that isn't there.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => {
                let missing = count - self.bytes.len();
                Err(CodecError::Truncated { place: String::new(), missing })
            }
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    /// A byte that must be 0 or 1.
    pub(super) fn flag(&mut self, what: &str) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CodecError::malformed(format!("{what} begins with 0 or 1, not with {other}"))),
        }
    }

    /// An unsigned LEB128 number of at most `bits` bits.
    pub(super) fn unsigned(&mut self, bits: u32) -> Result<u64, CodecError> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            let left = bits - shift;
            if left < 8 && byte >> left != 0 {
                return Err(overflow(bits));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    /// A signed LEB128 number of at most `bits` bits.
    pub(super) fn signed(&mut self, bits: u32) -> Result<i64, CodecError> {
        let (mut number, mut shift) = (0i64, 0);
        loop {
            let byte = self.byte()?;
            let left = bits - shift;
            // The last byte's bits beyond the number repeat its sign, and no byte follows.
            if left <= 7 {
                let sign_and_beyond = (byte << 1).cast_signed() >> left;
                if byte & 0x80 != 0 || !matches!(sign_and_beyond, 0 | -1) {
                    return Err(overflow(bits));
                }
            }
            number |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                let unused = 64u32.saturating_sub(shift);
                return Ok(number << unused >> unused);
            }
        }
    }

    /// A length or count.
    pub(super) fn length(&mut self) -> Result<usize, CodecError> {
        let length = self.unsigned(32)?;
        usize::try_from(length).map_err(|_| overflow(usize::BITS))
    }

    pub(super) fn char(&mut self) -> Result<char, CodecError> {
        let first = self.byte()?;
        let more = match first {
            0x00..=0x7f => return Ok(char::from(first)),
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => return Err(CodecError::malformed("a char is not UTF-8")),
        };
        let mut bytes = [first, 0, 0, 0];
        bytes[1..=more].copy_from_slice(self.take(more)?);
        std::str::from_utf8(&bytes[..=more])
            .ok()
            .and_then(|text| text.chars().next())
            .ok_or_else(|| CodecError::malformed("a char is not UTF-8"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, CodecError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| CodecError::malformed("a string is not UTF-8"))
    }
}

fn overflow(bits: u32) -> CodecError {
    CodecError::malformed(format!("a number doesn't fit into {bits} bits"))
}

/// Appends an unsigned LEB128 number.
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed LEB128 number.
pub(super) fn put_signed(out: &mut Vec<u8>, mut number: i64) {
    while !(-0x40..0x40).contains(&number) {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(super) fn put_f32(out: &mut Vec<u8>, number: f32) {
    let number = if number.is_nan() { f32::from_bits(0x7fc0_0000) } else { number };
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_f64(out: &mut Vec<u8>, number: f64) {
    let number = if number.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { number };
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_char(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends bytes after their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unsigned(bits: u32, bytes: &[u8]) -> Result<u64, CodecError> {
        Reader::new(bytes).unsigned(bits)
    }

    fn signed(bits: u32, bytes: &[u8]) -> Result<i64, CodecError> {
        Reader::new(bytes).signed(bits)
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: u64) {
            let mut out = Vec::new();
            put_unsigned(&mut out, number);
            prop_assert_eq!(unsigned(64, &out).unwrap(), number);
            prop_assert_eq!(unsigned(32, &out).ok(), u32::try_from(number).ok().map(u64::from));
            out.clear();
            put_signed(&mut out, number.cast_signed());
            prop_assert_eq!(signed(64, &out).unwrap(), number.cast_signed());
        }

        #[test]
        fn small_numbers_come_back(number: i16) {
            let mut out = Vec::new();
            put_signed(&mut out, number.into());
            prop_assert_eq!(signed(16, &out).unwrap(), i64::from(number));
            prop_assert_eq!(signed(32, &out).unwrap(), i64::from(number));
        }
    }

    #[test]
    fn numbers_that_are_too_large_are_refused() {
        assert_eq!(unsigned(16, &[0xff, 0xff, 0x03]).unwrap(), 0xffff);
        assert!(unsigned(16, &[0xff, 0xff, 0x04]).is_err());
        assert!(unsigned(16, &[0x80, 0x80, 0x80, 0x00]).is_err(), "more bytes than 16 bits need");
        assert_eq!(
            unsigned(64, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).unwrap(),
            u64::MAX
        );
        assert!(unsigned(64, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).is_err());
        assert_eq!(signed(16, &[0x80, 0x80, 0x7e]).unwrap(), i64::from(i16::MIN));
        assert!(signed(16, &[0x80, 0x80, 0x02]).is_err(), "32,768");
        assert!(signed(16, &[0xff, 0xff, 0x7d]).is_err(), "-32,769");
        let min = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        assert_eq!(signed(64, &min).unwrap(), i64::MIN);
        assert!(signed(64, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).is_err());
    }

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(
            Reader::new(&[5, b'a']).string(),
            Err(CodecError::Truncated { place: String::new(), missing: 4 })
        );
        assert!(Reader::new(&[0xed, 0xa0, 0x80]).char().is_err(), "half of a surrogate pair");
        assert!(Reader::new(&[0xc0, 0x80]).char().is_err(), "longer than it must be");
        assert_eq!(Reader::new("🪿".as_bytes()).char().unwrap(), '🪿');
    }
}
