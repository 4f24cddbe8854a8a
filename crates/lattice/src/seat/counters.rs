//! What is counted: every refusal by its code, and everything that is dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A group of counts; what tells them apart is the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    /// Sealed or signed refusals that were sent, by code.
    RefusalSent,
    /// Sealed or signed refusals that came back, by code.
    RefusalReceived,
    /// Packets that were not taken, by code; those of sealed messages and handshakes alike.
    PacketRefused,
    /// What was let go, by what it was.
    Dropped,
    /// Handshakes, by how they ended.
    Handshake,
    /// Calls that were made, by how they ended when not with an answer.
    CallFailed,
    /// Calls that were sent again, by why.
    Retry,
    /// Sessions that ended, by why.
    SessionEnded,
}

impl Counted {
    fn name(self) -> &'static str {
        match self {
            Self::RefusalSent => "refusals_sent",
            Self::RefusalReceived => "refusals_received",
            Self::PacketRefused => "packets_refused",
            Self::Dropped => "dropped",
            Self::Handshake => "handshakes",
            Self::CallFailed => "calls_failed",
            Self::Retry => "retries",
            Self::SessionEnded => "sessions_ended",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Code(u16),
    Word(&'static str),
}

/// The counts of one seat.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Calls that were made.
    pub(super) made: AtomicU64,
    /// Calls that were taken.
    pub(super) served: AtomicU64,
    rare: Mutex<BTreeMap<(Counted, Label), u64>>,
}

impl Counters {
    pub(super) fn code(&self, what: Counted, code: u16) {
        self.add(what, Label::Code(code));
    }

    pub(super) fn word(&self, what: Counted, word: &'static str) {
        self.add(what, Label::Word(word));
    }

    fn add(&self, what: Counted, label: Label) {
        let mut rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        *rare.entry((what, label)).or_default() += 1;
    }

    /// All that were counted: name, label and count.
    pub(super) fn snapshot(&self) -> Vec<(&'static str, String, u64)> {
        let rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = rare.iter().map(|((what, label), count)| {
            let label = match label {
                Label::Code(code) => code.to_string(),
                Label::Word(word) => (*word).to_owned(),
            };
            (what.name(), label, *count)
        });
        let often = [("calls_made", &self.made), ("calls_served", &self.served)];
        let often = often.map(|(name, count)| (name, String::new(), count.load(Ordering::Relaxed)));
        often.into_iter().chain(shown).collect()
    }
}
