//! A bound on how often something costly is done, whoever asks for it.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// So many at once, and so many a second in the long run.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: f64,
    at: Instant,
}

impl RateLimit {
    /// At most `per_second` in a second, after at most one second's worth at once.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let burst = f64::from(per_second);
        Self { per_second: burst, burst, state: Mutex::new(State { left: burst, at: now }) }
    }

    /// Whether one more may be done now; then it counts.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.at);
        state.left = passed.as_secs_f64().mul_add(self.per_second, state.left).min(self.burst);
        state.at = state.at.max(now);
        if state.left < 1.0 {
            return false;
        }
        state.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_not_used_is_kept_for_one_second() {
        let start = Instant::now();
        let limit = RateLimit::new(100, start);
        let taken = |after: u64| {
            let now = start + Duration::from_millis(after);
            (0..1000).filter(|_| limit.take(now)).count()
        };
        assert_eq!(taken(0), 100);
        assert_eq!(taken(0), 0);
        assert_eq!(taken(105), 10);
        assert_eq!(taken(50), 0, "a clock reading from before gives nothing");
        assert_eq!(taken(60_000), 100);
    }
}
