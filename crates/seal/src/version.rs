//! What two members negotiate: the version of the protocol and its features.

use std::fmt;

use crate::Error;

/// Versions of the protocol from one to another, both included. It is never empty and never holds 0, which marks the
/// packets of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    lowest: u8,
    highest: u8,
}

impl VersionRange {
    /// The versions that this crate speaks.
    pub const SUPPORTED: Self = Self { lowest: 1, highest: 1 };

    /// The versions from `lowest` to `highest`; `None` when there are none, or 0 is among them.
    pub const fn new(lowest: u8, highest: u8) -> Option<Self> {
        if lowest == 0 || lowest > highest { None } else { Some(Self { lowest, highest }) }
    }

    /// The lowest of them.
    pub const fn lowest(self) -> u8 {
        self.lowest
    }

    /// The highest of them.
    pub const fn highest(self) -> u8 {
        self.highest
    }

    /// The highest version that both sides speak.
    ///
    /// # Errors
    /// [`Error::NoCommonVersion`] when there is none.
    pub(crate) fn highest_common(self, theirs: Self) -> Result<u8, Error> {
        let highest = self.highest.min(theirs.highest);
        if highest < self.lowest.max(theirs.lowest) {
            return Err(Error::NoCommonVersion { ours: self, theirs });
        }
        Ok(highest)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            return write!(f, "{}", self.lowest);
        }
        write!(f, "{} to {}", self.lowest, self.highest)
    }
}

/// Features of the protocol, one bit each. A session has those that both sides offered. Version 1 defines none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u64);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// The features of these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Those that are among both.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are among them.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = VersionRange> {
        (1..=255u8, 1..=255u8).prop_map(|(a, b)| VersionRange::new(a.min(b), a.max(b)).unwrap())
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(VersionRange::new(0, 3), None);
        assert_eq!(VersionRange::new(3, 2), None);
        assert_eq!(VersionRange::new(2, 2).unwrap().to_string(), "2");
        assert_eq!(VersionRange::new(2, 4).unwrap().to_string(), "2 to 4");
    }

    proptest! {
        #[test]
        fn the_highest_common_version_is_that(ours in ranges(), theirs in ranges()) {
            let within = |range: VersionRange, version| (range.lowest()..=range.highest()).contains(&version);
            let expected = (1..=255).rev().find(|&version| within(ours, version) && within(theirs, version));
            match ours.highest_common(theirs) {
                Ok(version) => prop_assert_eq!(Some(version), expected),
                Err(error) => {
                    prop_assert_eq!(None, expected);
                    let message = error.to_string();
                    prop_assert!(message.contains(&ours.to_string()) && message.contains(&theirs.to_string()));
                }
            }
        }
    }
}
