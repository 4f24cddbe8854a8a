//! Where everything goes that costs a signature: offers, first messages of sessions, and refusals in the clear.
//!
//! It is a task of its own behind bounded queues, so that the tasks that read messages never wait for it. Messages of one
//! session stay in their order: once one of them is here, those that follow come here, too, until it was handled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subject;
use bytes::Bytes;
use tokio::sync::mpsc;
use wattle_seal::message::CallId;
use wattle_seal::{
    Error as SealError, Head, Kind, Limits, MAX_HANDSHAKE_MILLIS, Monotonic, Refusal, Responder, SessionId,
};

use super::bucket::{Bucket, Rate};
use super::clock::wall;
use super::core::Core;
use super::counters::Counted;
use super::pending::Event;
use super::receive::{MAX_AGE, Opened, dispatch, mutable, open};

/// So many offers wait; more are dropped.
const OFFERS: usize = 1024;

/// So many messages wait, of at most so many bytes together; more are dropped.
const MESSAGES: usize = 4096;
const MESSAGES_LEN: usize = 64 * 1024 * 1024;

/// So many handshakes at once, and so many a second. What is remembered of sessions until their end is bounded by it.
const HANDSHAKES: Rate = Rate { at_once: 1000, per_second: 200 };

/// So many refusals at once, and so many a second.
const REFUSALS: Rate = Rate { at_once: 200, per_second: 100 };

/// A session that has less than this left, in milliseconds, may be unknown there because it is over: what was sent in it
/// may have been opened before.
const BELIEVED_MILLIS: u64 = 10_000;

/// What waits.
#[derive(Debug)]
enum Work {
    /// A message of a session that is not known, or of which another message is here.
    Message { head: Head, payload: Bytes, reply: Option<Subject> },
    /// A refusal in the clear of a request.
    Refusal { call: CallId, packet: Bytes },
}

#[derive(Debug)]
struct Offer {
    payload: Bytes,
    reply: Subject,
    arrived: Monotonic,
}

/// The queues.
#[derive(Debug)]
pub(super) struct Gate {
    messages: mpsc::Sender<Work>,
    offers: mpsc::Sender<Offer>,
    /// Sessions with messages here, and how many.
    held: Mutex<HashMap<SessionId, usize>>,
    holding: AtomicUsize,
    bytes: AtomicUsize,
}

/// The other ends, for the task.
#[derive(Debug)]
pub(super) struct Queues {
    messages: mpsc::Receiver<Work>,
    offers: mpsc::Receiver<Offer>,
}

impl Gate {
    pub(super) fn new() -> (Self, Queues) {
        let (message_sender, messages) = mpsc::channel(MESSAGES);
        let (offer_sender, offers) = mpsc::channel(OFFERS);
        let gate = Self {
            messages: message_sender,
            offers: offer_sender,
            held: Mutex::default(),
            holding: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        };
        (gate, Queues { messages, offers })
    }

    /// Whether messages of the session are here, so that those behind them have to come here, too.
    pub(super) fn holds(&self, session: &SessionId) -> bool {
        self.holding.load(Ordering::Acquire) > 0 && self.held().contains_key(session)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SessionId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message; false when there are too many.
    pub(super) fn message(&self, head: Head, payload: Bytes, reply: Option<Subject>) -> bool {
        let length = payload.len();
        if self.bytes.load(Ordering::Relaxed) + length > MESSAGES_LEN {
            return false;
        }
        let session = head.session;
        *self.held().entry(session).or_default() += 1;
        self.holding.fetch_add(1, Ordering::Release);
        self.bytes.fetch_add(length, Ordering::Relaxed);
        let taken = self.messages.try_send(Work::Message { head, payload, reply }).is_ok();
        if !taken {
            self.handled(&session, length);
        }
        taken
    }

    /// Takes an offer; false when there are too many.
    pub(super) fn offer(&self, payload: Bytes, reply: Subject, arrived: Monotonic) -> bool {
        self.offers.try_send(Offer { payload, reply, arrived }).is_ok()
    }

    /// Takes a refusal of a request; false when there is too much.
    pub(super) fn refusal(&self, call: CallId, packet: Bytes) -> bool {
        self.messages.try_send(Work::Refusal { call, packet }).is_ok()
    }

    fn handled(&self, session: &SessionId, length: usize) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
        let mut held = self.held();
        if let Some(count) = held.get_mut(session) {
            *count -= 1;
            if *count == 0 {
                held.remove(session);
            }
        }
        drop(held);
        self.holding.fetch_sub(1, Ordering::Release);
    }
}

/// The task.
pub(super) async fn run(core: Arc<Core>, mut queues: Queues) {
    let now = core.clock.now();
    let mut keeper = Keeper {
        responder: Responder::new(Limits::default()),
        handshakes: Bucket::new(HANDSHAKES, now),
        refusals: Bucket::new(REFUSALS, now),
        core,
    };
    loop {
        let wait = keeper.handshakes.wait(keeper.core.clock.now());
        tokio::select! {
            work = queues.messages.recv() => match work {
                Some(Work::Message { head, payload, reply }) => keeper.message(head, payload, reply),
                Some(Work::Refusal { call, packet }) => keeper.refused(call, &packet),
                None => return,
            },
            offer = queues.offers.recv(), if wait == 0 => match offer {
                Some(offer) => keeper.offer(&offer),
                None => return,
            },
            () = tokio::time::sleep(Duration::from_millis(wait)), if wait > 0 => {}
        }
        // What costs this much must not keep a thread from reading messages.
        tokio::task::yield_now().await;
    }
}

struct Keeper {
    core: Arc<Core>,
    responder: Responder,
    handshakes: Bucket,
    refusals: Bucket,
}

impl Keeper {
    fn offer(&mut self, offer: &Offer) {
        let now = self.core.clock.now();
        if now.since(offer.arrived) >= MAX_HANDSHAKE_MILLIS {
            return self.core.counters.word(Counted::Dropped, "late_offer");
        }
        self.handshakes.take(now);
        let standing = self.core.standing.load();
        let (trust, random) = (standing.trust(), &self.core.random);
        match self.responder.accept(&standing.local, &trust, &offer.payload, now, wall(), random) {
            Ok(answer) => {
                self.core.counters.word(Counted::Handshake, "answered");
                self.core.offer(offer.reply.clone(), answer.into());
            }
            Err(error) => {
                self.core.counters.code(Counted::PacketRefused, error.code());
                if error.deserves_refusal() {
                    self.refuse(offer.reply.clone(), &offer.payload, &error);
                }
            }
        }
    }

    fn message(&mut self, head: Head, payload: Bytes, reply: Option<Subject>) {
        let length = payload.len();
        self.take(head, payload, reply);
        self.core.gate.handled(&head.session, length);
    }

    fn take(&mut self, head: Head, payload: Bytes, reply: Option<Subject>) {
        let core = Arc::clone(&self.core);
        if let Some(session) = core.incoming.get(&head.session) {
            return open(&core, &session, payload, reply);
        }
        let moment = Instant::now();
        let now = core.clock.at(moment);
        let mut message = mutable(payload.clone());
        match self.responder.confirm(&mut message, now, MAX_AGE) {
            Ok((session, opened)) => {
                let (kind, age, length) = (opened.kind, opened.age, opened.plaintext.len());
                let opened = Opened { kind, age, length, now: moment };
                let standing = core.standing.load();
                let trusted = session.peer().check(&standing.issuers, wall().as_secs(), &standing.revoked);
                if let Err(error) = trusted {
                    core.counters.code(Counted::PacketRefused, SealError::from(error).code());
                    return core.incoming.drop_unseen(&session);
                }
                let (session, displaced) = core.incoming.insert(session, now);
                if let Some(displaced) = displaced {
                    core.counters.word(Counted::SessionEnded, "displaced");
                    core.abandon_if_alone(&displaced.party, "its session was displaced");
                }
                dispatch(&core, &session, &opened, message.freeze(), reply);
            }
            Err(error @ SealError::UnknownSession { .. }) => {
                let dropped = core.incoming.was_dropped(&head.session);
                let error = if dropped { SealError::SessionEnded } else { error };
                core.counters.code(Counted::PacketRefused, error.code());
                if let Some(reply) = reply.filter(|_| head.kind == Kind::Request) {
                    self.refuse(reply, &payload, &error);
                }
            }
            Err(error) => core.counters.code(Counted::PacketRefused, error.code()),
        }
    }

    fn refuse(&mut self, reply: Subject, refused: &[u8], error: &SealError) {
        if !self.refusals.take(self.core.clock.now()) {
            return self.core.counters.word(Counted::Dropped, "refusal");
        }
        let refusal = Refusal::sign(&self.core.standing.load().local, refused, error, wall());
        self.core.counters.code(Counted::RefusalSent, error.code());
        self.core.offer(reply, refusal.into());
    }

    /// Somebody says that a request of ours was refused. If it was the target, the session is of no more use.
    fn refused(&mut self, call: CallId, packet: &[u8]) {
        let core = &self.core;
        let Some((sent, session)) = core.pending.sent(call) else {
            return core.counters.word(Counted::Dropped, "late_refusal");
        };
        let refusal = match Refusal::verify(packet, &sent, &session.party.address) {
            Ok(refusal) => refusal,
            Err(error) => return core.counters.code(Counted::PacketRefused, error.code()),
        };
        core.counters.code(Counted::RefusalReceived, refusal.code);
        let left = session.session.ends_at().since(core.clock.now());
        core.outgoing.end(|other| Arc::ptr_eq(other, &session));
        if refusal.code == SealError::UNKNOWN_SESSION && left >= BELIEVED_MILLIS {
            core.pending.fail(call, &session.party, Event::UnknownSession);
        } else {
            let reason = format!("{} dropped the session", session.member.key());
            core.pending.lose(|pending| Arc::ptr_eq(&pending.session, &session), &reason, false);
        }
    }
}
