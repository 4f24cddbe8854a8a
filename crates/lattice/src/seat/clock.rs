//! The clocks that sessions are measured with.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wattle_seal::{Monotonic, Wall};

/// Counts milliseconds since it was made, from 1, so that 0 can stand for "never".
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Monotonic {
        self.at(Instant::now())
    }

    /// What it shows at a moment.
    pub(super) fn at(&self, moment: Instant) -> Monotonic {
        let since = moment.saturating_duration_since(self.0);
        Monotonic::from_millis(u64::try_from(since.as_millis()).map_or(u64::MAX, |millis| 1 + millis))
    }
}

/// The wall clock.
pub(super) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Wall::from_secs(since.map_or(0, |since| since.as_secs()))
}
