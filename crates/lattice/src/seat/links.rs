//! The processes that this seat calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_nats::Subject;
use tokio::sync::{Notify, watch};
use wattle_protocol::rpc::rpc_subject;
use wattle_seal::{Address, Monotonic};

use super::core::Core;
use super::handshake::{self, Failure};
use super::party::{Established, Party};
use super::watch::Liveness;

/// So many processes are remembered; those that were idle longest go first.
const MAX_LINKS: usize = 16_384;

/// After so many milliseconds a renewal that failed is tried again.
const RENEWAL_PAUSE_MILLIS: u64 = 1_000;

/// A session is renewed or made by one handshake, however many calls wait for it.
type Handshake = watch::Receiver<Option<Result<Arc<Established>, Failure>>>;

/// A process that is called.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) party: Arc<Party>,
    /// Where it listens.
    pub(super) subject: Subject,
    liveness: Mutex<Liveness>,
    settled: Notify,
    handshake: Mutex<Option<Handshake>>,
    in_flight: AtomicUsize,
    used: AtomicU64,
    /// When a session was last to be renewed.
    renewal: AtomicU64,
}

impl Link {
    pub(super) fn address(&self) -> &Address {
        &self.party.address
    }

    /// A call there begins.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call there is over.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The session with the process, if there is a good one.
    pub(super) fn current(self: &Arc<Self>, core: &Arc<Core>, now: Monotonic) -> Option<Arc<Established>> {
        self.used.store(now.as_millis(), Ordering::Relaxed);
        let current = self.party.current.load_full().filter(|current| current.is_good(now))?;
        self.renew(core, &current, now);
        Some(current)
    }

    /// A new session, for which all who ask wait together.
    pub(super) async fn session(self: &Arc<Self>, core: &Arc<Core>) -> Result<Arc<Established>, Failure> {
        let mut handshake = self.handshake(core);
        match handshake.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Err(Failure::Closed)),
            Err(_) => Err(Failure::Closed),
        }
    }

    /// Waits until it is clear whether the process is there, if the server says that it is not.
    pub(super) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if !self.liveness().is_suspected() {
                return;
            }
            settled.await;
        }
    }

    /// Calls may go there again, or have to go elsewhere.
    pub(super) fn settle(&self) {
        self.settled.notify_waiters();
    }

    /// Begins to make a session that takes the place of this one, if it is time.
    pub(super) fn renew(self: &Arc<Self>, core: &Arc<Core>, current: &Established, now: Monotonic) {
        let tried = Monotonic::from_millis(self.renewal.load(Ordering::Relaxed));
        if current.session.should_renew(now) && now.since(tried) >= RENEWAL_PAUSE_MILLIS {
            self.renewal.store(now.as_millis(), Ordering::Relaxed);
            self.handshake(core);
        }
    }

    /// Begins a handshake unless one is under way.
    fn handshake(self: &Arc<Self>, core: &Arc<Core>) -> Handshake {
        let mut running = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way =
            |handshake: &&Handshake| handshake.borrow().is_none() && handshake.has_changed().is_ok();
        if let Some(handshake) = running.as_ref().filter(under_way) {
            return handshake.clone();
        }
        let (tell, handshake) = watch::channel(None);
        *running = Some(handshake.clone());
        let (link, core) = (Arc::clone(self), Arc::clone(core));
        tokio::spawn(async move {
            let closed = core.closed.clone();
            let made = closed.run_until_cancelled(handshake::make(&core, &link)).await;
            let _ = tell.send(Some(made.unwrap_or(Err(Failure::Closed))));
        });
        handshake
    }

    /// Whether the server says that the process is not there.
    pub(super) fn is_suspected(&self) -> bool {
        self.in_flight() > 0 && self.liveness().is_suspected()
    }

    pub(super) fn liveness(&self) -> std::sync::MutexGuard<'_, Liveness> {
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_address: RwLock<HashMap<Address, Arc<Link>>>,
    next: AtomicU64,
}

impl Links {
    /// The link to a process.
    pub(super) fn get(&self, address: &Address, lattice: &str) -> Arc<Link> {
        if let Some(link) = self.by_address.read().unwrap_or_else(PoisonError::into_inner).get(address) {
            return Arc::clone(link);
        }
        let mut links = self.by_address.write().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MAX_LINKS && !links.contains_key(address) {
            let idle = links.values().filter(|link| link.in_flight() == 0);
            let longest =
                idle.min_by_key(|link| link.used.load(Ordering::Relaxed)).map(|link| link.address().clone());
            if let Some(link) = longest.and_then(|address| links.remove(&address)) {
                link.party.current.load_full().inspect(|session| session.end());
            }
        }
        let make = || {
            let subject = rpc_subject(lattice, &address.member, address.instance.as_bytes());
            Arc::new(Link {
                party: Arc::new(Party::new(self.next.fetch_add(1, Ordering::Relaxed), address.clone())),
                subject: subject.into(),
                liveness: Mutex::default(),
                settled: Notify::new(),
                handshake: Mutex::default(),
                in_flight: AtomicUsize::new(0),
                used: AtomicU64::new(0),
                renewal: AtomicU64::new(0),
            })
        };
        Arc::clone(links.entry(address.clone()).or_insert_with(make))
    }

    /// The link to the process that has this number here.
    pub(super) fn by_id(&self, id: u64) -> Option<Arc<Link>> {
        let links = self.by_address.read().unwrap_or_else(PoisonError::into_inner);
        links.values().find(|link| link.party.id == id).cloned()
    }

    /// The link to this process, if it is called.
    pub(super) fn of(&self, party: &Party) -> Option<Arc<Link>> {
        let links = self.by_address.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&party.address).filter(|link| std::ptr::eq(Arc::as_ptr(&link.party), party)).cloned()
    }

    /// Those that calls are under way to.
    pub(super) fn busy(&self) -> Vec<Arc<Link>> {
        let links = self.by_address.read().unwrap_or_else(PoisonError::into_inner);
        links.values().filter(|link| link.in_flight() > 0).cloned().collect()
    }

    /// Forgets those that nothing was sent to since then and that have no session.
    pub(super) fn sweep(&self, since: Monotonic) {
        let idle = |link: &Link| {
            link.in_flight() == 0
                && link.used.load(Ordering::Relaxed) < since.as_millis()
                && link.party.current.load().is_none()
        };
        self.by_address.write().unwrap_or_else(PoisonError::into_inner).retain(|_, link| !idle(link));
    }
}
