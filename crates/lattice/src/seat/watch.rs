//! Whether a process that is called is still there.

use std::time::{Duration, Instant};

use wattle_seal::Monotonic;

/// A process that said nothing for so many milliseconds while calls are in flight there is pinged, and again.
const QUIET_MILLIS: u64 = 500;

/// Shortest time after which a process that does not answer pings counts as lost, in milliseconds.
const SILENT_MILLIS: u64 = 2_000;

/// Shortest time for which a process of which the server says that it is not there may still show that it is.
const ABSENT_MILLIS: u64 = 200;

/// What is known about it while calls are in flight.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    round_trip: Option<Duration>,
    /// Since when it is looked at.
    watched: Option<Monotonic>,
    pinged: Option<Ping>,
    /// Since when the server says that nobody listens there, and whether it said so of a ping as well.
    absent: Option<(Monotonic, bool)>,
}

#[derive(Debug)]
struct Ping {
    token: u64,
    sent: Instant,
    /// When the last one was sent, and the first that was not answered.
    last: Monotonic,
    first: Monotonic,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    Ping,
    /// The server said that it is gone, and it is not.
    ThereAfterAll,
    /// It never answered the pings.
    Silent(Duration),
    /// Nobody listens there.
    Absent,
}

impl Liveness {
    pub(super) fn measured(&mut self, took: Duration) {
        self.round_trip = Some(self.round_trip.map_or(took, |known| (known * 7 + took) / 8));
    }

    /// Looks at it: now, and when it was last heard.
    pub(super) fn check(&mut self, now: Monotonic, heard: Monotonic) -> Verdict {
        let watched = *self.watched.get_or_insert(now);
        let patience = self.round_trip.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0) * 8);
        self.pinged.take_if(|ping| heard >= ping.last);
        if let Some(ping) = self.pinged.as_mut().filter(|ping| heard >= ping.first) {
            // Those before the last one were answered.
            ping.first = ping.last;
        }
        if let Some((since, confirmed)) = self.absent {
            if heard >= since {
                self.absent = None;
                return Verdict::ThereAfterAll;
            }
            if confirmed && now.since(since) >= ABSENT_MILLIS.max(patience.min(SILENT_MILLIS)) {
                return Verdict::Absent;
            }
        }
        if let Some(ping) = &self.pinged {
            let silent = now.since(ping.first);
            if silent >= SILENT_MILLIS.max(patience) {
                return Verdict::Silent(Duration::from_millis(silent));
            }
        }
        let last = self.pinged.as_ref().map_or(heard, |ping| ping.last.max(heard));
        if now.since(last.max(watched)) >= QUIET_MILLIS { Verdict::Ping } else { Verdict::Wait }
    }

    /// A ping is sent.
    pub(super) fn pinged(&mut self, token: u64, now: Monotonic) {
        let first = self.pinged.as_ref().map_or(now, |ping| ping.first);
        self.pinged = Some(Ping { token, sent: Instant::now(), last: now, first });
    }

    /// A pong arrived: how long it took, if it answers the last ping.
    pub(super) fn ponged(&mut self, token: u64) -> Option<Duration> {
        let took = self.pinged.take_if(|ping| ping.token == token)?.sent.elapsed();
        self.measured(took);
        Some(took)
    }

    /// The server said that nobody listens there, when a call or a frame was sent, or this ping; true when that is news.
    /// It is believed only if it says so of a ping as well.
    pub(super) fn suspect(&mut self, now: Monotonic, ping: Option<u64>) -> bool {
        let confirmed = ping.is_some();
        if confirmed && self.pinged.as_ref().map(|pinged| pinged.token) != ping {
            return false;
        }
        let known = self.absent;
        let (since, before) = known.unwrap_or((now, false));
        self.absent = Some((since, before || confirmed));
        self.absent != known
    }

    pub(super) fn is_suspected(&self) -> bool {
        self.absent.is_some()
    }

    /// No call is in flight there, or nothing can be said.
    pub(super) fn rest(&mut self) {
        *self = Self { round_trip: self.round_trip, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(10_000 + millis)
    }

    #[test]
    fn a_quiet_process_is_pinged_and_a_silent_one_is_lost() {
        let mut liveness = Liveness::default();
        let old = Monotonic::from_millis(1);
        assert_eq!(liveness.check(at(0), old), Verdict::Wait);
        assert_eq!(liveness.check(at(499), old), Verdict::Wait);
        assert_eq!(liveness.check(at(500), old), Verdict::Ping);
        liveness.pinged(1, at(500));
        assert_eq!(liveness.check(at(999), old), Verdict::Wait);
        assert_eq!(liveness.check(at(1000), old), Verdict::Ping);
        liveness.pinged(2, at(1000));
        assert!(liveness.ponged(1).is_none());
        // Anything that comes from it will do.
        assert_eq!(liveness.check(at(1400), at(1300)), Verdict::Wait);
        assert_eq!(liveness.check(at(1800), at(1300)), Verdict::Ping);
        liveness.pinged(3, at(1800));
        for millis in [2300, 2800, 3300] {
            assert_eq!(liveness.check(at(millis), at(1300)), Verdict::Ping);
            liveness.pinged(4, at(millis));
        }
        assert_eq!(liveness.check(at(3800), at(1300)), Verdict::Silent(Duration::from_secs(2)));
        liveness.rest();
        assert_eq!(liveness.check(at(3900), at(1300)), Verdict::Wait);
    }

    #[test]
    fn a_slow_process_gets_more_time() {
        let mut liveness = Liveness::default();
        liveness.measured(Duration::from_secs(1));
        assert_eq!(liveness.check(at(0), at(0)), Verdict::Wait);
        liveness.pinged(1, at(500));
        assert_eq!(liveness.check(at(8_499), at(0)), Verdict::Ping);
        assert_eq!(liveness.check(at(8_500), at(0)), Verdict::Silent(Duration::from_secs(8)));
    }

    #[test]
    fn the_server_is_not_believed_when_the_process_answers() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.check(at(0), at(0)), Verdict::Wait);
        assert!(liveness.suspect(at(10), None) && !liveness.suspect(at(20), None));
        liveness.pinged(1, at(10));
        assert_eq!(liveness.check(at(40), at(0)), Verdict::Wait);
        assert_eq!(liveness.check(at(45), at(30)), Verdict::ThereAfterAll);
        assert!(liveness.suspect(at(50), None));
        liveness.pinged(2, at(50));
        // A ping that was never sent says nothing, and without a word about one that was, nothing is sure.
        assert!(!liveness.suspect(at(51), Some(7)));
        assert_eq!(liveness.check(at(300), at(30)), Verdict::Wait);
        assert!(liveness.suspect(at(310), Some(2)));
        assert_eq!(liveness.check(at(310), at(30)), Verdict::Absent);
        // Heard in time, all is well.
        assert_eq!(liveness.check(at(320), at(315)), Verdict::ThereAfterAll);
    }

    #[test]
    fn a_process_that_is_gone_is_given_a_moment_to_show_that_it_is_not() {
        let mut liveness = Liveness::default();
        liveness.check(at(0), at(0));
        liveness.pinged(1, at(500));
        assert!(liveness.suspect(at(501), Some(1)));
        assert_eq!(liveness.check(at(700), at(0)), Verdict::Wait);
        assert_eq!(liveness.check(at(701), at(0)), Verdict::Absent);
    }
}
