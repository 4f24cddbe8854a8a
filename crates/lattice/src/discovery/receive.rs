//! What comes from other members: each packet is checked, the cheap parts first, before it has any effect.

use std::sync::Arc;

use async_nats::{Message, StatusCode};
use tokio::time::Instant;
use wattle_identity::{Member, keys};
use wattle_protocol::rpc::{
    Action, Announcement, Answer, FULL_LOAD, Instance, Packet, Query, Signed, is_answer_subject, nonce_of,
};
use wattle_seal::{Address, InstanceId, VersionRange};

use super::counters::{Counters, Dropped};
use super::rate::RateLimit;
use super::table::Said;
use super::{Inner, wall};

/// By how much the time of an announcement may differ from ours, in seconds.
const MAX_SKEW: u64 = 60;

impl Inner {
    /// A message where targets are looked for.
    pub(super) async fn on_bucket(&self, message: Message) {
        let handled = match Packet::decode(&message.payload) {
            Ok(Packet::Query(query)) => self.on_query(&query, message.reply.as_deref()).await,
            Ok(Packet::Announcement(announcement)) => {
                self.on_announcement(&announcement, Instant::now(), wall())
            }
            Ok(Packet::Answer(_)) | Err(_) => Err(Dropped::Malformed),
        };
        handled.unwrap_or_else(|why| self.counters.drop(why));
    }

    /// A message in our inbox.
    pub(super) fn on_inbox(&self, message: &Message) {
        if message.status == Some(StatusCode::NO_RESPONDERS) && message.payload.is_empty() {
            if let Some(nonce) = nonce_of(&message.subject) {
                self.open().nobody(&nonce);
            }
            return;
        }
        let handled = match Packet::decode(&message.payload) {
            Ok(Packet::Answer(answer)) => self.on_answer(&answer, Instant::now(), wall()),
            Ok(_) | Err(_) => Err(Dropped::Malformed),
        };
        handled.unwrap_or_else(|why| self.counters.drop(why));
    }

    async fn on_query(&self, query: &Query, reply: Option<&str>) -> Result<(), Dropped> {
        // Read before looking what runs here: what changes later has a higher number.
        let sequence = self.sequence.load(std::sync::atomic::Ordering::Acquire);
        let Some(target) = self.served().get(&query.target).cloned() else { return Ok(()) };
        if self.open().is_ours(&query.nonce) {
            return Ok(());
        }
        let Some(load) = self.service.load(&target) else { return Ok(()) };
        let version = common_version(query).ok_or(Dropped::Version)?;
        let reply = reply.filter(|reply| is_answer_subject(reply, &query.nonce));
        let reply = reply.ok_or(Dropped::ReplySubject)?;
        let standing = self.standing.load_full();
        if !standing.local.member().may_answer_for(&target) {
            return Err(Dropped::NotAllowed);
        }
        if !self.answer_limit.take(Instant::now()) {
            return Err(Dropped::AnswerLimit);
        }
        let answer = Answer {
            version,
            nonce: query.nonce,
            target: query.target,
            instance: self.instance,
            sequence,
            load: load.min(FULL_LOAD),
            draining: self.draining.load(std::sync::atomic::Ordering::Acquire),
            member: standing.local.member().key(),
            chain: standing.chain.iter().map(String::as_str).collect(),
        };
        let packet = answer.encode(&self.lattice, |message| standing.key.sign(message));
        let packet = packet.map_err(|_| Dropped::Malformed)?;
        match self.connection.client().publish(reply.to_owned(), packet.into()).await {
            Ok(()) => Counters::count(&self.counters.answers_sent),
            Err(error) => tracing::debug!(%error, "an answer was not sent"),
        }
        Ok(())
    }

    pub(super) fn on_answer(
        &self,
        signed: &Signed<'_, Answer<'_>>,
        now: Instant,
        wall: u64,
    ) -> Result<(), Dropped> {
        let answer = &signed.content;
        let address = address(answer.member, &answer.instance);
        let query = self.open().get(&answer.nonce, &address, now)?;
        if answer.target != query.hash {
            return Err(Dropped::UnknownQuery);
        }
        if answer.instance == self.instance {
            return Ok(());
        }
        let versions = VersionRange::SUPPORTED;
        if !(versions.lowest()..=versions.highest()).contains(&answer.version) {
            return Err(Dropped::Version);
        }
        self.table().admits(&query.target, &address)?;
        let member = self.verify(signed, answer.member, &answer.chain, &self.answer_checks, now, wall)?;
        if !member.may_answer_for(&query.target) {
            return Err(Dropped::NotAllowed);
        }
        self.open().heard(&answer.nonce, address.clone());
        let said = Said {
            address,
            member,
            load: answer.load,
            sequence: answer.sequence,
            draining: answer.draining,
            asked: query.sent,
        };
        self.table().answered(&query.target, said, now)?;
        Counters::count(&self.counters.answers_taken);
        Ok(())
    }

    pub(super) fn on_announcement(
        &self,
        signed: &Signed<'_, Announcement<'_>>,
        now: Instant,
        wall: u64,
    ) -> Result<(), Dropped> {
        let announcement = &signed.content;
        if announcement.instance == self.instance {
            return Ok(());
        }
        if announcement.time.abs_diff(wall) > MAX_SKEW {
            return Err(Dropped::Time);
        }
        let address = address(announcement.member, &announcement.instance);
        let target = self.table().concerns(announcement, &address)?;
        let (said, limit) = (announcement.member, &self.announcement_checks);
        let member = self.verify(signed, said, &announcement.chain, limit, now, wall)?;
        let started = announcement.action == Action::Started;
        if started && !target.as_ref().is_some_and(|target| member.may_answer_for(target)) {
            return Err(Dropped::NotAllowed);
        }
        self.table().announced(target.as_deref(), announcement, &address, member, now)?;
        Counters::count(&self.counters.announcements_taken);
        Ok(())
    }

    /// The member that signed a packet, which must be the one that it names. Each check is costly, so their number is
    /// limited.
    fn verify<T>(
        &self,
        signed: &Signed<'_, T>,
        named: &str,
        chain: &[&str],
        limit: &RateLimit,
        now: Instant,
        wall: u64,
    ) -> Result<Arc<Member>, Dropped> {
        if !limit.take(now) {
            return Err(Dropped::VerificationLimit);
        }
        let standing = self.standing.load_full();
        let member = self.chains().verify(chain, &standing.trust(), &self.lattice, wall);
        let member = member.map_err(|error| {
            tracing::debug!(%error, "a packet of discovery shows a chain that is not believed");
            Dropped::Chain
        })?;
        if member.key() != named {
            return Err(Dropped::Chain);
        }
        keys::verify(named, &signed.message(&self.lattice), signed.signature)
            .map_err(|_| Dropped::Signature)?;
        Ok(member)
    }
}

fn common_version(query: &Query) -> Option<u8> {
    let ours = VersionRange::SUPPORTED;
    let highest = ours.highest().min(query.highest);
    (highest >= ours.lowest().max(query.lowest)).then_some(highest)
}

fn address(member: &str, instance: &Instance) -> Address {
    Address { member: member.to_owned(), instance: InstanceId::from_bytes(*instance) }
}
