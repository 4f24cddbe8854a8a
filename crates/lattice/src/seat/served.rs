//! The calls that this seat has taken and that are not over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wattle_seal::message::CallId;

use super::party::Party;
use super::stream::Ongoing;

const SHARDS: usize = 64;

type Key = (u64, CallId);
type Shard = HashMap<Key, Arc<Ongoing>>;

/// All calls that run here for others.
#[derive(Debug)]
pub(super) struct ServedCalls {
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
    ended: Notify,
}

impl ServedCalls {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, count: AtomicUsize::new(0), ended: Notify::new() }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.1 as usize % SHARDS])
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes a call in; false when the caller has used its number already for one that is not over.
    pub(super) fn insert(&self, party: u64, call: CallId, served: &Arc<Ongoing>) -> bool {
        let key = (party, call);
        let mut shard = self.shard(&key);
        if shard.contains_key(&key) {
            return false;
        }
        shard.insert(key, Arc::clone(served));
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn get(&self, party: u64, call: CallId) -> Option<Arc<Ongoing>> {
        let key = (party, call);
        self.shard(&key).get(&key).cloned()
    }

    fn remove(&self, party: u64, call: CallId) -> Option<Arc<Ongoing>> {
        let key = (party, call);
        let removed = self.shard(&key).remove(&key)?;
        self.left(1);
        Some(removed)
    }

    fn left(&self, count: usize) {
        if self.count.fetch_sub(count, Ordering::Relaxed) == count {
            self.ended.notify_waiters();
        }
    }

    /// The answer was sent and all streams are over.
    pub(super) fn close(&self, party: u64, call: CallId) {
        self.remove(party, call);
    }

    /// The caller does not wait any more; false when the call is over.
    pub(super) fn cancel(&self, party: u64, call: CallId, reason: &str) -> bool {
        let removed = self.remove(party, call);
        removed.inspect(|served| served.give_up(reason)).is_some()
    }

    /// Gives up all calls of a process.
    pub(super) fn abandon(&self, party: &Arc<Party>, reason: &str) -> usize {
        self.give_up_all(|served| Arc::ptr_eq(&served.route.party, party), reason)
    }

    /// Gives up all calls of which this says so; how many they were.
    pub(super) fn give_up_all(&self, gone: impl Fn(&Ongoing) -> bool, reason: &str) -> usize {
        let mut given_up = Vec::new();
        for shard in &self.shards {
            given_up.extend(lock(shard).extract_if(|_, served| gone(served)).map(|(_, served)| served));
        }
        self.left(given_up.len());
        given_up.iter().for_each(|served| served.give_up(reason));
        given_up.len()
    }

    /// One call of each process that has any.
    pub(super) fn one_of_each(&self) -> Vec<Arc<Ongoing>> {
        let mut parties = HashMap::new();
        for shard in &self.shards {
            for ((party, _), served) in lock(shard).iter() {
                parties.entry(*party).or_insert_with(|| Arc::clone(served));
            }
        }
        parties.into_values().collect()
    }

    /// Waits until no call runs.
    pub(super) async fn none_left(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
