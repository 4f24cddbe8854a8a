//! The caller's side of the handshake.

use std::fmt;

use ring::rand::SecureRandom;
use wattle_identity::{Error as IdentityError, Member, verify_chain};

use crate::handshake::{
    ANSWER_LABEL, AnswerPacket, Ephemeral, Hash, KEY_LEN, MAX_HANDSHAKE_MILLIS, Offer, transcript, verify,
};
use crate::head::{Packet, SessionId, Side};
use crate::local::{Address, InstanceId, Local, Trust, random_bytes, validity_left};
use crate::session::{Session, Terms};
use crate::{Error, Features, Monotonic, Refusal, VersionRange, Wall};

/// An offer that was made and not yet answered. It holds the secret half of a key that is used once: to make another
/// session, make another offer.
pub struct Initiator {
    ephemeral: Ephemeral,
    offer: Vec<u8>,
    target: Address,
    lattice: String,
    versions: VersionRange,
    features: Features,
    began: Monotonic,
    own_certificates_end: Monotonic,
}

/// What came back.
#[derive(Debug)]
pub enum Response {
    /// The target agrees.
    Answer(Answer),
    /// The target refuses, with its signature.
    Refusal(Refusal),
}

/// An answer whose certificates and signature were checked.
#[derive(Debug)]
pub struct Answer {
    transcript: Hash,
    public_key: [u8; KEY_LEN],
    session: SessionId,
    version: u8,
    features: Features,
    peer: Member,
    instance: InstanceId,
    received: Monotonic,
    certificates_end: Monotonic,
    /// Stands for the offer that it answers.
    offer: Hash,
}

impl Answer {
    /// The member that answered.
    pub fn peer(&self) -> &Member {
        &self.peer
    }
}

impl Initiator {
    /// Makes an offer to a target.
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Certificate`] when the own certificate has expired; [`Error::FieldTooLong`] when the
    /// target's key is no key.
    pub fn start(
        local: &Local,
        target: Address,
        now: Monotonic,
        wall: Wall,
        random: &dyn SecureRandom,
    ) -> Result<Self, Error> {
        let own_certificates_end = now.plus(own_validity_left(local, wall)?);
        let ephemeral = Ephemeral::generate(random)?;
        let offer = Offer::encode(local, &target, wall, &ephemeral.public, &random_bytes(random)?)?;
        Ok(Self {
            ephemeral,
            offer,
            target,
            lattice: local.member().lattice().to_owned(),
            versions: local.versions,
            features: local.features,
            began: now,
            own_certificates_end,
        })
    }

    /// The packet to send. It can be sent again.
    pub fn offer(&self) -> &[u8] {
        &self.offer
    }

    /// The process that it is for.
    pub fn target(&self) -> &Address {
        &self.target
    }

    /// Reads what came back. An error says that this packet is not from the target, or no good; the right one can still
    /// come, because anyone who sees where the answer goes can send something there.
    ///
    /// # Errors
    /// [`Error::HandshakeTooSlow`], after which none can come; [`Error::MalformedHandshake`], [`Error::WrongInstance`],
    /// [`Error::WrongMember`], [`Error::WrongChoice`], [`Error::NoCommonVersion`], [`Error::Certificate`],
    /// [`Error::BadSignature`].
    pub fn read(
        &self,
        packet: &[u8],
        trust: &Trust<'_>,
        now: Monotonic,
        wall: Wall,
    ) -> Result<Response, Error> {
        let took = now.since(self.began);
        if took > MAX_HANDSHAKE_MILLIS {
            return Err(Error::HandshakeTooSlow { took, limit: MAX_HANDSHAKE_MILLIS });
        }
        if Packet::classify(packet).is_ok_and(|kind| kind == Packet::Refusal) {
            return Refusal::verify(packet, &self.offer, &self.target).map(Response::Refusal);
        }
        let answer = AnswerPacket::decode(packet)?;
        self.check_choice(&answer)?;
        let chain = &answer.chain.tokens;
        let peer = verify_chain(chain, trust.cluster_issuers, &self.lattice, wall.as_secs(), trust.revoked)?;
        if peer.key() != self.target.member {
            let (expected, found) = (self.target.member.clone(), peer.key().to_owned());
            return Err(Error::WrongMember { expected, found });
        }
        let transcript = transcript(&self.offer, answer.unsigned);
        verify(peer.key(), ANSWER_LABEL, &transcript, &answer.signature)?;
        Ok(Response::Answer(Answer {
            transcript,
            public_key: answer.public_key,
            session: answer.session,
            version: answer.version,
            features: answer.agreed,
            instance: answer.instance,
            received: now,
            certificates_end: now.plus(validity_left(&peer, wall)).min(self.own_certificates_end),
            peer,
            offer: crate::handshake::hash(&self.offer),
        }))
    }

    /// Makes the session. It exists on the other side when the first message sealed with it has arrived there.
    ///
    /// # Errors
    /// [`Error::OtherOffer`] when another initiator read the answer; [`Error::KeyAgreement`].
    pub fn finish(self, answer: Answer) -> Result<Session, Error> {
        if answer.offer != crate::handshake::hash(&self.offer) {
            return Err(Error::OtherOffer);
        }
        let keys = self.ephemeral.agree(&answer.public_key, &answer.transcript, answer.peer.key())?;
        Ok(Session::new(Terms {
            id: answer.session,
            version: answer.version,
            features: answer.features,
            peer: answer.peer,
            peer_instance: answer.instance,
            side: Side::Caller,
            keys,
            began: self.began,
            ended: answer.received,
            certificates_end: answer.certificates_end,
        }))
    }

    /// The target says what it can do, so that its choice can be checked.
    fn check_choice(&self, answer: &AnswerPacket<'_>) -> Result<(), Error> {
        if answer.instance != self.target.instance {
            return Err(Error::WrongInstance { member: self.target.member.clone() });
        }
        if answer.version != self.versions.highest_common(answer.versions)? {
            return Err(Error::WrongChoice { what: "version" });
        }
        if answer.agreed != self.features.common(answer.features) {
            return Err(Error::WrongChoice { what: "features" });
        }
        Ok(())
    }
}

/// Keys are not shown.
impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Milliseconds for which the own certificates are still good.
pub(crate) fn own_validity_left(local: &Local, wall: Wall) -> Result<u64, Error> {
    match validity_left(local.member(), wall) {
        0 => Err(Error::Certificate(IdentityError::CertificateExpired {
            subject: local.member().key().to_owned(),
            expires: local.member().expires(),
            now: wall.as_secs(),
        })),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests;
