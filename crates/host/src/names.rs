//! What a host is called by people, and what it says of its machine.

use std::collections::BTreeMap;
use std::time::Duration;

const ADJECTIVES: [&str; 16] = [
    "amber", "brave", "calm", "dusty", "early", "fair", "gentle", "hardy", "ivory", "keen", "lively",
    "mellow", "noble", "quiet", "sturdy", "warm",
];
const NOUNS: [&str; 16] = [
    "alder", "birch", "cedar", "elm", "fern", "hazel", "heron", "ivy", "juniper", "larch", "maple", "osprey",
    "reed", "sedge", "willow", "wren",
];

/// The prefix of labels that describe the machine; nobody sets those.
const BUILT_IN_PREFIX: &str = "hostcore.";

/// Whether a label describes the machine, and so can't be set by anyone.
pub(crate) fn is_built_in(label: &str) -> bool {
    label.to_ascii_lowercase().starts_with(BUILT_IN_PREFIX)
}

/// `adjective-noun-NNNN`, always the same for one host key.
pub(crate) fn friendly_name(host_id: &str) -> String {
    let hash = host_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let pick = |words: &[&'static str; 16], shift: u32| words[(hash >> shift) as usize % words.len()];
    format!("{}-{}-{:04}", pick(&ADJECTIVES, 60), pick(&NOUNS, 56), (hash >> 20) % 10_000)
}

/// The labels that every host has.
pub(crate) fn built_in_labels() -> BTreeMap<String, String> {
    use std::env::consts::{ARCH, FAMILY, OS};
    [("arch", ARCH), ("os", OS), ("osfamily", FAMILY)]
        .map(|(name, value)| (format!("{BUILT_IN_PREFIX}{name}"), value.to_owned()))
        .into()
}

/// `1d 2h 3m 4s`, without leading zeros.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts =
        [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let first = parts.iter().position(|(value, _)| *value > 0).unwrap_or(3);
    parts[first..].iter().map(|(value, unit)| format!("{value}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_differ() {
        assert_eq!(friendly_name("NA"), friendly_name("NA"));
        assert_ne!(friendly_name("NA"), friendly_name("NB"));
        assert_eq!(friendly_name("NA").split('-').count(), 3);
    }

    #[test]
    fn durations_start_with_their_largest_unit() {
        assert_eq!(human_duration(Duration::from_secs(0)), "0s");
        assert_eq!(human_duration(Duration::from_secs(3_723)), "1h 2m 3s");
        assert_eq!(human_duration(Duration::from_secs(90_000)), "1d 1h 0m 0s");
    }
}
