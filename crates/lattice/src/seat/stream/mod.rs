//! Streams of a call: sequences of messages with credit, in both directions.
//!
//! A stream is never short: a message that is missing, or an end that does, breaks it off with an error.

mod inward;
mod outward;
mod pump;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::task::AbortHandle;
use wattle_seal::message::{End, Frame};

pub use self::inward::InStream;
use self::inward::Inward;
pub(super) use self::outward::Outward;
pub(super) use self::pump::{Source, run};
use super::party::Route;

/// Longest message of a stream, in bytes.
pub const MAX_STREAM_MESSAGE_LEN: usize = 64 * 1024;

/// What a stream may have on the way at first, without having been credited.
pub(super) const FIRST_CREDIT: u64 = 256 * 1024;

/// What every stream may have on the way, whatever the others have: so much that a receiver which has read it all gives
/// credit. So slow readers hold up only their own streams.
const OWN_CREDIT: u64 = GRANT + MAX_STREAM_MESSAGE_LEN as u64;

/// What all streams to one process may have on the way, beside what is each one's own.
pub(super) const SESSION_CREDIT: usize = 4 * 1024 * 1024;

/// Credit is given when so much was taken.
const GRANT: u64 = 32 * 1024;

/// Every message takes at least so much credit, so that many small ones do not take more memory than a few large ones.
const LEAST_COST: u64 = 256;

/// The messages of a stream that goes out. It is pulled only when the other side takes more.
pub type OutStream = Pin<Box<dyn futures::Stream<Item = Result<Bytes, StreamBroken>> + Send>>;

/// A stream ended before it was complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream broke off: {reason}")]
pub struct StreamBroken {
    reason: Arc<str>,
}

impl StreamBroken {
    /// Says why.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into().into() }
    }
}

/// Which side of a call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Target,
}

/// A call that is not over, on one side, with all its streams. It tells the seat when the last of them has ended.
#[derive(Debug)]
pub(super) struct Ongoing {
    pub(super) route: Route,
    flows: Mutex<Flows>,
    /// How many streams are not over, and one more until the answer is there.
    open: AtomicUsize,
    /// At the target: the task that serves it.
    task: OnceLock<AbortHandle>,
    given_up: AtomicBool,
    /// At the target: when the server first said that the caller is not there, and it has not been heard since.
    pub(super) absent: AtomicU64,
}

#[derive(Debug, Default)]
struct Flows {
    inward: Vec<Arc<Inward>>,
    outward: Vec<Arc<Outward>>,
    broken: Option<StreamBroken>,
}

impl Ongoing {
    pub(super) fn new(route: Route) -> Arc<Self> {
        Arc::new(Self {
            route,
            flows: Mutex::default(),
            open: AtomicUsize::new(1),
            task: OnceLock::new(),
            given_up: AtomicBool::new(false),
            absent: AtomicU64::new(0),
        })
    }

    /// The next streams that come in.
    pub(super) fn receive(self: &Arc<Self>, count: u8) -> Vec<InStream> {
        let mut begun = Vec::with_capacity(count.into());
        if count == 0 {
            return begun;
        }
        let mut flows = self.lock();
        self.open.fetch_add(count.into(), Ordering::Relaxed);
        for _ in 0..count {
            let flow = Arc::new(Inward::new(number(flows.inward.len(), self.route.side == Side::Caller)));
            begun.push(InStream::new(Arc::clone(&flow), Arc::clone(self)));
            flows.inward.push(flow);
        }
        let broken = flows.broken.clone();
        drop(flows);
        if let Some(broken) = broken {
            begun.iter().for_each(|stream| stream.break_off(broken.clone()));
        }
        begun
    }

    /// The next streams that go out.
    pub(super) fn send(&self, count: usize) -> Vec<Arc<Outward>> {
        if count == 0 {
            return Vec::new();
        }
        let mut flows = self.lock();
        let first = flows.outward.len();
        self.open.fetch_add(count, Ordering::Relaxed);
        for place in first..first + count {
            let flow = Outward::new(number(place, self.route.side == Side::Target));
            if let Some(broken) = &flows.broken {
                flow.stop(broken.clone());
            }
            flows.outward.push(Arc::new(flow));
        }
        flows.outward[first..].to_vec()
    }

    /// Takes a frame to its stream; false when there is none.
    pub(super) fn deliver(&self, frame: &Frame<'_>, data: Bytes) -> bool {
        let place = (frame.stream / 2) as usize;
        let inward = (frame.stream % 2 == 1) == (self.route.side == Side::Caller);
        if inward {
            let flow = self.lock().inward.get(place).cloned();
            flow.inspect(|flow| flow.deliver(self, frame, data)).is_some()
        } else {
            let flow = self.lock().outward.get(place).cloned();
            flow.inspect(|flow| flow.deliver(self, frame)).is_some()
        }
    }

    /// Ends all streams that are not over, also those that would begin later.
    pub(super) fn break_off(&self, broken: &StreamBroken) {
        let (inward, outward) = {
            let mut flows = self.lock();
            flows.broken.get_or_insert_with(|| broken.clone());
            (flows.inward.clone(), flows.outward.clone())
        };
        inward.iter().for_each(|flow| flow.break_off(self, broken.clone()));
        outward.iter().for_each(|flow| flow.stop(broken.clone()));
    }

    /// The answer is there, or a stream is over.
    pub(super) fn release(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let Route { core, party, call, side, .. } = &self.route;
            match side {
                Side::Caller => core.pending.close(*call),
                Side::Target => core.served.close(party.id, *call),
            }
        }
    }

    /// The task that serves it, which was begun.
    pub(super) fn runs_in(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        if self.given_up.load(Ordering::Acquire) {
            task.abort();
        }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn give_up(&self, reason: &str) {
        self.given_up.store(true, Ordering::Release);
        self.task.get().inspect(|task| task.abort());
        self.break_off(&StreamBroken::new(reason));
    }

    /// A frame that carries no data.
    fn signal(&self, stream: u32, sequence: u64, end: End, credit: u32) {
        let frame = Frame { call: self.route.call, stream, sequence, end, credit, data: &[] };
        if let Ok(plaintext) = frame.encode() {
            self.route.post(wattle_seal::Kind::Frame, plaintext);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Streams from the caller have even numbers, those from the target odd ones.
fn number(place: usize, from_target: bool) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX / 2) * 2 + u32::from(from_target)
}

fn cost(data: &[u8]) -> u64 {
    (data.len() as u64).max(LEAST_COST)
}
