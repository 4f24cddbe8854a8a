//! The digest that claims hold.

use data_encoding::HEXUPPER;
use ring::digest::{SHA256, digest};

/// SHA-256 of `bytes` as 64 upper-case hexadecimal digits, the form that claims use.
pub fn sha256_hex_upper(bytes: &[u8]) -> String {
    HEXUPPER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_vector() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256_hex_upper(b"abc"),
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
        );
    }
}
