//! The subjects that this member listens to, and what it announces there. One task does both, so that it listens before it
//! announces, and announcements are made in the order of what they tell.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::Subscriber;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use wattle_protocol::rpc::{Action, Announcement, TargetHash, find_subject};

use super::counters::Counters;
use super::{Inner, wall};

/// How often what is not needed any more is looked for.
const TIDY_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// What the task is to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Listen where targets of this bucket are looked for.
    Listen(u8),
    /// Tell that a target runs here from now on, or does not.
    Announce(Action, TargetHash),
    /// Tell that this process takes no more calls.
    Drain(oneshot::Sender<()>),
}

/// Listens, announces and tidies up until discovery ends.
pub(super) async fn run(inner: Arc<Inner>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut buckets: HashMap<u8, DropGuard> = HashMap::new();
    let mut tidy = interval(TIDY_EVERY);
    let stop = inner.stop.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tidy.tick() => inner.tidy(&mut buckets),
            command = commands.recv() => match command {
                Some(command) => inner.run_command(command, &mut buckets).await,
                None => return,
            },
        }
    }
}

/// Hands the messages of a subscription on until it is told to stop.
pub(super) async fn forward<F: Future<Output = ()>>(
    mut subscriber: Subscriber,
    stop: CancellationToken,
    mut take: impl FnMut(async_nats::Message) -> F,
) {
    while let Some(Some(message)) = stop.run_until_cancelled(subscriber.next()).await {
        take(message).await;
    }
}

impl Inner {
    async fn run_command(self: &Arc<Self>, command: Command, buckets: &mut HashMap<u8, DropGuard>) {
        match command {
            Command::Listen(bucket) => self.listen(bucket, buckets).await,
            Command::Announce(action, target) => {
                self.listen(target[0], buckets).await;
                self.announce(action, target).await;
            }
            Command::Drain(done) => {
                self.announce_draining_now().await;
                // Whoever waited may have gone.
                let _ = done.send(());
            }
        }
    }

    async fn listen(self: &Arc<Self>, bucket: u8, buckets: &mut HashMap<u8, DropGuard>) {
        if buckets.contains_key(&bucket) {
            return;
        }
        let subject = find_subject(&self.lattice, bucket);
        match self.connection.client().subscribe(subject.clone()).await {
            Ok(subscriber) => {
                let (stop, inner) = (self.stop.child_token(), Arc::clone(self));
                buckets.insert(bucket, stop.clone().drop_guard());
                tokio::spawn(forward(subscriber, stop, move |message| {
                    let inner = Arc::clone(&inner);
                    async move { inner.on_bucket(message).await }
                }));
            }
            Err(error) => tracing::warn!(subject, %error, "failed to subscribe"),
        }
    }

    fn tidy(&self, buckets: &mut HashMap<u8, DropGuard>) {
        let now = Instant::now();
        self.open().expire(now);
        let mut needed: HashSet<u8> = self.served().keys().map(|hash| hash[0]).collect();
        let mut table = self.table();
        table.tidy(now);
        needed.extend(table.hashes().map(|hash| hash[0]));
        drop(table);
        buckets.retain(|bucket, _| needed.contains(bucket));
    }

    /// After draining began nothing is to be told any more.
    async fn announce(&self, action: Action, target: TargetHash) {
        if self.draining.load(Ordering::Acquire) {
            return;
        }
        if let Some(packet) = self.announcement(action, Some(target)) {
            self.publish_announcement(target[0], packet).await;
        }
    }

    async fn announce_draining_now(&self) {
        let Some(packet) = self.announcement(Action::Draining, None) else { return };
        let buckets: HashSet<u8> = self.served().keys().map(|hash| hash[0]).collect();
        for bucket in buckets {
            self.publish_announcement(bucket, packet.clone()).await;
        }
        if let Err(error) = self.connection.flush().await {
            tracing::debug!(%error, "whether draining was announced is not known");
        }
    }

    fn announcement(&self, action: Action, target: Option<TargetHash>) -> Option<bytes::Bytes> {
        let standing = self.standing.load();
        let chain = standing.chain.iter().map(String::as_str).collect();
        let sequence = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        let (time, instance, member) = (wall(), self.instance, standing.local.member().key());
        let announcement = Announcement { action, time, instance, sequence, target, member, chain };
        let packet = announcement.encode(&self.lattice, |message| standing.key.sign(message));
        packet.map(Into::into).map_err(|error| tracing::warn!(%error, "failed to announce")).ok()
    }

    async fn publish_announcement(&self, bucket: u8, packet: bytes::Bytes) {
        // Kept until the connection is back, it would come too late.
        let published = match self.connection.down() {
            Some(reason) => Err(reason),
            None => {
                let subject = find_subject(&self.lattice, bucket);
                let published = self.connection.client().publish(subject, packet).await;
                published.map_err(|error| error.to_string())
            }
        };
        match published {
            Ok(()) => Counters::count(&self.counters.announcements_sent),
            Err(reason) => {
                Counters::count(&self.counters.announcements_lost);
                tracing::debug!(reason, "an announcement was not sent");
            }
        }
    }
}
