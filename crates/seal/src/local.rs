//! This member, and what it trusts.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ring::rand::SecureRandom;
use wattle_identity::certificate::CLOCK_TOLERANCE;
use wattle_identity::{KeyPair, Member, verify_chain};

use crate::handshake::Chain;
use crate::{Error, Features, VersionRange, Wall};

/// The name of one process, chosen at random when it starts: what was sealed for one is refused by the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(pub(crate) [u8; 16]);

impl InstanceId {
    /// A new name.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn random(random: &dyn SecureRandom) -> Result<Self, Error> {
        random_bytes(random).map(Self)
    }

    /// The name that has these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the name.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hexadecimal digits, which can stand in a subject.
impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for InstanceId {
    type Err = Error;

    /// Reads 32 lower-case hexadecimal digits; anything else is an [`Error::MalformedHandshake`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(Error::MalformedHandshake {
            field: "the instance",
            problem: "is not 32 lower-case hexadecimal digits",
        })
    }
}

/// A process of a member: where an offer goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Public key of the member.
    pub member: String,
    /// The process.
    pub instance: InstanceId,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.member, self.instance)
    }
}

/// Whom to believe.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// Public keys (`C…`) of the cluster keys whose certificates count.
    pub cluster_issuers: &'a [String],
    /// Ids of the certificates that were revoked.
    pub revoked: &'a BTreeSet<String>,
}

/// This process as a member: key, certificates, name, and what it can do. When the certificate is renewed, a new one is
/// made.
#[derive(Debug, Clone)]
pub struct Local {
    pub(crate) key: KeyPair,
    pub(crate) chain: Chain,
    pub(crate) member: Member,
    pub(crate) instance: InstanceId,
    pub(crate) versions: VersionRange,
    pub(crate) features: Features,
}

impl Local {
    /// This process with the chain that it shows, its own certificate first.
    ///
    /// # Errors
    /// [`Error::Certificate`] when others would not accept the chain, so that this is heard at the start;
    /// [`Error::WrongKey`] when the certificate is another's.
    pub fn new<T: AsRef<str>>(
        key: KeyPair,
        chain: &[T],
        instance: InstanceId,
        lattice: &str,
        trust: &Trust<'_>,
        wall: Wall,
    ) -> Result<Self, Error> {
        let member = verify_chain(chain, trust.cluster_issuers, lattice, wall.as_secs(), trust.revoked)?;
        if member.key() != key.public_key() {
            return Err(Error::WrongKey { certificate: member.key().to_owned(), key: key.public_key() });
        }
        let (versions, features) = (VersionRange::SUPPORTED, Features::NONE);
        Ok(Self { key, chain: Chain::encode(chain)?, member, instance, versions, features })
    }

    /// The same, speaking these versions and features in the place of [`VersionRange::SUPPORTED`] and none.
    #[must_use]
    pub fn with_protocol(self, versions: VersionRange, features: Features) -> Self {
        Self { versions, features, ..self }
    }

    /// What the member is and may do.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The name of this process.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    pub(crate) fn is_addressed(&self, address: &Address) -> bool {
        address.member == self.member.key() && address.instance == self.instance
    }
}

/// Milliseconds for which a member's certificates are still good, with the tolerance.
pub(crate) fn validity_left(member: &Member, wall: Wall) -> u64 {
    member.expires().saturating_add(CLOCK_TOLERANCE).saturating_sub(wall.as_secs()).saturating_mul(1000)
}

pub(crate) fn random_bytes<const N: usize>(random: &dyn SecureRandom) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}
