//! One target that is called from here, and the processes that answer for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wattle_identity::Member;
use wattle_protocol::rpc::TargetHash;
use wattle_seal::Address;

use super::asking::{ANSWER_TIME, Ask};
use super::choice::Candidate;
use super::remote::Remote;

/// Most peers of one target.
pub(super) const MAX_PEERS: usize = 64;

/// Most processes of one member among them: a process that was started anew is another.
pub(super) const MAX_INSTANCES: usize = 4;

/// An announcement is taken for a minute before and after its time, so what was announced is remembered for longer than
/// two, even when nothing else is left of the peer.
const REMEMBERED_FOR: Duration = Duration::from_secs(150);

/// Peers are asked again when they were not for so long.
const ASKED_EVERY: Duration = Duration::from_secs(30);

/// A peer that neither answered so many queries in turn nor took a call meanwhile is left out.
const MOST_MISSED: u8 = 3;

/// A target that is called from here.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) hash: TargetHash,
    pub(super) used: Instant,
    asked: Option<Instant>,
    pub(super) ask: Option<Arc<Ask>>,
    pub(super) entries: Vec<Entry>,
    changes: watch::Sender<()>,
}

/// A process that answers for the target, or did.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) remote: Arc<Remote>,
    pub(super) member: Arc<Member>,
    pub(super) load: u16,
    /// The number of the latest announcement that is known to be older than what is known here.
    pub(super) sequence: u64,
    /// Queries without an answer.
    pub(super) missed: u8,
    /// Since when it takes no calls for the target.
    pub(super) out: Option<Instant>,
}

impl Entry {
    pub(super) fn is_usable(&self) -> bool {
        self.out.is_none() && self.remote.state().gone.is_none()
    }

    pub(super) fn is(&self, address: &Address) -> bool {
        self.remote.address == *address
    }

    /// Announcements up to this one are old.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.max(self.remote.state().sequence)
    }

    pub(super) fn candidate(&self) -> Candidate {
        let distance = self.remote.state().distance;
        Candidate { distance, load: self.load, in_flight: self.remote.in_flight() }
    }

    /// Whether nothing of it needs to be remembered.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let since = self.out.or(self.remote.state().gone);
        since.is_some_and(|since| now.saturating_duration_since(since) > REMEMBERED_FOR)
    }
}

impl Target {
    pub(super) fn new(hash: TargetHash, now: Instant) -> Self {
        let (changes, _) = watch::channel(());
        Self { hash, used: now, asked: None, ask: None, entries: Vec::new(), changes }
    }

    /// Wakes when something about the target changes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn wake(&self) {
        self.changes.send_replace(());
    }

    /// Whether its peers should be asked again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASKED_EVERY)
    }

    /// A query goes out: who does not answer several times is left out.
    pub(super) fn asking(&mut self, now: Instant) {
        let asked = self.asked.replace(now);
        // Who was asked just now may still answer.
        let Some(asked) = asked.filter(|asked| now.saturating_duration_since(*asked) >= ANSWER_TIME) else {
            return;
        };
        for entry in self.entries.iter_mut().filter(|entry| entry.out.is_none()) {
            let missed = entry.remote.state().heard < asked;
            entry.missed = if missed { entry.missed + 1 } else { 0 };
            if entry.missed >= MOST_MISSED {
                entry.out = Some(now);
            }
        }
    }

    pub(super) fn usable(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_usable()).count()
    }

    pub(super) fn entry(&self, address: &Address) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is(address))
    }

    pub(super) fn entry_mut(&mut self, address: &Address) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.is(address))
    }

    /// Takes in a process that was not known for the target.
    pub(super) fn add(&mut self, remote: Arc<Remote>, member: Arc<Member>, load: u16, sequence: u64) {
        let of_member = |entry: &Entry| entry.remote.address.member == remote.address.member;
        let same: Vec<usize> =
            (0..self.entries.len()).filter(|&place| of_member(&self.entries[place])).collect();
        // The entries are in the order in which they came.
        if let Some(&oldest) = same.first().filter(|_| same.len() >= MAX_INSTANCES) {
            self.entries.remove(oldest);
        }
        if self.entries.len() >= MAX_PEERS
            && let Some(unusable) = self.entries.iter().position(|entry| !entry.is_usable())
        {
            self.entries.remove(unusable);
        }
        if self.entries.len() < MAX_PEERS {
            self.entries.push(Entry { remote, member, load, sequence, missed: 0, out: None });
            self.wake();
        }
    }
}
