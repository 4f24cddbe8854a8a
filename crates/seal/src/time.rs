//! The two clocks, which are always handed in, as types of their own so that they can't be confused.

/// A reading of a clock that never goes back, in milliseconds since any moment that stays the same for the life of the
/// process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A reading of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The milliseconds of the reading.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from an earlier reading to this one; 0 when that is the later one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The reading after as many milliseconds.
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A reading of the wall clock, in seconds since the Unix epoch. Only certificates and the time in an offer are
/// compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

impl Wall {
    /// A reading of `secs` seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// The seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}
