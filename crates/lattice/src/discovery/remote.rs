//! What is known about another process, whatever it runs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wattle_seal::Address;

use super::choice::Distance;

/// For how long a measured round trip is better than what answers to queries tell.
const MEASURED_FOR: Duration = Duration::from_secs(60);

/// What the other side and we may take to sign and check an answer, among many, before it says anything of the distance.
const ANSWER_SLACK: Duration = Duration::from_millis(10);

/// A process of another member.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) address: Address,
    in_flight: AtomicU32,
    state: Mutex<RemoteState>,
}

#[derive(Debug)]
pub(super) struct RemoteState {
    pub(super) distance: Distance,
    measured: Option<Instant>,
    /// When it last proved that it lives.
    pub(super) heard: Instant,
    /// Since when calls don't reach it.
    pub(super) gone: Option<Instant>,
    /// The number of the latest announcement about all that it runs.
    pub(super) sequence: u64,
}

impl Remote {
    pub(super) fn new(address: Address, now: Instant) -> Self {
        let state =
            RemoteState { distance: Distance::Unknown, measured: None, heard: now, gone: None, sequence: 0 };
        Self { address, in_flight: AtomicU32::new(0), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, RemoteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl RemoteState {
    /// A call took so long to be acknowledged.
    pub(super) fn measured(&mut self, round_trip: Duration, now: Instant) {
        let smoothed = match self.distance {
            Distance::Measured(old) if self.is_measured(now) => (old * 7 + round_trip) / 8,
            _ => round_trip,
        };
        self.distance = Distance::Measured(smoothed);
        (self.measured, self.heard) = (Some(now), now);
    }

    /// A query took so long to be answered.
    pub(super) fn answered(&mut self, round_trip: Duration, now: Instant) {
        if !self.is_measured(now) {
            self.distance = Distance::Estimated(round_trip.saturating_sub(ANSWER_SLACK));
        }
        self.heard = now;
    }

    fn is_measured(&self, now: Instant) -> bool {
        self.measured.is_some_and(|at| now.saturating_duration_since(at) < MEASURED_FOR)
    }
}

/// A process that was chosen for a call. Held for as long as the call runs, it counts as a load there.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: Address,
    remote: Arc<Remote>,
}

impl Peer {
    pub(super) fn new(remote: &Arc<Remote>) -> Self {
        remote.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { address: remote.address.clone(), remote: Arc::clone(remote) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.remote.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn round_trips_are_smoothed_and_go_before_estimates_for_a_while() {
        let now = Instant::now();
        let mut state =
            RemoteState { distance: Distance::Unknown, measured: None, heard: now, gone: None, sequence: 0 };
        state.answered(ms(35), now);
        assert_eq!(state.distance, Distance::Estimated(ms(25)));
        state.answered(ms(5), now);
        assert_eq!(state.distance, Distance::Estimated(ms(0)));
        state.measured(ms(8), now);
        assert_eq!(state.distance, Distance::Measured(ms(8)));
        state.measured(ms(16), now);
        assert_eq!(state.distance, Distance::Measured(ms(9)));
        state.answered(ms(100), now + ms(59_999));
        assert_eq!(state.distance, Distance::Measured(ms(9)));
        state.answered(ms(100), now + ms(60_000));
        assert_eq!(state.distance, Distance::Estimated(ms(90)));
        state.measured(ms(4), now + ms(60_001));
        assert_eq!(state.distance, Distance::Measured(ms(4)));
    }
}
