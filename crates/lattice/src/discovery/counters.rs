//! How often what happened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It can't be read.
    Malformed,
    /// An answer to no open query, or for another target than the query's.
    UnknownQuery,
    /// An answer or announcement that was counted before, or is older than one that was.
    Repeated,
    /// An announcement whose time is too far from ours.
    Time,
    /// Both sides speak no common version.
    Version,
    /// The chain of certificates is not believed.
    Chain,
    /// The signature is not the member's.
    Signature,
    /// The member may not answer for the target; or we ourselves may not.
    NotAllowed,
    /// A query that wants its answer where answers don't go.
    ReplySubject,
    /// Checking it would be more work than is done in a second.
    VerificationLimit,
    /// Signing an answer to it would be more work than is done in a second.
    AnswerLimit,
    /// There are enough peers for the target.
    Surplus,
    /// It is about nothing that is used here.
    Unneeded,
}

impl Dropped {
    const ALL: [Self; 13] = [
        Self::Malformed,
        Self::UnknownQuery,
        Self::Repeated,
        Self::Time,
        Self::Version,
        Self::Chain,
        Self::Signature,
        Self::NotAllowed,
        Self::ReplySubject,
        Self::VerificationLimit,
        Self::AnswerLimit,
        Self::Surplus,
        Self::Unneeded,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownQuery => "unknown_query",
            Self::Repeated => "repeated",
            Self::Time => "time",
            Self::Version => "version",
            Self::Chain => "chain",
            Self::Signature => "signature",
            Self::NotAllowed => "not_allowed",
            Self::ReplySubject => "reply_subject",
            Self::VerificationLimit => "verification_limit",
            Self::AnswerLimit => "answer_limit",
            Self::Surplus => "surplus",
            Self::Unneeded => "unneeded",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queries_sent: AtomicU64,
    pub(super) answers_sent: AtomicU64,
    pub(super) answers_taken: AtomicU64,
    pub(super) announcements_sent: AtomicU64,
    /// Made while the connection was down.
    pub(super) announcements_lost: AtomicU64,
    pub(super) announcements_taken: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop(&self, why: Dropped) {
        Self::count(&self.dropped[why as usize]);
    }

    pub(super) fn all(&self) -> Vec<(&'static str, String, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut all: Vec<_> = [
            ("discovery_queries_sent", &self.queries_sent),
            ("discovery_answers_sent", &self.answers_sent),
            ("discovery_answers_taken", &self.answers_taken),
            ("discovery_announcements_sent", &self.announcements_sent),
            ("discovery_announcements_lost", &self.announcements_lost),
            ("discovery_announcements_taken", &self.announcements_taken),
        ]
        .map(|(name, counter)| (name, String::new(), read(counter)))
        .into();
        let dropped = Dropped::ALL
            .map(|why| ("discovery_dropped", why.label().to_owned(), read(&self.dropped[why as usize])));
        all.extend(dropped);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for (place, why) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place);
            (0..=place).for_each(|_| counters.drop(why));
        }
        let all = counters.all();
        for (place, why) in Dropped::ALL.into_iter().enumerate() {
            let expected = ("discovery_dropped", why.label().to_owned(), place as u64 + 1);
            assert_eq!(all.iter().filter(|counter| **counter == expected).count(), 1);
        }
    }
}
