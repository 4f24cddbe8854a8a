//! Turns: commands for one id take effect one after another, in the order in which they came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::future::BoxFuture;
use tokio::sync::OwnedMutexGuard;

/// The right to change one id, for as long as it is held.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// What turns are taken with. Ids are told apart by kind: a component and a provider of one id don't wait for each other.
type Lock = Arc<tokio::sync::Mutex<()>>;

/// Who changes what.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<(Kind, String), Lock>>);

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Component,
    Provider,
}

impl Turns {
    /// A place among those who want to change this id. The place is taken now, its turn may come later.
    pub(crate) async fn queue(&self, kind: Kind, id: &str) -> BoxFuture<'static, Turn> {
        let mut turn: BoxFuture<'static, Turn> = Box::pin(self.lock(kind, id).lock_owned());
        match futures::poll!(&mut turn) {
            Poll::Ready(guard) => Box::pin(std::future::ready(guard)),
            Poll::Pending => turn,
        }
    }

    /// Whether a change of this id waits for its turn.
    pub(crate) fn is_waited_for(&self, kind: Kind, id: &str) -> bool {
        // Known here, held for this look, and held by who has the turn; more are those who wait.
        Arc::strong_count(&self.lock(kind, id)) > 3
    }

    fn lock(&self, kind: Kind, id: &str) -> Lock {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry((kind, id.to_owned())).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_places() {
        let turns = Turns::default();
        let first = turns.queue(Kind::Component, "a").await;
        let mut second = turns.queue(Kind::Component, "a").await;
        let mut third = turns.queue(Kind::Component, "a").await;
        let other = turns.queue(Kind::Provider, "a").await;
        drop(other.await);
        let held = first.await;
        assert!(turns.is_waited_for(Kind::Component, "a"));
        assert!(futures::poll!(&mut third).is_pending() && futures::poll!(&mut second).is_pending());
        drop(held);
        assert!(futures::poll!(&mut third).is_pending());
        drop(second.await);
        let last = third.await;
        assert!(!turns.is_waited_for(Kind::Component, "a"));
        drop(last);
    }
}
