//! Claims of a capability provider: one token for all its programs, whose hashes it holds by target.

use std::collections::BTreeMap;

use crate::Error;
use crate::claims::{Claims, ProviderMetadata};
use crate::hash::sha256_hex_upper;
use crate::keys::KeyPair;

pub use crate::claims::Verified;

/// The name under which the hash of a provider's interface description is kept beside those of its programs, and the
/// file's name in an archive.
pub const WORLD: &str = "world.wasm";

/// What to say about a provider when signing it. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IssueOptions {
    /// Name for people.
    pub name: Option<String>,
    /// Who made it, for people.
    pub vendor: String,
    /// Version for people.
    pub version: Option<String>,
    /// Number that grows from one version to the next.
    pub revision: Option<i32>,
    /// JSON schema of the configuration that the provider takes.
    pub config_schema: Option<serde_json::Value>,
    /// When the claims begin to be valid; at once if `None`.
    pub not_before: Option<u64>,
    /// When they stop being valid; never if `None`.
    pub expires: Option<u64>,
}

/// Makes the token for a provider's programs (by target, such as `x86_64-linux`) and its interface description.
///
/// # Errors
/// [`Error::NoBinaries`], [`Error::BadTarget`]; or as [`Claims::encode`], when `issuer` is not an account key, `subject`
/// is not a provider key, or the claims would expire before they begin.
pub fn issue(
    binaries: &BTreeMap<String, Vec<u8>>,
    world: Option<&[u8]>,
    options: IssueOptions,
    issuer: &KeyPair,
    subject: &KeyPair,
    now: u64,
) -> Result<String, Error> {
    if binaries.is_empty() {
        return Err(Error::NoBinaries);
    }
    if let Some(bad) = binaries.keys().find(|target| !is_target(target)) {
        return Err(Error::BadTarget(bad.clone()));
    }
    let mut target_hashes: BTreeMap<_, _> =
        binaries.iter().map(|(target, bytes)| (target.clone(), sha256_hex_upper(bytes))).collect();
    target_hashes.extend(world.map(|bytes| (WORLD.to_owned(), sha256_hex_upper(bytes))));
    let metadata = ProviderMetadata {
        name: options.name,
        vendor: options.vendor,
        revision: options.revision,
        version: options.version,
        target_hashes,
        config_schema: options.config_schema,
    };
    let mut claims = Claims::new(issuer, &subject.public_key(), metadata, now)?;
    claims.not_before = options.not_before;
    claims.expires = options.expires;
    claims.encode(issuer)
}

/// Checks a provider's token: signature, kinds of keys, and times against `now` (in seconds since the Unix epoch). The
/// programs are checked one by one with [`check_binary`].
///
/// # Errors
/// As [`Claims::decode_verified`].
pub fn verify(token: &str, now: u64) -> Result<Verified<ProviderMetadata>, Error> {
    Ok(Verified { claims: Claims::decode_verified(token, now)?, token: token.to_owned() })
}

/// Checks that the program for `target` (or the interface description, [`WORLD`]) is the one that was signed.
///
/// # Errors
/// [`Error::MissingHash`] when the claims do not cover it, [`Error::BinaryMismatch`] when it is another.
pub fn check_binary(claims: &Claims<ProviderMetadata>, target: &str, bytes: &[u8]) -> Result<(), Error> {
    let hashes = &claims.metadata.target_hashes;
    let Some(signed) = hashes.get(target) else {
        let names: Vec<_> = hashes.keys().map(String::as_str).collect();
        let covered = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        return Err(Error::MissingHash { target: target.to_owned(), covered });
    };
    let found = sha256_hex_upper(bytes);
    if *signed != found {
        return Err(Error::BinaryMismatch { target: target.to_owned(), signed: signed.clone(), found });
    }
    Ok(())
}

/// Targets become file names in an archive, where what stands before the first dot must tell them apart from claims and
/// interface.
fn is_target(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    name.split_once('-').is_some_and(|(arch, os)| word(arch) && word(os))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyKind;
    use proptest::prelude::*;

    const NOW: u64 = 1_790_000_000;

    fn keys() -> (KeyPair, KeyPair) {
        (KeyPair::generate(KeyKind::Account).unwrap(), KeyPair::generate(KeyKind::Provider).unwrap())
    }

    fn one_program() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("x86_64-linux".to_owned(), b"program".to_vec())])
    }

    fn options() -> IssueOptions {
        IssueOptions { name: Some("kv".into()), vendor: "acme".into(), ..IssueOptions::default() }
    }

    #[test]
    fn programs_and_world_are_covered() {
        let (issuer, subject) = keys();
        let token = issue(&one_program(), Some(b"world"), options(), &issuer, &subject, NOW).unwrap();
        let claims = verify(&token, NOW).unwrap().claims;
        assert_eq!(claims.metadata.vendor, "acme");
        assert_eq!(claims.subject, subject.public_key());
        check_binary(&claims, "x86_64-linux", b"program").unwrap();
        check_binary(&claims, WORLD, b"world").unwrap();

        let missing = check_binary(&claims, "aarch64-linux", b"program").unwrap_err();
        assert!(matches!(missing, Error::MissingHash { .. }));
        assert!(missing.to_string().ends_with("cover world.wasm, x86_64-linux"), "{missing}");
        let changed = check_binary(&claims, "x86_64-linux", b"Program").unwrap_err();
        let Error::BinaryMismatch { signed, found, .. } = &changed else { panic!("{changed:?}") };
        assert_eq!(*signed, sha256_hex_upper(b"program"));
        assert_eq!(*found, sha256_hex_upper(b"Program"));
    }

    #[test]
    fn times_are_enforced() {
        let (issuer, subject) = keys();
        let options = IssueOptions { expires: Some(NOW + 5), not_before: Some(NOW), ..options() };
        let token = issue(&one_program(), None, options, &issuer, &subject, NOW).unwrap();
        assert!(matches!(verify(&token, NOW - 1), Err(Error::NotYetValid { .. })));
        verify(&token, NOW).unwrap();
        assert!(matches!(verify(&token, NOW + 5), Err(Error::Expired { .. })));
    }

    #[test]
    fn what_makes_no_archive_is_refused() {
        let (issuer, subject) = keys();
        let none = issue(&BTreeMap::new(), Some(b"world"), options(), &issuer, &subject, NOW);
        assert!(matches!(none, Err(Error::NoBinaries)));
        for target in ["", "linux", "world.wasm", "-linux", "x86_64-", "../x-linux", "x86_64-linux.bin"] {
            let binaries = BTreeMap::from([(target.to_owned(), vec![])]);
            let refused = issue(&binaries, None, options(), &issuer, &subject, NOW);
            assert!(matches!(refused, Err(Error::BadTarget(_))), "{target}");
        }
    }

    #[test]
    fn a_component_key_is_no_provider() {
        let (issuer, _) = keys();
        let subject = KeyPair::generate(KeyKind::Component).unwrap();
        let refused = issue(&one_program(), None, options(), &issuer, &subject, NOW);
        assert!(matches!(refused, Err(Error::WrongSubject { expected: KeyKind::Provider, .. })));
    }

    proptest! {
        #[test]
        fn one_changed_bit_of_a_program_is_noticed(
            program in proptest::collection::vec(any::<u8>(), 1..64),
            bit: proptest::sample::Index,
        ) {
            let (issuer, subject) = keys();
            let binaries = BTreeMap::from([("aarch64-macos".to_owned(), program.clone())]);
            let token = issue(&binaries, None, options(), &issuer, &subject, NOW).unwrap();
            let claims = verify(&token, NOW).unwrap().claims;
            check_binary(&claims, "aarch64-macos", &program).unwrap();
            let mut changed = program;
            let bit = bit.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = check_binary(&claims, "aarch64-macos", &changed);
            prop_assert!(matches!(refused, Err(Error::BinaryMismatch { .. })), "{:?}", refused);
        }
    }
}
