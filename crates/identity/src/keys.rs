//! nkeys: Ed25519 keys in base 32, with a letter that says what the key stands for and a checksum against typing
//! errors. A public key has 56 characters and begins with that letter; a seed has 58 and begins with `S` and the letter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey};
use nkeys::error::ErrorKind;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::Error;

const PUBLIC_KEY_LENGTH: usize = 56;
const SEED_LENGTH: usize = 58;

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// Issues claims (`A`).
    Account,
    /// A component (`M`).
    Component,
    /// A capability provider (`V`).
    Provider,
    /// A host (`N`).
    Host,
    /// Signs for a lattice (`C`).
    Cluster,
    /// Vouches for accounts of NATS (`O`).
    Operator,
    /// A user of NATS (`U`).
    User,
}

impl KeyKind {
    /// All kinds, in the order in which they are listed to people.
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Component,
        Self::Provider,
        Self::Host,
        Self::Cluster,
        Self::Operator,
        Self::User,
    ];

    /// The first letter of a public key of this kind, and the second of a seed.
    pub fn prefix(self) -> char {
        char::from(self.letter())
    }

    fn letter(self) -> u8 {
        match self {
            Self::Account => b'A',
            Self::Component => b'M',
            Self::Provider => b'V',
            Self::Host => b'N',
            Self::Cluster => b'C',
            Self::Operator => b'O',
            Self::User => b'U',
        }
    }

    /// The kind behind the byte in front of a decoded key: the letter's place in the alphabet, in the upper five bits.
    fn from_prefix_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| (kind.letter() - b'A') << 3 == byte)
    }

    fn to_nkeys(self) -> nkeys::KeyPairType {
        match self {
            Self::Account => nkeys::KeyPairType::Account,
            Self::Component => nkeys::KeyPairType::Module,
            Self::Provider => nkeys::KeyPairType::Service,
            Self::Host => nkeys::KeyPairType::Server,
            Self::Cluster => nkeys::KeyPairType::Cluster,
            Self::Operator => nkeys::KeyPairType::Operator,
            Self::User => nkeys::KeyPairType::User,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Account => "account",
            Self::Component => "component",
            Self::Provider => "provider",
            Self::Host => "host",
            Self::Cluster => "cluster",
            Self::Operator => "operator",
            Self::User => "user",
        })
    }
}

impl FromStr for KeyKind {
    type Err = Error;

    /// Reads a kind's word in any case; `module` and `actor`, `service` and `server` are the older words for a
    /// component, a provider and a host.
    fn from_str(word: &str) -> Result<Self, Error> {
        match word.to_ascii_lowercase().as_str() {
            "account" => Ok(Self::Account),
            "component" | "module" | "actor" => Ok(Self::Component),
            "provider" | "service" => Ok(Self::Provider),
            "host" | "server" => Ok(Self::Host),
            "cluster" => Ok(Self::Cluster),
            "operator" => Ok(Self::Operator),
            "user" => Ok(Self::User),
            _ => Err(Error::UnknownKind(word.to_owned())),
        }
    }
}

/// A key with its secret half. Clones share one copy of the secret, which is wiped when the last of them is dropped;
/// `Debug` shows the public half only.
#[derive(Clone)]
pub struct KeyPair(Arc<Secret>);

struct Secret {
    kind: KeyKind,
    seed: Zeroizing<String>,
    signing_key: SigningKey,
    public_key: String,
}

impl KeyPair {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random numbers.
    pub fn generate(kind: KeyKind) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(secret.as_mut()).map_err(|_| Error::Random)?;
        Self::from_secret(kind, &secret)
    }

    /// Reads a seed; white space around it is ignored.
    ///
    /// # Errors
    /// [`Error::BadSeed`] when it is not the seed of a signing key of one of the [kinds](KeyKind).
    pub fn from_seed(seed: &str) -> Result<Self, Error> {
        let seed = seed.trim();
        let (prefix, secret) = nkeys::decode_seed(seed)
            .map_err(|error| Error::BadSeed { reason: seed_problem(seed, &error) })?;
        let secret = Zeroizing::new(secret);
        let kind = KeyKind::from_prefix_byte(prefix).ok_or_else(|| Error::BadSeed {
            reason: "its second letter is none of A, M, V, N, C, O and U".to_owned(),
        })?;
        Self::from_secret(kind, &secret)
    }

    fn from_secret(kind: KeyKind, secret: &[u8; 32]) -> Result<Self, Error> {
        let unreadable = |error: nkeys::error::Error| Error::BadSeed { reason: error.to_string() };
        let pair = nkeys::KeyPair::new_from_raw(kind.to_nkeys(), *secret).map_err(unreadable)?;
        Ok(Self(Arc::new(Secret {
            kind,
            seed: Zeroizing::new(pair.seed().map_err(unreadable)?),
            signing_key: SigningKey::from_bytes(secret),
            public_key: pair.public_key(),
        })))
    }

    /// The seed, from which the key can be made again: a secret.
    pub fn seed(&self) -> Zeroizing<String> {
        self.0.seed.clone()
    }

    /// The public half.
    pub fn public_key(&self) -> String {
        self.0.public_key.clone()
    }

    /// What the key stands for.
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// The Ed25519 signature (RFC 8032) of `message`, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.signing_key.sign(message).to_bytes().to_vec()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.0.public_key).finish()
    }
}

/// What a public key stands for.
///
/// # Errors
/// [`Error::BadPublicKey`] when it is not a public key: length, alphabet, checksum and first letter are checked.
pub fn public_key_kind(public_key: &str) -> Result<KeyKind, Error> {
    let (prefix, _) =
        nkeys::from_public_key(public_key).map_err(|error| bad_public_key(public_key, &error))?;
    KeyKind::from_prefix_byte(prefix).ok_or_else(|| Error::BadPublicKey {
        key: public_key.to_owned(),
        reason: "its first letter is none of A, M, V, N, C, O and U".to_owned(),
    })
}

/// Checks an Ed25519 signature of `message`.
///
/// # Errors
/// [`Error::BadPublicKey`] when `public_key` is none, [`Error::BadSignature`] when the signature is not its.
pub fn verify(public_key: &str, message: &[u8], signature: &[u8]) -> Result<(), Error> {
    public_key_kind(public_key)?;
    nkeys::KeyPair::from_public_key(public_key)
        .map_err(|error| bad_public_key(public_key, &error))?
        .verify(message, signature)
        .map_err(|_| Error::BadSignature { public_key: public_key.to_owned() })
}

fn bad_public_key(key: &str, error: &nkeys::error::Error) -> Error {
    Error::BadPublicKey { key: key.to_owned(), reason: problem(key.len(), PUBLIC_KEY_LENGTH, error) }
}

/// Says what is wrong with a seed without repeating any of it.
fn seed_problem(seed: &str, error: &nkeys::error::Error) -> String {
    if public_key_kind(seed).is_ok() {
        return "it is a public key; the seed begins with S".to_owned();
    }
    problem(seed.len(), SEED_LENGTH, error)
}

fn problem(length: usize, expected: usize, error: &nkeys::error::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidKeyLength => format!("it has {length} characters and should have {expected}"),
        ErrorKind::CodecFailure => "only the letters A to Z and the digits 2 to 7 may occur".to_owned(),
        ErrorKind::ChecksumFailure => "its checksum does not match, so it was mistyped or cut".to_owned(),
        ErrorKind::InvalidPrefix => "its first letter is not that of a known kind".to_owned(),
        ErrorKind::VerifyError => "it is not a point of the curve".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = KeyKind> {
        proptest::sample::select(KeyKind::ALL.to_vec())
    }

    #[test]
    fn reads_a_seed_made_elsewhere() {
        // Pair of the nkeys implementation in Go, as published with the crate `nkeys`.
        let pair =
            KeyPair::from_seed(" SAAPN4W3EG6KCJGUQTKTJ5GSB5NHK5CHAJL4DBGFUM3HHROI4XUEP4OBK4\n").unwrap();
        assert_eq!(pair.public_key(), "ACODERUVFFAWZQDSS6SBIACUA5O6SXF7HJ3YTYXBALHZP3P7R4BUO4J2");
        assert_eq!(pair.kind(), KeyKind::Account);
    }

    #[test]
    fn words_and_aliases_name_kinds() {
        for kind in KeyKind::ALL {
            assert_eq!(kind.to_string().parse::<KeyKind>().unwrap(), kind);
        }
        for (alias, kind) in [
            ("module", KeyKind::Component),
            ("Actor", KeyKind::Component),
            ("service", KeyKind::Provider),
            ("server", KeyKind::Host),
        ] {
            assert_eq!(alias.parse::<KeyKind>().unwrap(), kind);
        }
        assert!("curve".parse::<KeyKind>().unwrap_err().to_string().contains("`curve`"));
    }

    #[test]
    fn debug_hides_the_seed() {
        let pair = KeyPair::generate(KeyKind::Cluster).unwrap();
        let shown = format!("{pair:?} {pair:#?}");
        assert!(shown.contains(&pair.public_key()));
        assert!(!shown.contains(pair.seed().as_str()));
    }

    #[test]
    fn a_bad_seed_is_explained_but_not_repeated() {
        let good = KeyPair::generate(KeyKind::Account).unwrap();
        let seed = good.seed();
        let mistyped = format!("{}{}", &seed[..57], if seed.ends_with('A') { 'E' } else { 'A' });
        for (text, reason) in [
            ("", "it has 0 characters and should have 58"),
            (&seed[..57], "it has 57 characters"),
            (&seed.to_lowercase(), "only the letters A to Z"),
            (&mistyped, "its checksum does not match"),
            (&good.public_key(), "it is a public key"),
        ] {
            let error = KeyPair::from_seed(text).unwrap_err();
            assert!(matches!(error, Error::BadSeed { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(reason), "{message}");
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }

    #[test]
    fn curve_keys_are_not_signing_keys() {
        // Right in every respect but for the letter X, respectively SX.
        let curve = nkeys::KeyPair::new(nkeys::KeyPairType::Curve);
        assert!(matches!(public_key_kind(&curve.public_key()), Err(Error::BadPublicKey { .. })));
        assert!(matches!(KeyPair::from_seed(&curve.seed().unwrap()), Err(Error::BadSeed { .. })));
        let signature = curve.sign(b"message").unwrap();
        assert!(matches!(
            verify(&curve.public_key(), b"message", &signature),
            Err(Error::BadPublicKey { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_key_survives_its_seed(kind in kinds(), message: Vec<u8>) {
            let pair = KeyPair::generate(kind).unwrap();
            let again = KeyPair::from_seed(&pair.seed()).unwrap();
            prop_assert_eq!(again.public_key(), pair.public_key());
            prop_assert_eq!(again.kind(), kind);
            prop_assert!(pair.public_key().starts_with(kind.prefix()));
            prop_assert!(pair.seed()[1..].starts_with(kind.prefix()));
            prop_assert_eq!(public_key_kind(&pair.public_key()).unwrap(), kind);
            verify(&pair.public_key(), &message, &again.sign(&message)).unwrap();
        }

        #[test]
        fn one_wrong_character_is_noticed(kind in kinds(), place in 0..56usize, letter in "[A-Z2-7]") {
            let pair = KeyPair::generate(kind).unwrap();
            let mut key = pair.public_key();
            prop_assume!(key[place..=place] != letter);
            key.replace_range(place..=place, &letter);
            prop_assert!(public_key_kind(&key).is_err());

            let mut seed = pair.seed();
            prop_assume!(seed[place..=place] != letter);
            seed.replace_range(place..=place, &letter);
            prop_assert!(KeyPair::from_seed(&seed).is_err());
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*", letters in "[A-Z2-7]{56,58}", signature: Vec<u8>) {
            for text in [&text, &letters] {
                let _ = KeyPair::from_seed(text);
                let _ = public_key_kind(text);
                prop_assert!(verify(text, b"message", &signature).is_err());
            }
        }

        #[test]
        fn a_changed_message_or_signature_is_refused(message: Vec<u8>, bit in 0..512usize) {
            let pair = KeyPair::generate(KeyKind::Host).unwrap();
            let good = pair.sign(&message);
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let refused = verify(&pair.public_key(), &message, &bad);
            prop_assert!(matches!(refused, Err(Error::BadSignature { .. })), "{:?}", refused);
            let mut longer = message.clone();
            longer.push(0);
            prop_assert!(verify(&pair.public_key(), &longer, &good).is_err());
            prop_assert!(verify(&pair.public_key(), &message, &good[..63]).is_err());
        }
    }
}
