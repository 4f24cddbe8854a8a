//! How many calls a component takes at once, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// One component's permits. Calls beyond them wait in order, in a bounded queue.
pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    tally: Arc<Tally>,
    count: AtomicU32,
    waiting: AtomicU32,
    max_waiting: u32,
}

/// What became of the permits.
#[derive(Debug, Default)]
struct Tally {
    running: AtomicU32,
    ended: AtomicU64,
}

/// The right of one call to run.
#[derive(Debug)]
pub(crate) struct Permit {
    _place: OwnedSemaphorePermit,
    tally: Arc<Tally>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tally.running.fetch_sub(1, Ordering::Relaxed);
        self.tally.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// No more calls are taken at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Permits {
    pub(crate) fn new(count: u32, max_waiting: u32) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count as usize)),
            tally: Arc::default(),
            count: AtomicU32::new(count),
            waiting: AtomicU32::new(0),
            max_waiting,
        }
    }

    /// A permit that is free now.
    pub(crate) fn try_acquire(&self) -> Result<Option<Permit>, Closed> {
        match self.semaphore.clone().try_acquire_owned() {
            Ok(place) => Ok(Some(self.permit(place))),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(Closed),
        }
    }

    /// Waits for a permit, behind those that wait already.
    pub(crate) async fn acquire(&self) -> Result<Permit, Closed> {
        let place = self.semaphore.clone().acquire_owned().await.map_err(|_| Closed)?;
        Ok(self.permit(place))
    }

    fn permit(&self, place: OwnedSemaphorePermit) -> Permit {
        self.tally.running.fetch_add(1, Ordering::Relaxed);
        Permit { _place: place, tally: self.tally.clone() }
    }

    /// Calls that run now.
    pub(crate) fn running(&self) -> u32 {
        self.tally.running.load(Ordering::Relaxed)
    }

    /// Calls that ran and ended, since the beginning.
    pub(crate) fn ended(&self) -> u64 {
        self.tally.ended.load(Ordering::Relaxed)
    }

    /// How full it is: 0 where nothing runs, 900 where as many run as may, 1000 where as many wait besides as may.
    pub(crate) fn load(&self) -> u16 {
        let share = |part: u32, whole: u32, scale: u64| match whole {
            0 => scale,
            whole => u64::from(part.min(whole)) * scale / u64::from(whole),
        };
        let running = share(self.running(), self.count(), 900);
        let waiting = if running < 900 {
            0
        } else {
            share(self.waiting.load(Ordering::Relaxed), self.max_waiting, 100)
        };
        u16::try_from(running + waiting).unwrap_or(1000)
    }

    /// A place in the queue, unless as many wait as may.
    pub(crate) fn queue(&self) -> Option<Place<'_>> {
        Place::take(&self.waiting, self.max_waiting)
    }

    /// Changes how many calls run at once. Fewer takes effect as running calls end.
    pub(crate) fn set_count(&self, count: u32) {
        let before = self.count.swap(count, Ordering::Relaxed);
        if count >= before {
            self.semaphore.add_permits((count - before) as usize);
            return;
        }
        let surplus = (before - count) as usize;
        let forgotten = self.semaphore.forget_permits(surplus);
        if let Ok(rest) = u32::try_from(surplus - forgotten)
            && rest > 0
        {
            let semaphore = self.semaphore.clone();
            tokio::spawn(async move {
                if let Ok(permits) = semaphore.acquire_many_owned(rest).await {
                    permits.forget();
                }
            });
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes no more calls; those that wait are refused.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }
}

/// A place in the queue, given back on drop.
pub(crate) struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, max: u32) -> Option<Self> {
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |places| (places < max).then_some(places + 1))
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Polls once: waiting is told from having, without a clock.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_queue_is_bounded_and_who_leaves_makes_room() {
        let permits = Permits::new(1, 1);
        let running = permits.try_acquire().unwrap().unwrap();
        assert!(permits.try_acquire().unwrap().is_none());
        let place = permits.queue().unwrap();
        assert!(permits.queue().is_none());
        let mut waiting = Box::pin(permits.acquire());
        assert!(now(waiting.as_mut()).is_none());
        drop(running);
        assert!(now(waiting.as_mut()).unwrap().is_ok());
        drop(place);
        assert!(permits.queue().is_some());
    }

    #[test]
    fn the_load_says_how_full_it_is() {
        let permits = Permits::new(2, 2);
        assert_eq!(permits.load(), 0);
        let first = permits.try_acquire().unwrap().unwrap();
        assert_eq!(permits.load(), 450);
        let second = permits.try_acquire().unwrap().unwrap();
        assert_eq!(permits.load(), 900);
        let place = permits.queue().unwrap();
        assert_eq!(permits.load(), 950);
        let other = permits.queue().unwrap();
        assert_eq!(permits.load(), 1000);
        drop((place, other, first, second));
        assert_eq!((permits.load(), permits.running(), permits.ended()), (0, 0, 2));
    }

    #[tokio::test]
    async fn the_count_can_grow_and_shrink() {
        let permits = Permits::new(1, 9);
        let first = permits.acquire().await.unwrap();
        permits.set_count(2);
        let second = permits.acquire().await.unwrap();
        permits.set_count(1);
        assert_eq!(permits.count(), 1);
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(now(permits.acquire()).is_none(), "one is still running and one was taken away");
        drop(second);
        tokio::task::yield_now().await;
        assert!(now(permits.acquire()).is_some());
    }

    #[test]
    fn a_closed_component_takes_no_calls() {
        let permits = Permits::new(1, 1);
        permits.close();
        assert_eq!(permits.try_acquire().unwrap_err(), Closed);
        assert_eq!(now(permits.acquire()).unwrap().unwrap_err(), Closed);
    }
}
