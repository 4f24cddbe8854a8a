//! Small messages that must not wait, and for which nobody should wait: credit, cancellations, pongs, refusals.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::{Client, Subject};
use bytes::Bytes;
use tokio::sync::mpsc;

/// So many messages that nothing bounds otherwise may be queued.
const MAX_OFFERED: usize = 8192;

#[derive(Debug)]
struct Small {
    subject: Subject,
    reply: Option<Subject>,
    payload: Bytes,
}

/// Where small messages are put in; they leave in that order.
#[derive(Debug)]
pub(super) struct Control {
    queue: mpsc::UnboundedSender<Small>,
    queued: AtomicUsize,
}

/// The other end, for the task that publishes them.
#[derive(Debug)]
pub(super) struct Queue(mpsc::UnboundedReceiver<Small>);

impl Control {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (Self { queue, queued: AtomicUsize::new(0) }, Queue(receiver))
    }

    /// Sends a message of which there can't be many: what was taken from streams, or a call that is given up.
    pub(super) fn post(&self, subject: Subject, reply: Option<Subject>, payload: Bytes) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Small { subject, reply, payload }).is_err() {
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

    /// Publishes what is put in.
    pub(super) async fn run(&self, mut queue: Queue, client: &Client) {
        while let Some(Small { subject, reply, payload }) = queue.0.recv().await {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            let sent = match reply {
                Some(reply) => client.publish_with_reply(subject, reply, payload).await,
                None => client.publish(subject, payload).await,
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "a small message was not sent");
            }
        }
    }
}
