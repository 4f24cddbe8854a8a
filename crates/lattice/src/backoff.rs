//! How often to try again, and how often to say so.

use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// Delay before the given try; the first one is made at once.
pub(crate) fn delay_before(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        n => FIRST_DELAY.saturating_mul(1 << (n - 2).min(16)).min(LONGEST_DELAY),
    }
}

/// Decides when a lasting problem is worth a line in the log: when it is new, when its reason changed, and then every
/// half minute.
#[derive(Debug, Default)]
pub(crate) struct Reminder {
    last: Option<(String, Instant)>,
}

impl Reminder {
    pub(crate) fn is_due(&mut self, reason: &str) -> bool {
        let due = match &self.last {
            Some((told, at)) => told != reason || at.elapsed() >= REMIND_EVERY,
            None => true,
        };
        if due {
            self.last = Some((reason.to_owned(), Instant::now()));
        }
        due
    }

    /// The problem is gone; whether it had been told.
    pub(crate) fn clear(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_five_seconds() {
        let delays: Vec<_> = (1..=9).map(|attempt| delay_before(attempt).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(delay_before(u32::MAX), LONGEST_DELAY);
    }

    #[test]
    fn a_problem_is_told_once_per_reason() {
        let mut reminder = Reminder::default();
        assert!(!reminder.clear());
        assert!(reminder.is_due("refused"));
        assert!(!reminder.is_due("refused"));
        assert!(reminder.is_due("timed out"));
        assert!(reminder.clear());
        assert!(reminder.is_due("timed out"));
    }
}
