//! What a subscriber to everything sees.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use wattle_seal::{Head, Packet};
use wattle_tests::{DEADLINE, Nats};

/// One message that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) payload: Bytes,
}

impl Seen {
    /// The head, where it is a sealed message.
    pub(crate) fn head(&self) -> Option<Head> {
        match Packet::classify(&self.payload) {
            Ok(Packet::Sealed(head)) => Some(head),
            _ => None,
        }
    }
}

/// Everything that went over the bus since it was tapped.
pub(crate) struct Bus {
    seen: Arc<Mutex<Vec<Seen>>>,
    arrived: Arc<Notify>,
    collector: JoinHandle<()>,
}

impl Bus {
    /// Taps one subject, such as `wattle.>`, or everything with `>`.
    pub(crate) async fn tap(nats: &Nats, subject: &str) -> Self {
        let client = nats.connect().await;
        let mut messages = client.subscribe(subject.to_owned()).await.unwrap();
        client.flush().await.unwrap();
        let (seen, arrived) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (to, ring) = (Arc::clone(&seen), Arc::clone(&arrived));
        let collector = tokio::spawn(async move {
            let _client = client;
            while let Some(message) = messages.next().await {
                let reply = message.reply.map(|reply| reply.to_string());
                let subject = message.subject.to_string();
                to.lock().unwrap().push(Seen { subject, reply, payload: message.payload });
                ring.notify_waiters();
            }
        });
        Self { seen, arrived, collector }
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many messages were seen so far: where to look on from.
    pub(crate) fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits for a message that fits, of those from number `from` on.
    pub(crate) async fn wait_for(&self, from: usize, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let end = Instant::now() + DEADLINE;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(found) = self.seen.lock().unwrap().iter().skip(from).find(|seen| fits(seen)) {
                return found.clone();
            }
            let late = timeout_at(end, arrived).await.is_err();
            assert!(
                !late,
                "waited {DEADLINE:?} in vain to see {what} on the bus; saw {} messages",
                self.len()
            );
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.collector.abort();
    }
}
