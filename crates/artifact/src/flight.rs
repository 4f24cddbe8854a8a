//! Single flight: of all who ask for the same thing at the same time, one does the work and the others share its
//! outcome. Whoever does the work may be cancelled; then the next in line takes over.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::error::Error;

/// The work under way, by key.
pub(crate) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Weak<Flight<T>>>>,
}

struct Flight<T> {
    outcome: tokio::sync::Mutex<Option<Outcome<T>>>,
}

struct Outcome<T> {
    result: Result<T, Error>,
    /// Where the result was to come from. A failure there says nothing about another place.
    place: String,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Flights<K, T> {
    /// The outcome of `work`, or of the same work that someone else has under way.
    pub(crate) async fn run(
        &self,
        key: K,
        place: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let flight = self.join(&key);
        let mut outcome = flight.outcome.lock().await;
        if let Some(done) = outcome.as_ref()
            && (done.result.is_ok() || done.place == place)
        {
            return done.result.clone();
        }
        let result = work.await;
        *outcome = Some(Outcome { result: result.clone(), place: place.to_owned() });
        self.end(&key, &flight);
        result
    }

    fn join(&self, key: &K) -> Arc<Flight<T>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        // Entries of cancelled work; there are never many.
        under_way.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(Flight { outcome: tokio::sync::Mutex::new(None) });
        under_way.insert(key.clone(), Arc::downgrade(&flight));
        flight
    }

    /// Lets whoever comes from now on begin anew.
    fn end(&self, key: &K, flight: &Arc<Flight<T>>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.get(key).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), Arc::as_ptr(flight))) {
            under_way.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn failure() -> Error {
        Error::Unreachable { registry: "registry.example".to_owned(), reason: "refused".to_owned() }
    }

    #[tokio::test]
    async fn one_works_and_all_share() {
        let flights = Flights::default();
        let (count, gate) = (AtomicUsize::new(0), Notify::new());
        let ask = || {
            flights.run("key", "here", async {
                count.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok(7)
            })
        };
        let opener = async { gate.notify_one() };
        let (a, b, c, ()) = tokio::join!(ask(), ask(), ask(), opener);
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (7, 7, 7));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn failures_are_shared_by_those_who_waited_for_the_same_place() {
        let flights: Flights<_, u32> = Flights::default();
        let count = AtomicUsize::new(0);
        let ask = |place: &'static str| {
            flights.run("key", place, async {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Err(failure())
            })
        };
        let (a, b, c) = tokio::join!(ask("here"), ask("here"), ask("there"));
        assert!(a.is_err() && b.is_err() && c.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert!(ask("here").await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 3, "a later caller tries again");
    }

    #[tokio::test]
    async fn the_next_takes_over_from_the_cancelled() {
        let flights = Flights::default();
        let mut stuck = Box::pin(flights.run("key", "here", std::future::pending::<Result<u32, Error>>()));
        assert!(futures::poll!(&mut stuck).is_pending());
        let mut waiting = Box::pin(flights.run("key", "here", async { Ok(1) }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(stuck);
        assert_eq!(waiting.await.unwrap(), 1);
    }
}
