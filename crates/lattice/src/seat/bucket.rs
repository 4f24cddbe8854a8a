//! A limit to how often something is done.

use wattle_seal::Monotonic;

/// How often something may be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) at_once: u32,
    pub(super) per_second: u32,
}

/// Holds so many tokens at most, and gets so many a second.
#[derive(Debug)]
pub(super) struct Bucket {
    size: u64,
    per_second: u64,
    /// In thousandths of a token.
    level: u64,
    filled: Monotonic,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Monotonic) -> Self {
        let (size, per_second) = (u64::from(rate.at_once.max(1)), u64::from(rate.per_second.max(1)));
        Self { size, per_second, level: size * 1000, filled: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Monotonic) -> bool {
        self.fill(now);
        let enough = self.level >= 1000;
        if enough {
            self.level -= 1000;
        }
        enough
    }

    /// Milliseconds until there is a token.
    pub(super) fn wait(&mut self, now: Monotonic) -> u64 {
        self.fill(now);
        1000u64.saturating_sub(self.level).div_ceil(self.per_second)
    }

    fn fill(&mut self, now: Monotonic) {
        let gained = now.since(self.filled).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(gained).min(self.size * 1000);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let at = Monotonic::from_millis;
        let mut bucket = Bucket::new(Rate { at_once: 3, per_second: 10 }, at(5_000));
        assert_eq!((0..5).filter(|_| bucket.take(at(5_000))).count(), 3);
        assert_eq!(bucket.wait(at(5_000)), 100);
        assert!(!bucket.take(at(5_099)));
        assert_eq!(bucket.wait(at(5_099)), 1);
        assert!(bucket.take(at(5_100)));
        // A clock that seems to go back gives nothing twice.
        assert!(!bucket.take(at(4_000)) && !bucket.take(at(5_100)));
        assert_eq!((0..9).filter(|_| bucket.take(at(60_000))).count(), 3);
    }
}
