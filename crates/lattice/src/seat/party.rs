//! The other processes with which there are sessions, and the sessions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use async_nats::Subject;
use bytes::Bytes;
use tokio::sync::Semaphore;
use wattle_identity::Member;
use wattle_seal::message::CallId;
use wattle_seal::{Address, Kind, Monotonic, Plaintext, Session};

use super::core::Core;
use super::stream::{SESSION_CREDIT, Side};

/// A process of another member, as one that is called or as one that calls. If it is both, there are two of these.
#[derive(Debug)]
pub(super) struct Party {
    /// Its number here.
    pub(super) id: u64,
    pub(super) address: Address,
    /// The session in which is sealed what goes there: the latest one.
    pub(super) current: ArcSwapOption<Established>,
    /// What may be on the way to it in streams without having been credited.
    pub(super) budget: Semaphore,
    heard: AtomicU64,
}

/// A session that both sides use.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) session: Session,
    pub(super) member: Arc<Member>,
    pub(super) party: Arc<Party>,
    /// Whether this side calls in it.
    pub(super) calls: bool,
    /// The names in the latest call that was taken.
    pub(super) names: Mutex<Names>,
    used: AtomicU64,
    ended: AtomicBool,
}

impl Party {
    pub(super) fn new(id: u64, address: Address) -> Self {
        let current = ArcSwapOption::empty();
        let budget = Semaphore::new(SESSION_CREDIT);
        Self { id, address, current, budget, heard: AtomicU64::new(0) }
    }

    /// When something last opened that came from it.
    pub(super) fn heard(&self) -> Monotonic {
        Monotonic::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

/// Calls of one session are mostly between the same two, so their names are mostly there already.
#[derive(Debug, Default)]
pub(super) struct Names([Arc<str>; 5]);

impl Names {
    /// Shares those that are the same as the last time.
    pub(super) fn share(&mut self, names: [&str; 5]) -> [Arc<str>; 5] {
        for (known, name) in self.0.iter_mut().zip(names) {
            if **known != *name {
                *known = name.into();
            }
        }
        self.0.clone()
    }
}

impl Established {
    pub(super) fn new(session: Session, party: Arc<Party>, calls: bool, now: Monotonic) -> Self {
        let member = Arc::new(session.peer().clone());
        let used = AtomicU64::new(now.as_millis());
        Self { session, member, party, calls, names: Mutex::default(), used, ended: AtomicBool::new(false) }
    }

    /// Something opened in it.
    pub(super) fn touch(&self, now: Monotonic) {
        self.used.store(now.as_millis(), Ordering::Relaxed);
        self.party.heard.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Nothing is sealed or opened in it any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.party.current.rcu(|current| match current {
            Some(current) if std::ptr::eq(Arc::as_ptr(current), self) => None,
            current => current.clone(),
        });
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn is_good(&self, now: Monotonic) -> bool {
        !self.ended() && now < self.session.ends_at()
    }
}

/// The way of one call's messages to the other side, in whatever session is the current one.
pub(super) struct Route {
    pub(super) core: Arc<Core>,
    pub(super) party: Arc<Party>,
    pub(super) call: CallId,
    pub(super) subject: Subject,
    /// Which side of the call this is.
    pub(super) side: Side,
}

impl Route {
    pub(super) fn seal(&self, kind: Kind, plaintext: Plaintext) -> Result<Bytes, wattle_seal::Error> {
        let current = self.party.current.load();
        let session = current.as_ref().ok_or(wattle_seal::Error::SessionEnded)?;
        session.session.seal(kind, plaintext, self.core.clock.now()).map(Bytes::from)
    }

    /// Where the server is to say that nobody listens there any more. Only streams go on for long enough to ask.
    fn reply(&self, kind: Kind) -> Option<Subject> {
        let inbox = &self.core.inbox;
        match (kind, self.side) {
            (Kind::Frame, Side::Caller) => Some(inbox.subject('f', self.call)),
            (Kind::Frame | Kind::Ping, Side::Target) => Some(inbox.pair('s', self.party.id, self.call)),
            _ => None,
        }
    }

    /// Sends a small message without waiting; in the order in which this is called.
    pub(super) fn post(&self, kind: Kind, plaintext: Plaintext) {
        if let Ok(message) = self.seal(kind, plaintext) {
            self.core.outbox.post(self.subject.clone(), self.reply(kind), message);
        }
    }

    /// Sends a message; waits while too many others do.
    pub(super) async fn publish(&self, kind: Kind, plaintext: Plaintext) -> Result<(), String> {
        let message = self.seal(kind, plaintext).map_err(|error| error.to_string())?;
        let (length, max) = (message.len(), self.core.client.max_payload());
        if length > max {
            return Err(format!("a message would have {length} bytes, and the NATS server takes {max}"));
        }
        self.core.outbox.room().await;
        self.core.outbox.post(self.subject.clone(), self.reply(kind), message);
        Ok(())
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("party", &self.party.address).field("call", &self.call).finish()
    }
}
