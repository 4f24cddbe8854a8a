//! Which of several peers takes a call: one of the nearest, and of two of those the less loaded.

use std::time::Duration;

/// Peers whose round trip is longer than the nearest one's by no more than this are as near. Less could be told apart on
/// an idle network only: a busy processor at either end takes as long.
const NEAR: Duration = Duration::from_millis(10);

/// What a call of our own that a peer has not answered yet adds to the load that it told, which is a little old.
const CALL_WEIGHT: u64 = 10;

/// How far a peer is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// The smoothed round-trip time of calls.
    Measured(Duration),
    /// What the time until an answer came says at least, so long as there is no measurement.
    Estimated(Duration),
    /// Nothing is known.
    Unknown,
}

/// A peer that could take the call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) distance: Distance,
    /// As it told, 0 to 1000.
    pub(super) load: u16,
    /// Our calls there.
    pub(super) in_flight: u32,
}

impl Candidate {
    fn weight(self) -> u64 {
        u64::from(self.load) + u64::from(self.in_flight) * CALL_WEIGHT
    }

    fn is_within(self, limit: Option<Duration>) -> bool {
        match (self.distance, limit) {
            (Distance::Measured(round_trip) | Distance::Estimated(round_trip), Some(limit)) => {
                round_trip <= limit
            }
            (Distance::Unknown, _) | (_, None) => true,
        }
    }
}

/// Chooses a candidate by its place; `None` when there is none. `below(n)` is a random number less than `n`.
///
/// A peer of which nothing is known counts as near, so that it is tried and then known.
pub(super) fn choose(candidates: &[Candidate], mut below: impl FnMut(usize) -> usize) -> Option<usize> {
    let limit = nearest(candidates).map(|best| (best * 2).max(best + NEAR));
    let near: Vec<usize> =
        (0..candidates.len()).filter(|&place| candidates[place].is_within(limit)).collect();
    let first = match near.len() {
        0 | 1 => return near.first().copied(),
        several => below(several) % several,
    };
    let others = near.len() - 1;
    let second = (first + 1 + below(others) % others) % near.len();
    let (first, second) = (near[first], near[second]);
    let lighter = candidates[second].weight() < candidates[first].weight();
    Some(if lighter { second } else { first })
}

/// The shortest measured round trip, or else the shortest estimated one: an estimate says only how near a peer may be, so
/// it never makes one that was measured a far one.
fn nearest(candidates: &[Candidate]) -> Option<Duration> {
    let measured = candidates.iter().filter_map(|candidate| match candidate.distance {
        Distance::Measured(round_trip) => Some(round_trip),
        _ => None,
    });
    let estimated = candidates.iter().filter_map(|candidate| match candidate.distance {
        Distance::Estimated(round_trip) => Some(round_trip),
        _ => None,
    });
    measured.min().or_else(|| estimated.min())
}

/// Random enough to choose with.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number less than `n`, which is not 0 (SplitMix64).
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The remainder is less than `n`, which is a `usize`.
        usize::try_from(mixed % n.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(distance: Distance) -> Candidate {
        Candidate { distance, load: 0, in_flight: 0 }
    }

    fn measured(micros: u64) -> Candidate {
        at(Distance::Measured(Duration::from_micros(micros)))
    }

    fn estimated(micros: u64) -> Candidate {
        at(Distance::Estimated(Duration::from_micros(micros)))
    }

    /// Which are chosen at all.
    fn chosen(candidates: &[Candidate]) -> Vec<usize> {
        let mut dice = Dice::new(1);
        let mut chosen: Vec<_> = (0..200).filter_map(|_| choose(candidates, |n| dice.below(n))).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    #[test]
    fn of_none_none_is_chosen() {
        assert!(chosen(&[]).is_empty());
    }

    #[test]
    fn the_near_ones_share() {
        // 200 µs and 10.2 ms are as near as can be told; 10 ms and 20 ms are alike.
        assert_eq!(chosen(&[measured(200), measured(10_200), measured(10_201)]), [0, 1]);
        assert_eq!(chosen(&[measured(20_001), measured(20_000), measured(10_000)]), [1, 2]);
        assert_eq!(chosen(&[measured(300_000)]), [0]);
    }

    #[test]
    fn what_is_not_measured_is_tried_unless_it_must_be_far() {
        assert_eq!(chosen(&[measured(200), at(Distance::Unknown), estimated(0)]), [0, 1, 2]);
        assert_eq!(chosen(&[measured(200), estimated(50_000)]), [0]);
        // An estimate of nothing makes no far one of a peer that was measured.
        assert_eq!(chosen(&[measured(40_000), estimated(0)]), [0, 1]);
        assert_eq!(chosen(&[estimated(1000), estimated(19_000)]), [0]);
    }

    #[test]
    fn of_two_the_less_loaded_is_chosen() {
        let busy = Candidate { load: 900, ..measured(200) };
        let called = Candidate { in_flight: 91, ..measured(200) };
        assert_eq!(chosen(&[busy, measured(200)]), [1]);
        assert_eq!(chosen(&[busy, called]), [0]);
        // Of three, the most loaded one is never chosen.
        assert_eq!(chosen(&[called, busy, measured(300)]), [1, 2]);
        // A far one is not, however idle.
        assert_eq!(chosen(&[busy, measured(15_000)]), [0]);
    }

    #[test]
    fn load_is_spread_evenly_when_all_is_equal() {
        let mut dice = Dice::new(7);
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[choose(&[measured(300); 4], |n| dice.below(n)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        let micros = |max: u64| (0..max).prop_map(Duration::from_micros);
        let distance = prop_oneof![
            micros(100_000).prop_map(Distance::Measured),
            micros(100_000).prop_map(Distance::Estimated),
            Just(Distance::Unknown)
        ];
        (distance, 0..=1000_u16, 0..100_u32).prop_map(|(distance, load, in_flight)| Candidate {
            distance,
            load,
            in_flight,
        })
    }

    proptest! {
        #[test]
        fn the_choice_is_near_and_never_the_heaviest_of_the_near(
            candidates in proptest::collection::vec(candidate(), 0..20), seed: u64,
        ) {
            let mut dice = Dice::new(seed);
            let chosen = choose(&candidates, |n| dice.below(n));
            prop_assert_eq!(chosen.is_some(), !candidates.is_empty());
            if let Some(chosen) = chosen {
                let best = nearest(&candidates);
                let limit = best.map(|best| (best * 2).max(best + NEAR));
                prop_assert!(candidates[chosen].is_within(limit));
                let near = candidates.iter().filter(|candidate| candidate.is_within(limit));
                let heavier = near.filter(|other| other.weight() >= candidates[chosen].weight()).count();
                let alone = candidates.iter().filter(|candidate| candidate.is_within(limit)).count() == 1;
                prop_assert!(alone || heavier >= 2);
            }
        }
    }
}
