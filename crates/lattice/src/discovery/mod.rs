//! Who in the lattice answers for a target, and which of them is to be called.
//!
//! A member that calls a target asks for it where targets of the same bucket are looked for, takes the
//! first good answer at once and later ones for the next calls, and follows what members announce. Everything that has an
//! effect is signed by a member whose certificates allow it. What is specified is in `docs/protocol.md`.

mod asking;
mod chains;
mod choice;
mod counters;
mod listen;
mod rate;
mod receive;
mod remote;
mod table;
mod target;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use wattle_protocol::rpc::{Action, Instance, TargetHash, answer_subjects, target_hash};
use wattle_seal::Address;

pub(crate) use self::remote::Peer;
use self::{
    asking::{Ask, OpenQueries, Waiting},
    chains::Chains,
    choice::Dice,
    counters::Counters,
    listen::Command,
    rate::RateLimit,
    table::{Found, Table},
};
use crate::seat::{Service, SharedStanding};
use crate::{Connection, Error};

/// Most answers signed in a second: each costs some 20 µs.
const ANSWERS_PER_SECOND: u32 = 2000;

/// Most answers, and most announcements, verified in a second: each costs some 50 µs, a new chain twice or three times
/// that.
const CHECKS_PER_SECOND: u32 = 2000;

/// Most chains of certificates that are remembered.
const MAX_CHAINS: usize = 1024;

/// How long another peer is looked for when all that are known are excluded.
const ELSEWHERE: Duration = Duration::from_millis(250);

/// How long a peer is looked for in the background, and how often at most for one target.
const SEEK: Duration = Duration::from_secs(1);
const SEEK_AGAIN: Duration = Duration::from_secs(5);

/// So many targets are looked for in the background; when there are more, all of them may be looked for again.
const MAX_SOUGHT: usize = 1024;

/// Finds peers, and lets this process be found. Clones share one; it ends when the last of them is dropped.
#[derive(Clone)]
pub(crate) struct Discovery {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

struct Inner {
    connection: Connection,
    lattice: String,
    instance: Instance,
    inbox: String,
    standing: SharedStanding,
    service: Arc<dyn Service>,
    commands: mpsc::UnboundedSender<Command>,
    stop: CancellationToken,
    table: Mutex<Table>,
    open: Mutex<OpenQueries>,
    /// When peers were last looked for in the background.
    sought: Mutex<HashMap<String, Instant>>,
    chains: Mutex<Chains>,
    /// What runs here.
    served: Mutex<HashMap<TargetHash, Arc<str>>>,
    draining: AtomicBool,
    /// The number of the latest announcement.
    sequence: AtomicU64,
    answer_limit: RateLimit,
    answer_checks: RateLimit,
    announcement_checks: RateLimit,
    counters: Counters,
}

impl Discovery {
    /// Begins to take part.
    ///
    /// # Errors
    /// [`Error::Name`] for a lattice that can't be one; [`Error::Message`] when the inbox can't be subscribed to.
    pub(crate) async fn start(
        connection: &Connection,
        lattice: &str,
        standing: SharedStanding,
        service: Arc<dyn Service>,
    ) -> Result<Self, Error> {
        wattle_protocol::name::check_lattice_name(lattice)?;
        let failed = |reason: String| Error::Message { what: "start discovery".to_owned(), reason };
        let inbox = connection.client().new_inbox();
        let subscriber = connection.client().subscribe(answer_subjects(&inbox)).await;
        let subscriber = subscriber.map_err(|error| failed(error.to_string()))?;
        let mut seed = [0; 8];
        let no_random = |_| failed("the system gives no random numbers".to_owned());
        SystemRandom::new().fill(&mut seed).map_err(no_random)?;

        let (commands, receiver) = mpsc::unbounded_channel();
        let (stop, now) = (CancellationToken::new(), Instant::now());
        let inner = Arc::new(Inner {
            connection: connection.clone(),
            lattice: lattice.to_owned(),
            instance: *standing.load().local.instance().as_bytes(),
            inbox,
            standing,
            service,
            commands,
            stop: stop.clone(),
            table: Mutex::new(Table::new(lattice, Dice::new(u64::from_be_bytes(seed)))),
            open: Mutex::default(),
            sought: Mutex::default(),
            chains: Mutex::new(Chains::new(MAX_CHAINS)),
            served: Mutex::default(),
            draining: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            answer_limit: RateLimit::new(ANSWERS_PER_SECOND, now),
            answer_checks: RateLimit::new(CHECKS_PER_SECOND, now),
            announcement_checks: RateLimit::new(CHECKS_PER_SECOND, now),
            counters: Counters::default(),
        });
        tokio::spawn(listen::run(Arc::clone(&inner), receiver));
        let on_inbox = Arc::clone(&inner);
        tokio::spawn(listen::forward(subscriber, stop.clone(), move |message| {
            on_inbox.on_inbox(&message);
            std::future::ready(())
        }));
        Ok(Self { inner, _stop: Arc::new(stop.drop_guard()) })
    }

    /// A peer that answers for the target, other than these: one of the nearest, and of two the less loaded. Asks the
    /// lattice when none is known: for two seconds at most, for [`ELSEWHERE`] when only excluded ones are known, and only
    /// twice when the server says that nobody listens.
    pub(crate) async fn find(&self, target: &str, deadline: Instant, exclude: &[Address]) -> Option<Peer> {
        let mut until = deadline;
        let mut waiting: Option<Waiting> = None;
        loop {
            // Whether the search has ended is read before the look, so that nothing that it found is overlooked.
            let has_ended = waiting.as_ref().is_some_and(Waiting::has_ended);
            let now = Instant::now();
            let mut changes = match self.inner.look(target, exclude, now, &mut waiting) {
                Looked::Found(peer) => return Some(peer),
                Looked::Nobody(changes) => changes,
                Looked::Excluded(changes) => {
                    until = until.min(now + ELSEWHERE);
                    changes
                }
            };
            if has_ended || timeout_at(until, changes.changed()).await.is_err() {
                return None;
            }
        }
    }

    /// Whether a peer is known that answers for the target.
    pub(crate) fn knows(&self, target: &str) -> bool {
        self.inner.table().knows(target)
    }

    /// The same. Where none is known, one is looked for in the background, so that a later question may have another
    /// answer.
    pub(crate) fn knows_or_seeks(&self, target: &str) -> bool {
        let known = self.knows(target);
        if !known && self.inner.begin_to_seek(target) {
            let (discovery, target) = (self.clone(), target.to_owned());
            tokio::spawn(async move { discovery.find(&target, Instant::now() + SEEK, &[]).await });
        }
        known
    }

    /// From now on this process answers for the target.
    pub(crate) fn serve(&self, target: &str) {
        let hash = target_hash(&self.inner.lattice, target);
        if let Entry::Vacant(vacant) = self.inner.served().entry(hash) {
            vacant.insert(target.into());
        } else {
            return;
        }
        self.inner.command(Command::Announce(Action::Started, hash));
    }

    /// From now on it doesn't.
    pub(crate) fn unserve(&self, target: &str) {
        let hash = target_hash(&self.inner.lattice, target);
        if self.inner.served().remove(&hash).is_some() {
            self.inner.command(Command::Announce(Action::Stopped, hash));
        }
    }

    /// Tells all that use what runs here that this process takes no more calls, and returns when that was handed to the
    /// server, or could not be.
    pub(crate) async fn announce_draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
        let (done, announced) = oneshot::channel();
        self.inner.command(Command::Drain(done));
        // An error says that the task which announces has ended with discovery.
        let _ = announced.await;
    }

    /// From now on nothing is asked or answered, although others still hold this.
    pub(crate) fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// Calls don't reach this process: it is left out until it gives a good answer to a new query.
    pub(crate) fn gone(&self, address: &Address) {
        self.inner.table().gone(address, Instant::now());
    }

    /// This process said that it does not take calls for the target.
    pub(crate) fn not_here(&self, target: &str, address: &Address) {
        self.inner.table().not_here(target, address, Instant::now());
    }

    /// A round trip to this process took so long.
    pub(crate) fn measured(&self, address: &Address, round_trip: Duration) {
        self.inner.table().measured(address, round_trip, Instant::now());
    }

    /// Name, label (empty for none) and value of each counter.
    pub(crate) fn counters(&self) -> Vec<(&'static str, String, u64)> {
        let mut counters = self.inner.counters.all();
        let table = self.inner.table();
        let sizes = [("discovery_targets", table.targets()), ("discovery_peers", table.remotes())];
        counters.extend(sizes.map(|(name, size)| (name, String::new(), size as u64)));
        counters
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("lattice", &self.inner.lattice).finish_non_exhaustive()
    }
}

/// What a look into the table gave.
enum Looked {
    Found(Peer),
    Excluded(watch::Receiver<()>),
    Nobody(watch::Receiver<()>),
}

impl Inner {
    /// Whether it is time to look for peers of a target in the background; notes that it is being done.
    fn begin_to_seek(&self, target: &str) -> bool {
        let (now, mut sought) = (Instant::now(), self.sought.lock().unwrap_or_else(PoisonError::into_inner));
        if sought.get(target).is_some_and(|last| now.saturating_duration_since(*last) < SEEK_AGAIN) {
            return false;
        }
        if sought.len() >= MAX_SOUGHT {
            sought.clear();
        }
        sought.insert(target.to_owned(), now);
        true
    }

    /// Looks for a peer, and sees to it that the lattice is asked if there is none, or was not for long.
    fn look(
        self: &Arc<Self>,
        id: &str,
        exclude: &[Address],
        now: Instant,
        waiting: &mut Option<Waiting>,
    ) -> Looked {
        let (standing, wall) = (self.standing.load(), wall());
        let trust = standing.trust();
        let trusted = |member: &wattle_identity::Member| {
            member.check(trust.cluster_issuers, wall, trust.revoked).is_ok()
        };
        let mut table = self.table();
        let is_due = table.using(id, now).is_some_and(|target| target.ask.is_none() && target.is_due(now));
        let found = table.pick(id, exclude, trusted, now);
        let is_found = matches!(found, Found::Peer(_));
        let Some(target) = table.target(id) else {
            // Not reached: the target was put into the table above.
            return Looked::Nobody(watch::channel(()).1);
        };
        if !is_found && waiting.is_none() || is_found && is_due {
            let ask = target.ask.clone().unwrap_or_else(|| {
                let ask = Arc::new(Ask::default());
                target.ask = Some(Arc::clone(&ask));
                target.asking(now);
                asking::start(self, id, target.hash, Arc::clone(&ask));
                ask
            });
            if !is_found {
                *waiting = Some(Waiting::new(&ask));
            }
        }
        match found {
            Found::Peer(peer) => Looked::Found(peer),
            Found::Excluded => Looked::Excluded(target.changes()),
            Found::Nobody => Looked::Nobody(target.changes()),
        }
    }

    fn command(&self, command: Command) {
        // An error says that the task has ended, and with it discovery.
        let _ = self.commands.send(command);
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), ()> {
        SystemRandom::new().fill(bytes).map_err(|_| tracing::warn!("the system gives no random numbers"))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, OpenQueries> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chains(&self) -> MutexGuard<'_, Chains> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self) -> MutexGuard<'_, HashMap<TargetHash, Arc<str>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the Unix epoch.
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
