//! The target's side of the handshake.

mod chains;
mod unconfirmed;

use ring::rand::SecureRandom;

use crate::handshake::{AnswerPacket, Ephemeral, Hash, MAX_SKEW, OFFER_LABEL, Offer, hash, verify};
use crate::head::{Head, SessionId, Side};
use crate::initiator::own_validity_left;
use crate::local::{Local, Trust, random_bytes, validity_left};
use crate::session::{Opened, Session, Terms};
use crate::{Address, Error, Monotonic, Wall};
use chains::Chains;
use unconfirmed::{Entry, Lookup, Unconfirmed};

/// How much a responder keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that were answered and not yet confirmed. When there are more, the oldest of the member that has most of
    /// them goes.
    pub unconfirmed: usize,
    /// For how many milliseconds a session may stay unconfirmed.
    pub lifetime: u64,
    /// Offers that are remembered, so that none is answered twice.
    pub offers: usize,
    /// Chains of certificates that are remembered, so that their signatures need not be checked again.
    pub chains: usize,
}

impl Default for Limits {
    /// 1,024 unconfirmed sessions for 10 s, 16,384 offers, 256 chains: less than 16 MiB.
    fn default() -> Self {
        Self { unconfirmed: 1024, lifetime: 10_000, offers: 16_384, chains: 256 }
    }
}

/// Answers offers, and keeps the sessions that come of it until their first message. It never holds an established
/// session, so however many offers come, none of those is lost.
#[derive(Debug)]
pub struct Responder {
    unconfirmed: Unconfirmed,
    chains: Chains,
}

impl Responder {
    /// A responder that keeps nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { unconfirmed: Unconfirmed::new(limits), chains: Chains::new(limits.chains) }
    }

    /// How many sessions are waiting for their first message.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Checks an offer and answers it. The same offer gets the same answer until it is confirmed or given up.
    ///
    /// # Errors
    /// [`Error::MalformedHandshake`], [`Error::WrongLattice`], [`Error::WrongTarget`], [`Error::ClockSkew`],
    /// [`Error::OfferReplayed`], [`Error::Certificate`], [`Error::BadSignature`], [`Error::NoCommonVersion`],
    /// [`Error::KeyAgreement`], [`Error::Random`]. For some, the caller should get a [`Refusal`](crate::Refusal).
    pub fn accept(
        &mut self,
        local: &Local,
        trust: &Trust<'_>,
        offer: &[u8],
        now: Monotonic,
        wall: Wall,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Error> {
        let packet = Offer::decode(offer)?;
        check_addressee(local, &packet)?;
        check_clock(packet.time, wall)?;
        let name = hash(offer);
        match self.unconfirmed.find_offer(&name, now) {
            Lookup::New => {}
            Lookup::Pending(answer) => return Ok(answer.to_vec()),
            Lookup::Used => return Err(Error::OfferReplayed),
        }
        let peer = self.chains.verify(&packet.chain, trust, local.member().lattice(), wall)?;
        verify(peer.key(), OFFER_LABEL, packet.signed, &packet.signature)?;
        let version = local.versions.highest_common(packet.versions)?;
        let features = local.features.common(packet.features);
        let certificates_end = now.plus(own_validity_left(local, wall)?.min(validity_left(&peer, wall)));

        let ephemeral = Ephemeral::generate(random)?;
        let session = SessionId(random_bytes(random)?);
        let (answer, transcript) =
            AnswerPacket::encode(local, offer, version, features, session, &ephemeral.public);
        let keys = ephemeral.agree(&packet.public_key, &transcript, peer.key())?;
        let session = Session::new(Terms {
            id: session,
            version,
            features,
            peer,
            peer_instance: packet.caller,
            side: Side::Target,
            keys,
            began: now,
            ended: now,
            certificates_end,
        });
        self.remember(name, packet.time, session, &answer, now, wall);
        Ok(answer)
    }

    /// Opens the first message of a session, and hands the session out: from now on it is the caller's to keep. A message
    /// that doesn't open changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownSession`] when no session of that name waits for its first message; otherwise as
    /// [`Session::open`].
    pub fn confirm<'a>(
        &mut self,
        message: &'a mut [u8],
        now: Monotonic,
        max_age: u64,
    ) -> Result<(Session, Opened<'a>), Error> {
        let id = Head::read(message)?.session;
        let session = self.unconfirmed.session(id, now).ok_or(Error::UnknownSession { session: id })?;
        let opened = session.open(message, now, max_age)?;
        let session = self.unconfirmed.remove(id).ok_or(Error::UnknownSession { session: id })?;
        Ok((session, opened))
    }

    /// An offer is remembered for as long as its time lets it be accepted.
    fn remember(
        &mut self,
        offer: Hash,
        time: Wall,
        session: Session,
        answer: &[u8],
        now: Monotonic,
        wall: Wall,
    ) {
        let acceptable = time.as_secs().saturating_add(MAX_SKEW + 1).saturating_sub(wall.as_secs());
        let entry = Entry { session, answer: answer.into(), made: now };
        self.unconfirmed.insert(offer, now.plus(acceptable.saturating_mul(1000)), entry);
    }
}

fn check_addressee(local: &Local, offer: &Offer<'_>) -> Result<(), Error> {
    let lattice = local.member().lattice();
    if offer.lattice != lattice {
        return Err(Error::WrongLattice { expected: lattice.to_owned(), found: offer.lattice.to_owned() });
    }
    if !local.is_addressed(&offer.target) {
        let own = Address { member: local.member().key().to_owned(), instance: local.instance() };
        return Err(Error::WrongTarget { expected: own.to_string(), found: offer.target.to_string() });
    }
    Ok(())
}

fn check_clock(theirs: Wall, ours: Wall) -> Result<(), Error> {
    let (theirs, ours) = (theirs.as_secs(), ours.as_secs());
    if theirs.abs_diff(ours) > MAX_SKEW {
        return Err(Error::ClockSkew { theirs, ours });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
