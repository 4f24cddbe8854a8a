//! The packets of the handshake and the keys that come of it.

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{self, SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::SecureRandom;
use wattle_identity::{KeyPair, keys};
use zeroize::Zeroizing;

use crate::head::{ANSWER, HANDSHAKE, OFFER, SessionId};
use crate::local::{Address, InstanceId, Local};
use crate::wire::{Reader, put_short};
use crate::{Error, Features, VersionRange, Wall};

/// Longest offer or answer accepted, in bytes.
pub const MAX_HANDSHAKE_LEN: usize = 17 * 1024;

/// How long a caller waits for an answer to its offer, in milliseconds. It is also by how much a message can seem older
/// than it is, because the two sides start their clocks at the two ends of the handshake.
pub const MAX_HANDSHAKE_MILLIS: u64 = 5_000;

/// By how much the time in an offer may differ from that of the target, in seconds.
pub(crate) const MAX_SKEW: u64 = 60;

pub(crate) const KEY_LEN: usize = 32;
pub(crate) const HASH_LEN: usize = 32;
pub(crate) const SIGNATURE_LEN: usize = 64;

/// What is signed and hashed begins with one of these, so that no signature is good for anything else: certificates, which
/// the same keys sign, begin with `ey`.
pub(crate) const OFFER_LABEL: &[u8] = b"wattle.seal.v1 offer\0";
pub(crate) const ANSWER_LABEL: &[u8] = b"wattle.seal.v1 answer\0";
pub(crate) const REFUSAL_LABEL: &[u8] = b"wattle.seal.v1 refusal\0";
const TRANSCRIPT_LABEL: &[u8] = b"wattle.seal.v1 transcript\0";
const CALLER_TO_TARGET: &[u8] = b"wattle.seal.v1 caller to target";
const TARGET_TO_CALLER: &[u8] = b"wattle.seal.v1 target to caller";

pub(crate) type Hash = [u8; HASH_LEN];

pub(crate) fn sign(key: &KeyPair, label: &[u8], message: &[u8]) -> Vec<u8> {
    key.sign(&[label, message].concat())
}

pub(crate) fn verify(member: &str, label: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
    keys::verify(member, &[label, message].concat(), signature)
        .map_err(|_| Error::BadSignature { member: member.to_owned() })
}

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    finished(&digest(&SHA256, bytes))
}

/// The hash of both packets: of the offer whole, of the answer without its signature.
pub(crate) fn transcript(offer: &[u8], unsigned_answer: &[u8]) -> Hash {
    let mut context = digest::Context::new(&SHA256);
    context.update(TRANSCRIPT_LABEL);
    for part in [offer, unsigned_answer] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    finished(&context.finish())
}

fn finished(digest: &digest::Digest) -> Hash {
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// A chain of certificates as it stands in a packet: how many, then each behind its length.
#[derive(Clone)]
pub(crate) struct Chain(Vec<u8>);

impl Chain {
    pub(crate) fn encode<T: AsRef<str>>(tokens: &[T]) -> Result<Self, Error> {
        let malformed = |problem| Error::MalformedHandshake { field: "the chain", problem };
        let mut bytes = vec![u8::try_from(tokens.len()).map_err(|_| malformed("has too many certificates"))?];
        for token in tokens {
            let token = token.as_ref();
            let length =
                u16::try_from(token.len()).map_err(|_| malformed("has a certificate that is too long"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(token.as_bytes());
        }
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({} bytes)", self.0.len())
    }
}

/// A chain as it was read, unchecked. There are as many texts as the packet says, at most 255, and none is copied.
pub(crate) struct ReadChain<'a> {
    pub(crate) tokens: Vec<&'a str>,
    pub(crate) hash: Hash,
}

fn read_chain<'a>(reader: &mut Reader<'a>) -> Result<ReadChain<'a>, Error> {
    let count = reader.u8("the chain")?;
    let mut context = digest::Context::new(&SHA256);
    let mut tokens = Vec::with_capacity(2);
    for _ in 0..count {
        let token = reader.long_text("a certificate")?;
        context.update(&(token.len() as u64).to_be_bytes());
        context.update(token.as_bytes());
        tokens.push(token);
    }
    Ok(ReadChain { tokens, hash: finished(&context.finish()) })
}

fn reader<'a>(packet: &'a [u8], kind: u8) -> Result<Reader<'a>, Error> {
    let mut reader = Reader::new(packet, |field, problem| Error::MalformedHandshake { field, problem });
    if packet.len() > MAX_HANDSHAKE_LEN {
        return Err(reader.error("the packet", "is too long"));
    }
    if reader.array("the kind")? != [HANDSHAKE, kind] {
        return Err(reader.error("the kind", "is another"));
    }
    Ok(reader)
}

fn read_versions(reader: &mut Reader<'_>) -> Result<VersionRange, Error> {
    let (lowest, highest) = (reader.u8("the versions")?, reader.u8("the versions")?);
    VersionRange::new(lowest, highest).ok_or_else(|| reader.error("the versions", "are none"))
}

/// The first packet, from the caller.
pub(crate) struct Offer<'a> {
    pub(crate) versions: VersionRange,
    pub(crate) features: Features,
    pub(crate) time: Wall,
    pub(crate) caller: InstanceId,
    pub(crate) public_key: [u8; KEY_LEN],
    pub(crate) lattice: &'a str,
    pub(crate) target: Address,
    pub(crate) chain: ReadChain<'a>,
    /// All but the signature.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: [u8; SIGNATURE_LEN],
}

impl<'a> Offer<'a> {
    pub(crate) fn encode(
        local: &Local,
        target: &Address,
        wall: Wall,
        public_key: &[u8],
        nonce: &[u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let mut out = vec![HANDSHAKE, OFFER, local.versions.lowest(), local.versions.highest()];
        out.extend_from_slice(&local.features.bits().to_be_bytes());
        out.extend_from_slice(&wall.as_secs().to_be_bytes());
        out.extend_from_slice(local.instance().as_bytes());
        out.extend_from_slice(public_key);
        out.extend_from_slice(nonce);
        put_short(&mut out, "the lattice", local.member().lattice(), u8::MAX)?;
        put_short(&mut out, "the target", &target.member, u8::MAX)?;
        out.extend_from_slice(target.instance.as_bytes());
        out.extend_from_slice(local.chain.as_bytes());
        let signature = sign(&local.key, OFFER_LABEL, &out);
        out.extend_from_slice(&signature);
        Ok(out)
    }

    pub(crate) fn decode(packet: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(packet, OFFER)?;
        let versions = read_versions(&mut reader)?;
        let features = Features::from_bits(reader.u64("the features")?);
        let time = Wall::from_secs(reader.u64("the time")?);
        let caller = InstanceId(reader.array("the caller")?);
        let public_key = reader.array("the key")?;
        reader.array::<32>("the nonce")?;
        let lattice = reader.short_text("the lattice")?;
        let member = reader.short_text("the target")?.to_owned();
        let target = Address { member, instance: InstanceId(reader.array("the target")?) };
        let chain = read_chain(&mut reader)?;
        let signature = reader.array("the signature")?;
        reader.finish()?;
        let signed = &packet[..packet.len() - SIGNATURE_LEN];
        Ok(Self { versions, features, time, caller, public_key, lattice, target, chain, signed, signature })
    }
}

/// The second packet, from the target.
pub(crate) struct AnswerPacket<'a> {
    pub(crate) versions: VersionRange,
    pub(crate) features: Features,
    pub(crate) version: u8,
    pub(crate) agreed: Features,
    pub(crate) instance: InstanceId,
    pub(crate) session: SessionId,
    pub(crate) public_key: [u8; KEY_LEN],
    pub(crate) chain: ReadChain<'a>,
    /// All but the signature.
    pub(crate) unsigned: &'a [u8],
    pub(crate) signature: [u8; SIGNATURE_LEN],
}

impl<'a> AnswerPacket<'a> {
    /// Makes the packet, and the hash of both packets.
    pub(crate) fn encode(
        local: &Local,
        offer: &[u8],
        version: u8,
        agreed: Features,
        session: SessionId,
        public_key: &[u8],
    ) -> (Vec<u8>, Hash) {
        let mut out = vec![HANDSHAKE, ANSWER, local.versions.lowest(), local.versions.highest()];
        out.extend_from_slice(&local.features.bits().to_be_bytes());
        out.push(version);
        out.extend_from_slice(&agreed.bits().to_be_bytes());
        out.extend_from_slice(local.instance().as_bytes());
        out.extend_from_slice(&session.0);
        out.extend_from_slice(public_key);
        out.extend_from_slice(local.chain.as_bytes());
        let transcript = transcript(offer, &out);
        let signature = sign(&local.key, ANSWER_LABEL, &transcript);
        out.extend_from_slice(&signature);
        (out, transcript)
    }

    pub(crate) fn decode(packet: &'a [u8]) -> Result<Self, Error> {
        let mut reader = reader(packet, ANSWER)?;
        let versions = read_versions(&mut reader)?;
        let features = Features::from_bits(reader.u64("the features")?);
        let version = reader.u8("the chosen version")?;
        let agreed = Features::from_bits(reader.u64("the chosen features")?);
        let instance = InstanceId(reader.array("the instance")?);
        let session = SessionId(reader.array("the session")?);
        let public_key = reader.array("the key")?;
        let chain = read_chain(&mut reader)?;
        let signature = reader.array("the signature")?;
        reader.finish()?;
        let unsigned = &packet[..packet.len() - SIGNATURE_LEN];
        Ok(Self {
            versions,
            features,
            version,
            agreed,
            instance,
            session,
            public_key,
            chain,
            unsigned,
            signature,
        })
    }
}

/// A key for one handshake.
pub(crate) struct Ephemeral {
    private: EphemeralPrivateKey,
    pub(crate) public: Vec<u8>,
}

impl Ephemeral {
    pub(crate) fn generate(random: &dyn SecureRandom) -> Result<Self, Error> {
        let private = EphemeralPrivateKey::generate(&X25519, random).map_err(|_| Error::Random)?;
        let public = private.compute_public_key().map_err(|_| Error::Random)?.as_ref().to_vec();
        Ok(Self { private, public })
    }

    /// Uses the key up. `member` is the one whose key `theirs` is, for the error.
    pub(crate) fn agree(
        self,
        theirs: &[u8; KEY_LEN],
        transcript: &Hash,
        member: &str,
    ) -> Result<Keys, Error> {
        let failed = || Error::KeyAgreement { member: member.to_owned() };
        agree_ephemeral(self.private, &UnparsedPublicKey::new(&X25519, theirs), |secret| {
            let secret = Salt::new(HKDF_SHA256, transcript).extract(secret);
            Some(Keys {
                caller_to_target: expand(&secret, CALLER_TO_TARGET)?,
                target_to_caller: expand(&secret, TARGET_TO_CALLER)?,
            })
        })
        .ok()
        .flatten()
        .ok_or_else(failed)
    }
}

/// The keys of a session, one for each direction.
pub(crate) struct Keys {
    pub(crate) caller_to_target: LessSafeKey,
    pub(crate) target_to_caller: LessSafeKey,
}

/// `ring` fails here only for outputs of impossible lengths; `None` then.
fn expand(secret: &Prk, label: &[u8]) -> Option<LessSafeKey> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    secret.expand(&[label], HKDF_SHA256).and_then(|output| output.fill(key.as_mut())).ok()?;
    UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
}
