//! The lattice's state: two JetStream key-value buckets, followed by every host.
//!
//! Reading never waits: [`Store::snapshot`] is what is known at the moment. Writes compare revisions, so that two
//! writers never lose an update, and say at which revision they are in.

mod jetstream;
mod snapshot;
mod watch;
mod write;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch::{Receiver, Sender, channel};
use tokio_util::sync::{CancellationToken, DropGuard};
use wattle_protocol::name;

pub use self::snapshot::{Bucket, Revision, Revisions, Snapshot};
use self::{jetstream::JetStream, watch::Watcher};
use crate::{Connection, Error};

/// Which state to follow.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Name of the lattice.
    pub lattice: String,
    /// JetStream domain that holds the state, when it is not the connected account's own.
    pub domain: Option<String>,
    /// What was known last time, to go on with until the state is reached.
    pub cached: Option<Snapshot>,
}

impl StoreOptions {
    /// The state of a lattice in the connected account's own JetStream.
    pub fn new(lattice: impl Into<String>) -> Self {
        Self { lattice: lattice.into(), domain: None, cached: None }
    }
}

/// Whether the snapshot can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreStatus {
    /// It is being loaded.
    Loading,
    /// It has everything that is stored.
    Ready,
    /// The state can't be reached; it is being tried again.
    Unreachable {
        /// Why, and what to do.
        reason: String,
        /// Whether the snapshot has a state from before, which goes on being used.
        stale: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BucketStatus {
    Loading,
    Ready,
    Unreachable(String),
}

/// What the tasks that follow the buckets share with the store.
#[derive(Debug)]
struct Shared {
    lattice: String,
    snapshot: Sender<Arc<Snapshot>>,
    /// Held by who changes the snapshot: there are two watchers.
    edits: Mutex<()>,
    status: Sender<StoreStatus>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    lattice: BucketStatus,
    config: BucketStatus,
    /// Whether the snapshot ever held a complete state.
    known: bool,
}

/// The lattice's state, followed in the background. Clones share it; it is no longer followed when the last is
/// dropped.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    jetstream: JetStream,
    _following: Arc<DropGuard>,
}

impl Store {
    /// Follows the state of a lattice, by tasks on the current tokio runtime. Returns at once; [`Store::status`] tells
    /// when it is loaded.
    ///
    /// # Errors
    /// [`Error::Name`] for a lattice or domain that can't be one.
    pub fn open(connection: &Connection, options: StoreOptions) -> Result<Self, Error> {
        name::check_lattice_name(&options.lattice)?;
        options.domain.as_deref().map_or(Ok(()), name::check_domain)?;
        let known = options.cached.is_some();
        let shared = Arc::new(Shared {
            lattice: options.lattice,
            snapshot: channel(Arc::new(options.cached.unwrap_or_default())).0,
            edits: Mutex::default(),
            status: channel(StoreStatus::Loading).0,
            buckets: Mutex::new(Buckets {
                lattice: BucketStatus::Loading,
                config: BucketStatus::Loading,
                known,
            }),
        });
        let jetstream = JetStream::new(connection, options.domain.as_deref());
        let cancel = CancellationToken::new();
        for bucket in [Bucket::Lattice, Bucket::Config] {
            let watcher = Watcher::new(Arc::clone(&shared), jetstream.clone(), bucket);
            tokio::spawn(cancel.clone().run_until_cancelled_owned(watcher.run()));
        }
        Ok(Self { shared, jetstream, _following: Arc::new(cancel.drop_guard()) })
    }

    /// Name of the lattice.
    #[must_use]
    pub fn lattice(&self) -> &str {
        &self.shared.lattice
    }

    /// Follows whether the snapshot can be relied on.
    #[must_use]
    pub fn status(&self) -> Receiver<StoreStatus> {
        self.shared.status.subscribe()
    }

    /// The state as it is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// Follows the state. Several changes may arrive as one.
    #[must_use]
    pub fn watch(&self) -> Receiver<Arc<Snapshot>> {
        self.shared.snapshot.subscribe()
    }

    /// Waits until the state is loaded.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it is not by then; the last known reason is in [`Store::status`].
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        let mut status = self.status();
        let ready = status.wait_for(|status| *status == StoreStatus::Ready);
        match tokio::time::timeout(timeout, ready).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Timeout { what: "load the lattice's state".to_owned(), after: timeout }),
        }
    }

    /// Waits until the snapshot includes a revision: one's own write, or the state that another member relied on.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it does not by then.
    pub async fn wait_for(&self, revision: Revision, timeout: Duration) -> Result<Arc<Snapshot>, Error> {
        let mut snapshots = self.watch();
        let included = snapshots.wait_for(|snapshot| snapshot.revisions.includes(revision));
        match tokio::time::timeout(timeout, included).await {
            Ok(Ok(snapshot)) => Ok(Arc::clone(&snapshot)),
            Ok(Err(_)) | Err(_) => {
                let what = format!("catch up to revision {} of the lattice's state", revision.sequence);
                Err(Error::Timeout { what, after: timeout })
            }
        }
    }
}

impl Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The copy is made and changed beside the lock that readers take.
    fn edit(&self, change: impl FnOnce(&mut Snapshot)) {
        let _one_at_a_time = self.edits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.snapshot());
        change(&mut next);
        self.snapshot.send_replace(Arc::new(next));
    }

    fn tell(&self, bucket: Bucket, status: BucketStatus) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket {
            Bucket::Lattice => buckets.lattice = status,
            Bucket::Config => buckets.config = status,
        }
        let overall = buckets.overall();
        buckets.known |= overall == StoreStatus::Ready;
        // Told under the lock, so that the last word is the newest.
        self.status.send_if_modified(|told| {
            let changed = *told != overall;
            *told = overall;
            changed
        });
    }
}

impl Buckets {
    fn overall(&self) -> StoreStatus {
        use BucketStatus::{Ready, Unreachable};
        match (&self.lattice, &self.config) {
            (Unreachable(reason), _) | (_, Unreachable(reason)) => {
                StoreStatus::Unreachable { reason: reason.clone(), stale: self.known }
            }
            (Ready, Ready) => StoreStatus::Ready,
            _ => StoreStatus::Loading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_buckets_make_the_status() {
        let ready = BucketStatus::Ready;
        let down = BucketStatus::Unreachable("gone".to_owned());
        let overall = |lattice: &BucketStatus, config: &BucketStatus, known| {
            Buckets { lattice: lattice.clone(), config: config.clone(), known }.overall()
        };
        assert_eq!(overall(&ready, &ready, false), StoreStatus::Ready);
        assert_eq!(overall(&ready, &BucketStatus::Loading, false), StoreStatus::Loading);
        for known in [false, true] {
            let expected = StoreStatus::Unreachable { reason: "gone".to_owned(), stale: known };
            assert_eq!(overall(&down, &ready, known), expected);
            assert_eq!(overall(&BucketStatus::Loading, &down, known), expected);
        }
    }
}
