//! The calls that this seat makes and that are not over.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use wattle_identity::Member;
use wattle_seal::message::{CallId, Reason};

use super::InStream;
use super::links::Link;
use super::party::{Established, Party};
use super::stream::{Ongoing, StreamBroken};

const SHARDS: usize = 64;

/// What became of a call.
#[derive(Debug)]
pub(super) enum Event {
    Value {
        value: Bytes,
        streams: Vec<InStream>,
        peer: Arc<Member>,
    },
    Failed {
        code: u16,
        message: String,
    },
    Refused {
        reason: Reason,
        message: String,
    },
    /// The target does not know the session, so the call was not begun.
    UnknownSession,
    /// The process is gone, and the call never reached it.
    NotDelivered,
    /// Nobody can say what became of it.
    Lost(String),
}

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) link: Arc<Link>,
    pub(super) session: Arc<Established>,
    /// The message, by which a refusal in the clear is checked.
    pub(super) sent: Bytes,
    pub(super) streams: Option<Arc<Ongoing>>,
    /// Gone when the answer is there and only streams go on.
    pub(super) answer: Option<oneshot::Sender<Event>>,
    /// The server said that nobody took it.
    pub(super) undelivered: bool,
}

impl Pending {
    fn is_of(&self, party: &Arc<Party>) -> bool {
        Arc::ptr_eq(&self.link.party, party)
    }
}

type Shard = HashMap<CallId, Pending, BuildHasherDefault<CallHasher>>;

/// All calls that are under way from here.
#[derive(Debug)]
pub(super) struct PendingCalls {
    shards: Box<[Mutex<Shard>]>,
    next: AtomicU64,
    count: AtomicUsize,
    /// Told when there is a first call again.
    pub(super) began: Notify,
}

impl PendingCalls {
    /// Numbers begin anywhere, and are not used twice.
    pub(super) fn new(first: CallId) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (next, count) = (AtomicU64::new(first), AtomicUsize::new(0));
        Self { shards, next, count, began: Notify::new() }
    }

    pub(super) fn next_id(&self) -> CallId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, call: CallId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[call as usize % SHARDS])
    }

    pub(super) fn insert(&self, call: CallId, pending: Pending) {
        pending.link.begin();
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.began.notify_one();
        }
        self.shard(call).insert(call, pending);
    }

    /// Ends a call.
    pub(super) fn remove(&self, call: CallId) -> Option<Pending> {
        let removed = self.shard(call).remove(&call);
        if let Some(pending) = &removed {
            self.forget(pending);
        }
        removed
    }

    /// Accounts for a call that is no longer in its shard.
    fn forget(&self, pending: &Pending) {
        pending.link.end();
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// All streams of a call are over.
    pub(super) fn close(&self, call: CallId) {
        self.remove(call);
    }

    /// The call has an answer, and goes on as long as its streams; false when nobody waits for it. The streams that come
    /// with the answer are begun before anything else of theirs can arrive.
    pub(super) fn answer(
        &self,
        call: CallId,
        from: &Arc<Established>,
        value: Bytes,
        count: u8,
        begin: impl FnOnce(&Pending) -> Arc<Ongoing>,
    ) -> bool {
        let mut shard = self.shard(call);
        let Some(pending) = shard.get_mut(&call).filter(|pending| pending.is_of(&from.party)) else {
            return false;
        };
        let Some(answer) = pending.answer.take() else { return false };
        let peer = Arc::clone(&from.member);
        if count == 0 && pending.streams.is_none() {
            let removed = shard.remove(&call);
            drop(shard);
            removed.iter().for_each(|pending| self.forget(pending));
            return answer.send(Event::Value { value, streams: Vec::new(), peer }).is_ok();
        }
        pending.sent = Bytes::new();
        if pending.streams.is_none() {
            pending.streams = Some(begin(pending));
        }
        let streams = pending.streams.clone();
        drop(shard);
        let Some(streams) = streams else { return false };
        let value = Event::Value { value, streams: streams.receive(count), peer };
        // Streams that nobody takes are dropped here, outside of the lock, and so end.
        let taken = answer.send(value).is_ok();
        streams.release();
        taken
    }

    /// The call ended without an answer; false when nobody waits for it.
    pub(super) fn fail(&self, call: CallId, from: &Arc<Party>, event: Event) -> bool {
        let removed = {
            let mut shard = self.shard(call);
            let known =
                shard.get(&call).is_some_and(|pending| pending.is_of(from) && pending.answer.is_some());
            if known { shard.remove(&call) } else { None }
        };
        let Some(pending) = removed else { return false };
        self.forget(&pending);
        finish(pending, event);
        true
    }

    /// A call with streams, for a frame of one.
    pub(super) fn ongoing(&self, call: CallId, from: &Arc<Party>) -> Option<Arc<Ongoing>> {
        let shard = self.shard(call);
        shard.get(&call).filter(|pending| pending.is_of(from))?.streams.clone()
    }

    /// The server says that nobody took the request: who should have.
    pub(super) fn undelivered(&self, call: CallId) -> Option<Arc<Link>> {
        let mut shard = self.shard(call);
        let pending = shard.get_mut(&call)?;
        pending.undelivered |= pending.answer.is_some();
        Some(Arc::clone(&pending.link))
    }

    /// Where a call is.
    pub(super) fn link(&self, call: CallId) -> Option<Arc<Link>> {
        self.shard(call).get(&call).map(|pending| Arc::clone(&pending.link))
    }

    /// What a refusal in the clear is checked against.
    pub(super) fn sent(&self, call: CallId) -> Option<(Bytes, Arc<Established>)> {
        let shard = self.shard(call);
        let pending = shard.get(&call).filter(|pending| pending.answer.is_some())?;
        Some((pending.sent.clone(), Arc::clone(&pending.session)))
    }

    /// The process turned out to be there, so what the server said was made up.
    pub(super) fn delivered_after_all(&self, link: &Arc<Link>) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let there = shard.values_mut().filter(|pending| Arc::ptr_eq(&pending.link, link));
            there.for_each(|pending| pending.undelivered = false);
        }
    }

    /// Ends all calls of which this says that they are lost; how many it were. With `absent`, the process was not there
    /// when the server said so.
    pub(super) fn lose(&self, lost_to: impl Fn(&Pending) -> bool, reason: &str, absent: bool) -> usize {
        let mut lost = Vec::new();
        for shard in &self.shards {
            lost.extend(lock(shard).extract_if(|_, pending| lost_to(pending)).map(|(_, pending)| pending));
        }
        let count = lost.len();
        for pending in lost {
            self.forget(&pending);
            let event = if pending.undelivered && absent {
                Event::NotDelivered
            } else {
                Event::Lost(reason.to_owned())
            };
            finish(pending, event);
        }
        count
    }
}

/// Tells the caller, and ends what goes on.
fn finish(pending: Pending, event: Event) {
    let broken = match &event {
        Event::Lost(reason) => StreamBroken::new(reason.clone()),
        _ => StreamBroken::new("the call has ended"),
    };
    // First, so that the caller finds its streams still.
    if let Some(answer) = pending.answer {
        let _ = answer.send(event);
    }
    if let Some(streams) = pending.streams {
        streams.break_off(&broken);
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls are numbered here, so their numbers need no hashing against made-up ones.
#[derive(Debug, Default)]
pub(super) struct CallHasher(u64);

impl Hasher for CallHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte) ^ (self.0 >> 56);
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The map looks at the upper bits as well, which differ little from one number to the next.
        self.0 = (number / SHARDS as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
