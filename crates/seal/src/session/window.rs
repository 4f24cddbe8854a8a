//! Which of the latest messages were opened: a bitmap that moves along with the highest counter.

use crate::Error;

/// A message may be so many places behind the latest one. Many tasks seal at once and publish in another order, and one
/// of them may be kept from running in between, so it is wide: a third of a second at 100,000 messages a second.
pub const WINDOW: u64 = 32_768;

const BITS: u64 = u64::BITS as u64;

/// One word more than the window has, so that a word that is only partly behind it need not be cleared bit by bit.
const WORDS: u64 = WINDOW / BITS + 1;

pub(super) struct Window {
    /// One more than the highest counter marked; 0 when there is none.
    end: u64,
    /// Empty until the first mark, so that a session which never sees a message takes no room.
    words: Vec<u64>,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { end: 0, words: Vec::new() }
    }

    /// Whether a counter was neither marked nor is too far behind.
    pub(super) fn check(&self, counter: u64) -> Result<(), Error> {
        if counter >= self.end {
            return Ok(());
        }
        if self.end - counter > WINDOW {
            return Err(Error::OutsideWindow { counter, latest: self.end - 1 });
        }
        let (word, bit) = place(counter);
        if self.words[word] & bit == 0 { Ok(()) } else { Err(Error::Replayed { counter }) }
    }

    /// Marks a counter, unless it can't pass [`check`](Self::check).
    pub(super) fn mark(&mut self, counter: u64) -> Result<(), Error> {
        self.check(counter)?;
        if counter >= self.end {
            self.advance_to(counter);
        }
        let (word, bit) = place(counter);
        self.words[word] |= bit;
        Ok(())
    }

    /// Clears the words that come into use.
    fn advance_to(&mut self, counter: u64) {
        if let Some(latest) = self.end.checked_sub(1) {
            let (from, to) = (latest / BITS, counter / BITS);
            for word in (from + 1..=to).take(WORDS as usize) {
                self.words[(word % WORDS) as usize] = 0;
            }
        } else {
            self.words.resize(WORDS as usize, 0);
        }
        self.end = counter + 1;
    }
}

fn place(counter: u64) -> (usize, u64) {
    ((counter / BITS % WORDS) as usize, 1 << (counter % BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_counter_is_marked_once() {
        let mut window = Window::new();
        for counter in [0, 5, 3, 1, WINDOW, WINDOW - 1, 2] {
            window.mark(counter).unwrap();
            assert!(matches!(window.check(counter), Err(Error::Replayed { .. })));
            assert!(matches!(window.mark(counter), Err(Error::Replayed { .. })));
        }
        // One counter too many: the first is out.
        assert!(matches!(window.check(0), Err(Error::OutsideWindow { counter: 0, latest: WINDOW })));
        assert!(matches!(window.check(1), Err(Error::Replayed { .. })));
        window.check(4).unwrap();
    }

    #[test]
    fn the_first_counter_may_be_any() {
        let mut window = Window::new();
        window.mark(1_000_000).unwrap();
        window.mark(1_000_000 - (WINDOW - 1)).unwrap();
        assert!(matches!(window.mark(1_000_000 - WINDOW), Err(Error::OutsideWindow { .. })));
    }

    fn counters() -> impl Strategy<Value = Vec<u64>> {
        let near = prop_oneof![0..200u64, WINDOW - 200..WINDOW + 200, 0..4 * WINDOW];
        let far = prop_oneof![9 => near, 1 => any::<u64>().prop_map(|counter| counter / 2)];
        proptest::collection::vec(far, 0..200)
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(counters in counters()) {
            let mut window = Window::new();
            let mut marked = BTreeSet::new();
            for counter in counters {
                let behind = marked.last().is_some_and(|latest| counter + WINDOW <= *latest);
                match window.mark(counter) {
                    Ok(()) => prop_assert!(!behind && marked.insert(counter)),
                    Err(Error::Replayed { .. }) => prop_assert!(!behind && marked.contains(&counter)),
                    Err(Error::OutsideWindow { .. }) => prop_assert!(behind),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
        }

        #[test]
        fn any_order_within_the_window_is_accepted(start: u32, spread in Just((0..500).collect::<Vec<u64>>()).prop_shuffle()) {
            let mut window = Window::new();
            for place in spread {
                window.mark(u64::from(start) + place * (WINDOW / 500)).unwrap();
            }
        }
    }
}
