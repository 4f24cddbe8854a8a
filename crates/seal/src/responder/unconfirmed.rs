//! Sessions that wait for their first message, and the offers that were answered.

use std::collections::{HashMap, VecDeque};

use super::Limits;
use crate::Monotonic;
use crate::handshake::Hash;
use crate::head::SessionId;
use crate::session::Session;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) answer: Box<[u8]>,
    pub(super) made: Monotonic,
}

/// What is known of an offer.
pub(super) enum Lookup<'a> {
    /// Nothing.
    New,
    /// It was answered so, and its session waits.
    Pending(&'a [u8]),
    /// It was answered, and its session was confirmed or given up.
    Used,
}

/// A table with bounds: on sessions, in number and time, and on offers, in number and by the time in them.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    limits: Limits,
    sessions: HashMap<SessionId, Entry>,
    /// The sessions in the order in which they were made, with some that are gone.
    order: VecDeque<SessionId>,
    /// The sessions of each member, by its key, in the same order.
    members: HashMap<String, VecDeque<SessionId>>,
    offers: HashMap<Hash, SessionId>,
    /// The offers in the order in which they came, and until when each is remembered.
    offer_order: VecDeque<(Hash, Monotonic)>,
}

impl Unconfirmed {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: HashMap::new(),
            order: VecDeque::new(),
            members: HashMap::new(),
            offers: HashMap::new(),
            offer_order: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether the indices name the sessions that there are, each once.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let named: usize = self.members.values().map(VecDeque::len).sum();
        named == self.sessions.len()
            && self.members.values().all(|ids| !ids.is_empty())
            && self.order.len() <= 2 * self.sessions.len() + 16
            && self.offers.len() == self.offer_order.len()
            && self.offers.len() <= self.limits.offers
            && self.sessions.len() <= self.limits.unconfirmed
    }

    pub(super) fn find_offer(&mut self, offer: &Hash, now: Monotonic) -> Lookup<'_> {
        self.expire(now);
        match self.offers.get(offer) {
            None => Lookup::New,
            Some(session) => {
                self.sessions.get(session).map_or(Lookup::Used, |entry| Lookup::Pending(&entry.answer))
            }
        }
    }

    pub(super) fn session(&mut self, id: SessionId, now: Monotonic) -> Option<&Session> {
        self.expire(now);
        self.sessions.get(&id).map(|entry| &entry.session)
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?.session;
        let member = session.peer().key();
        if let Some(ids) = self.members.get_mut(member) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.members.remove(member);
            }
        }
        Some(session)
    }

    /// Adds a session, and the offer that it came from, which is remembered until `remembered`.
    pub(super) fn insert(&mut self, offer: Hash, remembered: Monotonic, entry: Entry) {
        while self.sessions.len() >= self.limits.unconfirmed.max(1) && self.evict_one() {}
        while self.offer_order.len() >= self.limits.offers.max(1) {
            self.forget_offer();
        }
        let id = entry.session.id();
        self.members.entry(entry.session.peer().key().to_owned()).or_default().push_back(id);
        self.sessions.insert(id, entry);
        self.order.push_back(id);
        self.offers.insert(offer, id);
        self.offer_order.push_back((offer, remembered));
        self.compact();
    }

    /// Drops what is too old. Sessions all live equally long, so the oldest is the first to go. Offers don't quite, but
    /// one that stays longer than it must is of no harm.
    fn expire(&mut self, now: Monotonic) {
        while let Some(id) = self.order.front().copied() {
            if self.sessions.get(&id).is_some_and(|entry| now.since(entry.made) <= self.limits.lifetime) {
                break;
            }
            self.remove(id);
            self.order.pop_front();
        }
        while self.offer_order.front().is_some_and(|(_, until)| now >= *until) {
            self.forget_offer();
        }
    }

    fn forget_offer(&mut self) {
        if let Some((offer, _)) = self.offer_order.pop_front() {
            self.offers.remove(&offer);
        }
    }

    /// Drops the oldest session of the member that has most, so that a member which floods is in nobody's way but its
    /// own.
    fn evict_one(&mut self) -> bool {
        let most = self.members.values().max_by_key(|ids| ids.len());
        most.and_then(|ids| ids.front().copied()).is_some_and(|id| self.remove(id).is_some())
    }

    /// Keeps the order from growing by sessions that are gone behind one that is not.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.sessions.len() + 16 {
            self.order.retain(|id| self.sessions.contains_key(id));
        }
    }
}
