//! Asking the lattice who answers for a target.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use wattle_protocol::rpc::{Nonce, Query, TargetHash, answer_subject, find_subject};
use wattle_seal::{Address, VersionRange};

use super::Inner;
use super::counters::{Counters, Dropped};
use super::listen::Command;

/// How long the lattice is given after each query before the next, in milliseconds: together two seconds.
/// When the server says that nobody listens, there is one more query, and no third.
const PAUSES: [u64; 6] = [50, 100, 200, 400, 800, 450];

/// For how long answers to a query are taken.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Most queries to which answers are taken.
const MAX_OPEN: usize = 8192;

/// Most good answers that are taken to one query.
const MAX_ANSWERS: usize = 256;

/// A search for peers of one target, which all that need one share.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// Those that wait for a peer.
    waiting: AtomicUsize,
    ended: AtomicBool,
    /// The server said that nobody listens.
    nobody: Notify,
}

impl Ask {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

/// One that waits: for as long as there is one, the search goes on.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Ask>);

impl Waiting {
    /// Has to be made while the table is locked, so that the search can't end in between.
    pub(super) fn new(ask: &Arc<Ask>) -> Self {
        ask.waiting.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(ask))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A query that was sent.
#[derive(Debug, Clone)]
pub(super) struct OpenQuery {
    pub(super) target: Arc<str>,
    pub(super) hash: TargetHash,
    pub(super) sent: Instant,
    ask: Arc<Ask>,
}

/// The queries to which answers are taken.
#[derive(Debug, Default)]
pub(super) struct OpenQueries {
    queries: HashMap<Nonce, (OpenQuery, Vec<Address>)>,
    /// In the order in which they were sent.
    order: VecDeque<Nonce>,
}

impl OpenQueries {
    fn open(&mut self, nonce: Nonce, query: OpenQuery) {
        self.expire(query.sent);
        while self.order.len() >= MAX_OPEN {
            self.close_oldest();
        }
        self.queries.insert(nonce, (query, Vec::new()));
        self.order.push_back(nonce);
    }

    /// Closes those to which no answer is taken any more.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_over = |nonce: &Nonce| {
            let sent = self.queries.get(nonce).map(|(query, _)| query.sent);
            sent.is_none_or(|sent| now.saturating_duration_since(sent) > ANSWER_TIME)
        };
        let over = self.order.iter().take_while(|nonce| is_over(nonce)).count();
        (0..over).for_each(|_| self.close_oldest());
    }

    fn close_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.queries.remove(&oldest);
        }
    }

    /// The query with this nonce, if this process did not answer it yet.
    pub(super) fn get(&self, nonce: &Nonce, address: &Address, now: Instant) -> Result<OpenQuery, Dropped> {
        let (query, heard) = self.queries.get(nonce).ok_or(Dropped::UnknownQuery)?;
        if now.saturating_duration_since(query.sent) > ANSWER_TIME {
            return Err(Dropped::UnknownQuery);
        }
        if heard.contains(address) {
            return Err(Dropped::Repeated);
        }
        if heard.len() >= MAX_ANSWERS { Err(Dropped::Surplus) } else { Ok(query.clone()) }
    }

    /// A process gave a good answer.
    pub(super) fn heard(&mut self, nonce: &Nonce, address: Address) {
        if let Some((_, heard)) = self.queries.get_mut(nonce) {
            heard.push(address);
        }
    }

    /// Whether we sent the query with this nonce.
    pub(super) fn is_ours(&self, nonce: &Nonce) -> bool {
        self.queries.contains_key(nonce)
    }

    /// The server said that nobody listens where the query was sent.
    pub(super) fn nobody(&self, nonce: &Nonce) {
        if let Some((query, _)) = self.queries.get(nonce) {
            query.ask.nobody.notify_one();
        }
    }
}

/// Begins to ask about a target; the table is locked and has the search in it.
pub(super) fn start(inner: &Arc<Inner>, target: &str, hash: TargetHash, ask: Arc<Ask>) {
    let (inner, target) = (Arc::clone(inner), Arc::from(target));
    let stop = inner.stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        inner.ask(&target, hash, &ask).await;
    }));
}

impl Inner {
    async fn ask(&self, target: &Arc<str>, hash: TargetHash, ask: &Arc<Ask>) {
        let mut is_last = false;
        for pause in PAUSES.map(Duration::from_millis) {
            self.send_query(target, hash, ask).await;
            // Only now, so that the server can say of the first query that nobody is there.
            self.command(Command::Listen(hash[0]));
            let nobody = tokio::select! {
                () = sleep(pause) => false,
                () = ask.nobody.notified() => true,
            };
            if nobody {
                // A target that is started just now may not be listened for yet.
                sleep(Duration::from_millis(PAUSES[0])).await;
            }
            if self.end_unless_awaited(target, ask) {
                return;
            }
            if is_last {
                break;
            }
            is_last = nobody;
        }
        self.end(target, ask);
    }

    async fn send_query(&self, target: &Arc<str>, hash: TargetHash, ask: &Arc<Ask>) {
        let mut nonce: Nonce = [0; 16];
        if self.connection.down().is_some() || self.random(&mut nonce).is_err() {
            return;
        }
        let versions = VersionRange::SUPPORTED;
        let query = Query { lowest: versions.lowest(), highest: versions.highest(), nonce, target: hash };
        let (subject, reply) = (find_subject(&self.lattice, hash[0]), answer_subject(&self.inbox, &nonce));
        let open = OpenQuery { target: Arc::clone(target), hash, sent: Instant::now(), ask: Arc::clone(ask) };
        self.open().open(nonce, open);
        let published =
            self.connection.client().publish_with_reply(subject, reply, query.encode().into()).await;
        match published {
            Ok(()) => Counters::count(&self.counters.queries_sent),
            Err(error) => tracing::debug!(%error, "a query was not sent"),
        }
    }

    /// Ends a search when nobody waits for it, and says whether it did.
    fn end_unless_awaited(&self, target: &str, ask: &Arc<Ask>) -> bool {
        let mut table = self.table();
        if ask.is_awaited() {
            return false;
        }
        ask.ended.store(true, Ordering::Release);
        if let Some(target) = table.target(target) {
            target.ask.take_if(|current| Arc::ptr_eq(current, ask));
        }
        true
    }

    fn end(&self, target: &str, ask: &Arc<Ask>) {
        let mut table = self.table();
        ask.ended.store(true, Ordering::Release);
        let Some(target) = table.target(target) else { return };
        target.ask.take_if(|current| Arc::ptr_eq(current, ask));
        target.wake();
        let refused = self.connection.refused(&find_subject(&self.lattice, target.hash[0]));
        drop(table);
        if let Some(reason) = refused {
            tracing::warn!(reason, "the NATS server does not let this member take part in discovery");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_seal::InstanceId;

    fn query(sent: Instant) -> OpenQuery {
        OpenQuery { target: "echo".into(), hash: [0; 32], sent, ask: Arc::default() }
    }

    fn process(number: u8) -> Address {
        Address { member: "N".to_owned(), instance: InstanceId::from_bytes([number; 16]) }
    }

    #[test]
    fn a_query_takes_one_answer_of_each_process_and_not_for_ever() {
        let now = Instant::now();
        let mut open = OpenQueries::default();
        open.open([1; 16], query(now));
        assert!(open.is_ours(&[1; 16]) && !open.is_ours(&[2; 16]));
        assert!(matches!(open.get(&[2; 16], &process(7), now), Err(Dropped::UnknownQuery)));
        open.get(&[1; 16], &process(7), now).unwrap();
        open.heard(&[1; 16], process(7));
        assert!(matches!(open.get(&[1; 16], &process(7), now), Err(Dropped::Repeated)));
        open.get(&[1; 16], &process(8), now + ANSWER_TIME).unwrap();
        let late = now + ANSWER_TIME + Duration::from_millis(1);
        assert!(matches!(open.get(&[1; 16], &process(8), late), Err(Dropped::UnknownQuery)));
        open.open([3; 16], query(late));
        assert_eq!((open.queries.len(), open.order.len()), (1, 1));
        for _ in 0..MAX_ANSWERS {
            open.heard(&[3; 16], process(9));
        }
        assert!(matches!(open.get(&[3; 16], &process(8), late), Err(Dropped::Surplus)));
    }

    #[test]
    fn the_number_of_open_queries_is_bounded() {
        let now = Instant::now();
        let mut open = OpenQueries::default();
        for number in 0..=MAX_OPEN as u128 {
            open.open(number.to_be_bytes(), query(now));
        }
        assert_eq!((open.queries.len(), open.order.len()), (MAX_OPEN, MAX_OPEN));
        assert!(open.get(&0_u128.to_be_bytes(), &process(0), now).is_err());
        open.get(&1_u128.to_be_bytes(), &process(0), now).unwrap();
    }

    #[test]
    fn pauses_last_two_seconds() {
        assert_eq!(PAUSES.iter().sum::<u64>(), 2000);
    }
}
