//! SHA-256 digests in the registries' spelling, `sha256:` and 64 lower-case hexadecimal digits.

use data_encoding::HEXLOWER;

const PREFIX: &str = "sha256:";

/// The digest of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", hex_of(bytes))
}

/// The digest of `bytes` without its prefix.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// The hexadecimal part of a well-formed digest. What this returns is safe as part of a file name.
pub(crate) fn hex(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix(PREFIX)?;
    let well_formed = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    well_formed.then_some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_nothing_is_the_published_one() {
        assert_eq!(of(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn only_well_formed_digests_have_a_hex_part() {
        assert_eq!(hex(&of(b"x")).map(str::len), Some(64));
        let upper = of(b"x").to_uppercase();
        for bad in ["", "sha256:", "sha256:abc", "sha512:00", upper.as_str(), "../../etc/passwd"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }
}
