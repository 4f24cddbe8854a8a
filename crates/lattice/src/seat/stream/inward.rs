//! A stream that comes in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wattle_seal::message::{End, Frame};

use super::{FIRST_CREDIT, GRANT, Ongoing, StreamBroken, cost};

/// The receiving end of a stream, where frames arrive.
#[derive(Debug)]
pub(super) struct Inward {
    number: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    queue: VecDeque<Bytes>,
    /// How it ended; taken when the reader has heard of it.
    end: Option<Result<(), StreamBroken>>,
    ended: bool,
    waker: Option<Waker>,
    /// Frames that were sent the other way.
    sent: u64,
}

/// What the sender may send, and in which order.
#[derive(Debug)]
struct Window {
    credit: u64,
    /// What was taken and not yet credited.
    taken: u64,
    expected: u64,
}

impl Window {
    fn new() -> Self {
        Self { credit: FIRST_CREDIT, taken: 0, expected: 0 }
    }

    /// A frame arrived, with a message of this cost.
    fn arrive(&mut self, sequence: u64, cost: Option<u64>) -> Result<(), &'static str> {
        if sequence != self.expected {
            return Err("a message of it is missing");
        }
        self.expected += 1;
        let left = self.credit.checked_sub(cost.unwrap_or(0));
        self.credit = left.ok_or("its sender sent more than it was allowed to")?;
        Ok(())
    }

    /// A message of this cost was taken; gives the credit that is due.
    fn take(&mut self, cost: u64) -> Option<u32> {
        self.taken += cost;
        if self.taken < GRANT {
            return None;
        }
        let granted = std::mem::take(&mut self.taken);
        self.credit += granted;
        u32::try_from(granted).ok()
    }
}

impl Inward {
    pub(super) fn new(number: u32) -> Self {
        let state = State {
            window: Window::new(),
            queue: VecDeque::new(),
            end: None,
            ended: false,
            waker: None,
            sent: 0,
        };
        Self { number, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deliver(&self, call: &Ongoing, frame: &Frame<'_>, data: Bytes) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let message = !data.is_empty() || frame.end == End::Open;
        if let Err(problem) = state.window.arrive(frame.sequence, message.then(|| cost(&data))) {
            self.signal(call, &mut state, End::Aborted, 0);
            return finish(call, state, Err(StreamBroken::new(problem)));
        }
        if message {
            state.queue.push_back(data);
        }
        match frame.end {
            End::Open => {
                let waker = state.waker.take();
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            End::Complete => finish(call, state, Ok(())),
            End::Aborted => finish(call, state, Err(StreamBroken::new("its sender broke it off"))),
        }
    }

    /// It is over, and nothing more can come.
    pub(super) fn break_off(&self, call: &Ongoing, broken: StreamBroken) {
        let state = self.lock();
        if !state.ended {
            finish(call, state, Err(broken));
        }
    }

    /// Under the lock, so that the frames leave in the order of their numbers.
    fn signal(&self, call: &Ongoing, state: &mut State, end: End, credit: u32) {
        call.signal(self.number, state.sent, end, credit);
        state.sent += 1;
    }

    fn poll(&self, call: &Ongoing, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamBroken>>> {
        let mut state = self.lock();
        if let Some(data) = state.queue.pop_front() {
            let due = state.window.take(cost(&data));
            if let Some(credit) = due.filter(|_| !state.ended) {
                self.signal(call, &mut state, End::Open, credit);
            }
            return Poll::Ready(Some(Ok(data)));
        }
        if state.ended {
            return Poll::Ready(state.end.take().and_then(Result::err).map(Err));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Nobody reads any more.
    fn leave(&self, call: &Ongoing) {
        let mut state = self.lock();
        state.queue.clear();
        if !state.ended {
            self.signal(call, &mut state, End::Aborted, 0);
            finish(call, state, Ok(()));
        }
    }
}

/// The stream is over: tells the reader, and the call when no lock is held any more.
fn finish(call: &Ongoing, mut state: MutexGuard<'_, State>, end: Result<(), StreamBroken>) {
    state.ended = true;
    state.end = Some(end);
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
    call.release();
}

/// The messages of a stream that comes in. It ends with an error if it is not complete; when it is dropped, its sender
/// is told to stop.
#[derive(Debug)]
pub struct InStream {
    flow: Arc<Inward>,
    call: Arc<Ongoing>,
}

impl InStream {
    pub(super) fn new(flow: Arc<Inward>, call: Arc<Ongoing>) -> Self {
        Self { flow, call }
    }

    pub(super) fn break_off(&self, broken: StreamBroken) {
        self.flow.break_off(&self.call, broken);
    }
}

impl futures::Stream for InStream {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flow.poll(&self.call, context)
    }
}

impl Drop for InStream {
    fn drop(&mut self) {
        self.flow.leave(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_repeats_and_too_much_are_noticed() {
        let mut window = Window::new();
        window.arrive(0, Some(FIRST_CREDIT - 1)).unwrap();
        assert!(window.arrive(2, Some(1)).is_err());
        assert!(window.arrive(0, Some(1)).is_err());
        window.arrive(1, Some(1)).unwrap();
        window.arrive(2, None).unwrap();
        assert!(window.arrive(3, Some(1)).is_err());
    }

    proptest! {
        /// However sender and reader take turns, what is unread or on the way never exceeds the first credit, and a
        /// sender with a message of any allowed length always gets on once the reader has taken everything.
        #[test]
        fn credit_bounds_memory_and_never_runs_dry(
            steps in proptest::collection::vec((0..=super::super::MAX_STREAM_MESSAGE_LEN as u64, 0..4usize), 1..300)
        ) {
            let mut window = Window::new();
            let mut unread = VecDeque::new();
            let (mut credit, mut sequence) = (FIRST_CREDIT, 0);
            for (length, reads) in steps {
                let cost = length.max(super::super::LEAST_COST);
                if cost <= credit {
                    credit -= cost;
                    prop_assert!(window.arrive(sequence, Some(cost)).is_ok());
                    sequence += 1;
                    unread.push_back(cost);
                } else {
                    prop_assert!(!unread.is_empty(), "stuck with {credit} left");
                }
                prop_assert!(unread.iter().sum::<u64>() <= FIRST_CREDIT);
                for cost in unread.drain(..reads.min(unread.len())) {
                    credit += u64::from(window.take(cost).unwrap_or(0));
                }
            }
        }
    }
}
