//! Keeps the snapshot in step with one bucket, through lost connections and lost streams.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{consumer::DeliverPolicy, consumer::push, stream::Info};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::{
    BucketStatus, Shared,
    jetstream::{JetStream, is_deletion},
    snapshot::{Bucket, Revision, Snapshot},
};
use crate::{
    Error,
    backoff::{Reminder, delay_before},
    connection::ConnectionStatus,
};

/// How often the stream is compared with what was seen of it.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// An initial load that gets nothing for so long is begun anew: an entry that it counts on may have been removed.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// Changes that are taken in together, so that a flood of them is not as many snapshots.
const LARGEST_BATCH: usize = 256;

/// How far the bucket was followed, in which incarnation of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    /// When the stream was created, which tells a new one of the same name.
    created: String,
    sequence: u64,
}

impl Position {
    fn of(info: &Info) -> Self {
        Self { created: info.created.to_string(), sequence: info.state.last_sequence }
    }

    /// Whether the stream is still the one that was followed: same age, and not shorter.
    fn continues_in(&self, now: &Self) -> bool {
        self.created == now.created && self.sequence <= now.sequence
    }

    /// What a check says: where the stream is now, and where it ended at the check before.
    fn judge(&self, now: &Self, before: Option<u64>) -> Option<Ended> {
        if !self.continues_in(now) {
            return Some(Ended::StreamReplaced);
        }
        // What was stored at the check before must have arrived by now.
        before.filter(|before| *before > self.sequence).map(|_| Ended::FellBehind)
    }
}

/// Why following the bucket came to an end that is no failure.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    ConnectionChanged,
    StreamReplaced,
    FellBehind,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    jetstream: JetStream,
    connection: watch::Receiver<ConnectionStatus>,
    bucket: Bucket,
    name: String,
    position: Option<Position>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, jetstream: JetStream, bucket: Bucket) -> Self {
        let connection = jetstream.connection().status();
        let name = bucket.name(&shared.lattice);
        Self { shared, jetstream, connection, bucket, name, position: None }
    }

    /// Follows the bucket for ever.
    pub(super) async fn run(mut self) {
        let mut attempt = 0;
        let mut reminder = Reminder::default();
        loop {
            let down = match &*self.connection.borrow_and_update() {
                ConnectionStatus::Disconnected(reason) => Some(format!("not connected to NATS: {reason}")),
                ConnectionStatus::Connected(_) => None,
            };
            if let Some(reason) = down {
                self.shared.tell(self.bucket, BucketStatus::Unreachable(reason));
                if self.connection.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match self.session(&mut reminder, &mut attempt).await {
                Ok(ended) => tracing::debug!(bucket = self.name, ?ended, "following the bucket anew"),
                Err(error) => {
                    let reason = error.to_string();
                    if reminder.is_due(&reason) {
                        tracing::warn!(bucket = self.name, reason, "the lattice's state can't be reached");
                    }
                    self.shared.tell(self.bucket, BucketStatus::Unreachable(reason));
                    attempt += 1;
                    let pause = tokio::time::sleep(delay_before(attempt + 1));
                    tokio::select! {
                        () = pause => {}
                        _ = self.connection.changed() => {}
                    }
                }
            }
        }
    }

    /// Opens, loads and follows the bucket until something changes.
    async fn session(&mut self, reminder: &mut Reminder, attempt: &mut u32) -> Result<Ended, Error> {
        let now = Position::of(&self.jetstream.open(&self.name).await?);
        let resumed = self.position.take_if(|seen| seen.continues_in(&now));
        if self.position.take().is_some() {
            tracing::warn!(
                bucket = self.name,
                "the bucket was made anew or went back; loading it from nothing"
            );
        }
        let from = match &resumed {
            Some(seen) => DeliverPolicy::ByStartSequence { start_sequence: seen.sequence + 1 },
            None => DeliverPolicy::LastPerSubject,
        };
        let (mut messages, pending) = self.jetstream.follow(&self.name, from).await?;
        self.shared.tell(self.bucket, BucketStatus::Loading);
        let Some(sequence) = self.catch_up(&mut messages, pending, resumed, &now).await? else {
            return Ok(Ended::ConnectionChanged);
        };
        self.position = Some(Position { created: now.created, sequence });
        *attempt = 0;
        if reminder.clear() {
            tracing::info!(bucket = self.name, "the lattice's state is reached again");
        }
        self.shared.tell(self.bucket, BucketStatus::Ready);
        self.follow(&mut messages).await
    }

    /// Takes in what is stored already and publishes it at once. `None` when the connection changed meanwhile.
    async fn catch_up(
        &mut self,
        messages: &mut push::Ordered,
        pending: u64,
        resumed: Option<Position>,
        now: &Position,
    ) -> Result<Option<u64>, Error> {
        let mut fresh = if resumed.is_some() { self.shared.snapshot() } else { Arc::default() };
        let loaded = Arc::make_mut(&mut fresh);
        // Everything up to here was stored before the load began and is therefore part of it, delivered or replaced.
        let mut sequence = now.sequence;
        let mut left = pending;
        while left > 0 {
            let next = tokio::select! {
                next = tokio::time::timeout(STALLED_AFTER, messages.next()) => next,
                _ = self.connection.changed() => return Ok(None),
            };
            let stalled = || self.broken("nothing came although entries were announced");
            let entry = self.entry(next.map_err(|_| stalled())?)?;
            left = entry.left;
            sequence = sequence.max(entry.sequence);
            loaded.apply(self.bucket, &self.shared.lattice, &entry.key, entry.value());
        }
        let revision = Revision { bucket: self.bucket, sequence };
        let loaded = std::mem::take(loaded);
        self.shared.edit(|snapshot| {
            snapshot.replace(self.bucket, &self.shared.lattice, loaded);
            snapshot.reach(revision);
        });
        Ok(Some(sequence))
    }

    /// Takes in changes as they come.
    async fn follow(&mut self, messages: &mut push::Ordered) -> Result<Ended, Error> {
        let mut last_check = None;
        let mut check = self.check_later();
        loop {
            tokio::select! {
                next = messages.next() => {
                    let mut batch = vec![self.entry(next)?];
                    while batch.len() < LARGEST_BATCH && let Some(next) = messages.next().now_or_never() {
                        batch.push(self.entry(next)?);
                    }
                    self.take_in(&batch);
                }
                _ = self.connection.changed() => return Ok(Ended::ConnectionChanged),
                checked = &mut check => {
                    let Some(now) = checked? else { return Ok(Ended::StreamReplaced) };
                    let seen = self.position.as_ref();
                    if let Some(ended) = seen.and_then(|seen| seen.judge(&now, last_check.replace(now.sequence))) {
                        return Ok(ended);
                    }
                    check = self.check_later();
                }
            }
        }
    }

    /// Where the stream is, some time from now; `None` when it is gone.
    fn check_later(&self) -> futures::future::BoxFuture<'static, Result<Option<Position>, Error>> {
        let (jetstream, name) = (self.jetstream.clone(), self.name.clone());
        async move {
            tokio::time::sleep(CHECK_EVERY).await;
            Ok(jetstream.info(&name).await?.as_ref().map(Position::of))
        }
        .boxed()
    }

    fn take_in(&mut self, batch: &[Entry]) {
        let Some(sequence) = batch.last().map(|entry| entry.sequence) else { return };
        if let Some(position) = &mut self.position {
            position.sequence = sequence;
        }
        self.shared.edit(|snapshot: &mut Snapshot| {
            for entry in batch {
                snapshot.apply(self.bucket, &self.shared.lattice, &entry.key, entry.value());
            }
            snapshot.reach(Revision { bucket: self.bucket, sequence });
        });
    }

    fn entry(
        &self,
        next: Option<Result<async_nats::jetstream::Message, push::OrderedError>>,
    ) -> Result<Entry, Error> {
        let message = next.ok_or_else(|| self.broken("the subscription ended"))?;
        let message = message.map_err(|error| self.broken(&error.to_string()))?;
        let info = message.info().map_err(|error| self.broken(&error.to_string()))?;
        let (sequence, left) = (info.stream_sequence, info.pending);
        let prefix = wattle_protocol::subject::key(&self.name, "");
        let key = message.subject.strip_prefix(&prefix).unwrap_or_default().to_owned();
        Ok(Entry {
            key,
            sequence,
            left,
            deleted: is_deletion(message.headers.as_ref()),
            payload: message.payload.clone(),
        })
    }

    fn broken(&self, reason: &str) -> Error {
        Error::JetStream { what: format!("follow bucket `{}`", self.name), reason: reason.to_owned() }
    }
}

/// A message of the bucket's stream.
struct Entry {
    key: String,
    sequence: u64,
    /// How many are still to come.
    left: u64,
    deleted: bool,
    payload: bytes::Bytes,
}

impl Entry {
    fn value(&self) -> Option<&[u8]> {
        (!self.deleted).then_some(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_went_back_or_is_another_one_is_told() {
        let at = |created: &str, sequence| Position { created: created.to_owned(), sequence };
        let seen = at("monday", 7);
        assert!(seen.continues_in(&at("monday", 7)));
        assert!(seen.continues_in(&at("monday", 9)));
        assert!(!seen.continues_in(&at("monday", 6)));
        assert!(!seen.continues_in(&at("tuesday", 9)));

        assert_eq!(seen.judge(&at("tuesday", 9), None), Some(Ended::StreamReplaced));
        assert_eq!(seen.judge(&at("monday", 6), Some(7)), Some(Ended::StreamReplaced));
        assert_eq!(seen.judge(&at("monday", 9), Some(7)), None);
        assert_eq!(seen.judge(&at("monday", 9), Some(8)), Some(Ended::FellBehind));
    }
}
