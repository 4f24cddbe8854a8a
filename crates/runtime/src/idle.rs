//! Instances that wait for another call.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::instance::Instance;

/// How long an instance waits for another call before it is dropped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A component's idle instances. The one that came last leaves first, so that a busy hour's instances go away after it.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    closed: bool,
    /// Someone drops those that wait for too long.
    swept: bool,
    instances: Vec<(Instant, Instance)>,
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Option<Instance> {
        self.lock().instances.pop().map(|(_, instance)| instance)
    }

    /// Keeps an instance, unless no more calls are taken. Answers whether someone must begin to sweep.
    pub(crate) fn put(&self, instance: Instance) -> bool {
        let mut shelf = self.lock();
        if shelf.closed {
            drop(shelf);
            drop(instance);
            return false;
        }
        shelf.instances.push((Instant::now(), instance));
        !std::mem::replace(&mut shelf.swept, true)
    }

    /// Drops what waits for too long. Answers whether it must be called again.
    pub(crate) fn sweep(&self) -> bool {
        let mut shelf = self.lock();
        let fresh = shelf.instances.partition_point(|(since, _)| since.elapsed() >= PATIENCE);
        let old: Vec<_> = shelf.instances.drain(..fresh).collect();
        shelf.swept = !shelf.instances.is_empty();
        let again = shelf.swept;
        drop(shelf);
        drop(old);
        again
    }

    /// Drops all and keeps none from now on.
    pub(crate) fn close(&self) {
        let mut shelf = self.lock();
        shelf.closed = true;
        let all = std::mem::take(&mut shelf.instances);
        drop(shelf);
        drop(all);
    }
}
