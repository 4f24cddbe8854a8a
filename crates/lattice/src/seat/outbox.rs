//! Everything that is sent goes out here, in one order.
//!
//! Tasks put messages in and go on; one task takes them out, many at a time, so that the connection writes them together.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::{Client, Subject};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

/// When so many messages wait, who sends another one waits, too.
const MAX_QUEUED: usize = 4096;

/// When so many wait, those that nothing else bounds are dropped.
const MAX_OFFERED: usize = 8192;

/// So many are taken out at once.
const BATCH: usize = 128;

#[derive(Debug)]
struct Message {
    subject: Subject,
    reply: Option<Subject>,
    payload: Bytes,
}

/// What is put in.
#[derive(Debug)]
enum Item {
    Message(Message),
    /// Whoever put it in is told when all before it was published.
    Mark(oneshot::Sender<()>),
}

/// Where messages are put in.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Item>,
    queued: AtomicUsize,
    taken: Notify,
}

/// The other end, for the task that publishes them.
#[derive(Debug)]
pub(super) struct Queue(mpsc::UnboundedReceiver<Item>);

impl Outbox {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (Self { queue, queued: AtomicUsize::new(0), taken: Notify::new() }, Queue(receiver))
    }

    /// Whether who sends another message should wait.
    pub(super) fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) >= MAX_QUEUED
    }

    /// Waits until there is room for a message.
    pub(super) async fn room(&self) {
        while self.is_full() {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.is_full() {
                taken.await;
            }
        }
    }

    /// Sends a message: one for which there is [room](Self::room), or one of which there can't be many, such as what was
    /// taken from streams, or a call that is given up.
    pub(super) fn post(&self, subject: Subject, reply: Option<Subject>, payload: Bytes) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Item::Message(Message { subject, reply, payload })).is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sends a message of which others decide how many there are: false when too many wait already.
    pub(super) fn offer(&self, subject: Subject, payload: Bytes) -> bool {
        let room = self.queued.load(Ordering::Relaxed) < MAX_OFFERED;
        if room {
            self.post(subject, None, payload);
        }
        room
    }

    /// Waits until everything that was put in before is published.
    pub(super) async fn published(&self) {
        let (mark, reached) = oneshot::channel();
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Item::Mark(mark)).is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        // Where nobody publishes any more, there is nothing to wait for.
        let _ = reached.await;
    }

    /// Publishes what is put in. While others are at work, they are let go first, so that what they put in goes along.
    pub(super) async fn run(&self, mut queue: Queue, client: &Client, others_at_work: impl Fn() -> bool) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.0.recv_many(&mut batch, BATCH).await > 0 {
            if batch.len() < BATCH && others_at_work() {
                tokio::task::yield_now().await;
                while batch.len() < BATCH
                    && let Ok(message) = queue.0.try_recv()
                {
                    batch.push(message);
                }
            }
            self.queued.fetch_sub(batch.len(), Ordering::Relaxed);
            self.taken.notify_waiters();
            for item in batch.drain(..) {
                let Message { subject, reply, payload } = match item {
                    Item::Message(message) => message,
                    Item::Mark(mark) => {
                        // Who put it in may have gone.
                        let _ = mark.send(());
                        continue;
                    }
                };
                let sent = match reply {
                    Some(reply) => client.publish_with_reply(subject, reply, payload).await,
                    None => client.publish(subject, payload).await,
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, "a message was not sent");
                }
            }
        }
    }
}
