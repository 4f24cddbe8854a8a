//! A stream that goes out: what of it may be sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, SemaphorePermit};
use wattle_seal::message::{End, Frame};

use super::{OWN_CREDIT, Ongoing, StreamBroken};

/// The sending end of a stream, where credit arrives.
#[derive(Debug)]
pub(in crate::seat) struct Outward {
    pub(super) number: u32,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    credit: Credit,
    /// Of the budget that all streams to the process have.
    charged: u64,
    stopped: Option<StreamBroken>,
    /// Whether the pump is done with it.
    closed: bool,
}

/// What the receiver takes.
#[derive(Debug)]
struct Credit {
    left: u64,
    /// What is on the way or unread.
    open: u64,
    expected: u64,
    /// Whether the receiver has said anything.
    heard: bool,
}

impl Credit {
    /// A frame of the receiver's arrived.
    fn arrive(&mut self, sequence: u64, credit: u32) -> Result<(), &'static str> {
        if sequence != self.expected {
            return Err("a message of its receiver is missing");
        }
        self.expected += 1;
        self.heard = true;
        // Nobody can take back more than was sent.
        self.open =
            self.open.checked_sub(credit.into()).ok_or("its receiver gave more credit than was used")?;
        self.left += u64::from(credit);
        Ok(())
    }
}

impl Outward {
    pub(super) fn new(number: u32) -> Self {
        let credit = Credit { left: super::FIRST_CREDIT, open: 0, expected: 0, heard: false };
        let state = State { credit, charged: 0, stopped: None, closed: false };
        Self { number, state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deliver(&self, call: &Ongoing, frame: &Frame<'_>) {
        let mut state = self.lock();
        if let Err(problem) = state.credit.arrive(frame.sequence, frame.credit) {
            drop(state);
            return self.stop(StreamBroken::new(problem));
        }
        let paid = state.charged.min(frame.credit.into());
        state.charged -= paid;
        pay(call, paid);
        drop(state);
        if frame.end == End::Open {
            self.changed.notify_one();
        } else {
            self.stop(StreamBroken::new("its reader stopped reading"));
        }
    }

    /// Nothing more is sent.
    pub(super) fn stop(&self, why: StreamBroken) {
        self.lock().stopped.get_or_insert(why);
        self.changed.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped.is_some()
    }

    /// Whether the target has said anything about the stream, so that it has begun the call.
    pub(super) fn is_heard(&self) -> bool {
        self.lock().credit.heard
    }

    /// Resolves when the stream is stopped.
    pub(super) async fn stopped(&self) {
        while !self.is_stopped() {
            self.changed.notified().await;
        }
    }

    /// Waits until there is credit for so much.
    pub(super) async fn credit(&self, least: u64) -> Result<(), StreamBroken> {
        loop {
            {
                let state = self.lock();
                if let Some(why) = &state.stopped {
                    return Err(why.clone());
                }
                if state.credit.left >= least {
                    return Ok(());
                }
            }
            self.changed.notified().await;
        }
    }

    /// Waits until a message of this cost may be sent, and uses up its credit.
    pub(super) async fn admit(&self, call: &Ongoing, cost: u64) -> Result<(), StreamBroken> {
        self.credit(cost).await?;
        let permits = u32::try_from(cost).unwrap_or(u32::MAX);
        loop {
            let budget = &call.route.party.budget;
            if self.lock().credit.open + cost <= OWN_CREDIT {
                return self.spend(cost, None);
            }
            if let Ok(permit) = budget.try_acquire_many(permits) {
                return self.spend(cost, Some(permit));
            }
            tokio::select! {
                permit = budget.acquire_many(permits) => return self.spend(cost, permit.ok()),
                () = self.changed.notified() => self.credit(cost).await?,
            }
        }
    }

    fn spend(&self, cost: u64, permit: Option<SemaphorePermit<'_>>) -> Result<(), StreamBroken> {
        let mut state = self.lock();
        if let Some(why) = &state.stopped {
            return Err(why.clone());
        }
        // Only this stream's one pump takes credit away, so what was there is still there.
        state.credit.left = state.credit.left.saturating_sub(cost);
        state.credit.open += cost;
        if let Some(permit) = permit {
            state.charged += cost;
            permit.forget();
        }
        Ok(())
    }

    /// Nothing more will be sent: the pump is done with it.
    pub(super) fn close(&self, call: &Ongoing) {
        let charged = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            state.stopped.get_or_insert_with(|| StreamBroken::new("it has ended"));
            std::mem::take(&mut state.charged)
        };
        pay(call, charged);
        call.release();
    }
}

/// Gives back to the budget that all streams to the process have.
fn pay(call: &Ongoing, charged: u64) {
    call.route.party.budget.add_permits(usize::try_from(charged).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_comes_in_order_and_never_for_more_than_was_sent() {
        let credit = || Credit { left: 0, open: 100, expected: 0, heard: false };
        let mut good = credit();
        good.arrive(0, 60).unwrap();
        good.arrive(1, 40).unwrap();
        assert_eq!((good.left, good.open, good.heard), (100, 0, true));
        assert!(good.arrive(2, 1).is_err());
        assert!(credit().arrive(1, 1).is_err());
        assert!(credit().arrive(0, 101).is_err());
    }
}
