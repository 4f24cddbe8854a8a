//! Making a session with a process that is to be called.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use wattle_seal::message::Ping;
use wattle_seal::{Error as SealError, Initiator, Kind, MAX_HANDSHAKE_MILLIS, Response, Session};

use super::clock::wall;
use super::core::Core;
use super::counters::Counted;
use super::links::Link;
use super::party::Established;

/// An offer that was not answered is sent again after so long; the answer is the same.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// For so long a renewed session is waited for on the other side.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// So many packets wait to be looked at; what is sent there by others is dropped beyond them.
const PACKETS: usize = 8;

/// Why there is no session.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Nobody listens there.
    Gone,
    /// No answer that is one came in time.
    NoAnswer(String),
    /// One side does not take the other's certificates, version or clock.
    Untrusted(String),
    /// The seat was left.
    Closed,
}

impl Failure {
    fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NoAnswer(_) => "no_answer",
            Self::Untrusted(_) => "untrusted",
            Self::Closed => "closed",
        }
    }
}

/// What came back on a subject of its own.
#[derive(Debug)]
pub(super) enum Packet {
    /// An answer or a refusal; nothing of it was checked.
    Bytes(Bytes),
    /// A pong that opened.
    Pong,
    NoResponders,
}

/// Those who wait for a packet that no session can be told from.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Mutex<HashMap<u64, mpsc::Sender<Packet>>>,
    next: AtomicU64,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Packet>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that no one else has.
    pub(super) fn token(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn wait(&self) -> Waiter<'_> {
        let (sender, packets) = mpsc::channel(PACKETS);
        let token = self.token();
        self.lock().insert(token, sender);
        Waiter { waiters: self, token, packets }
    }

    /// Hands a packet to who waits for it; false when nobody does, or has enough.
    pub(super) fn tell(&self, token: u64, packet: Packet) -> bool {
        let waiter = self.lock().get(&token).cloned();
        waiter.is_some_and(|waiter| waiter.try_send(packet).is_ok())
    }
}

struct Waiter<'a> {
    waiters: &'a Waiters,
    token: u64,
    packets: mpsc::Receiver<Packet>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.token);
    }
}

/// Makes a session and takes it into use. While there is a good one, that goes on until the new one is known on the other
/// side: so nothing that is sent in it is held up there, and nothing overtakes anything.
pub(super) async fn make(core: &Arc<Core>, link: &Arc<Link>) -> Result<Arc<Established>, Failure> {
    let made = match exchange(core, link).await {
        Ok(session) => establish(core, link, session).await,
        Err(failure) => Err(failure),
    };
    let outcome = made.as_ref().map_or_else(Failure::word, |_| "made");
    core.counters.word(Counted::Handshake, outcome);
    if let Err(failure) = &made {
        tracing::debug!(peer = %link.address(), ?failure, "no session was made");
    }
    made
}

async fn exchange(core: &Core, link: &Link) -> Result<Session, Failure> {
    let local = |error: SealError| Failure::Untrusted(error.to_string());
    let standing = core.standing.load_full();
    let (now, address) = (core.clock.now(), link.address().clone());
    let initiator = Initiator::start(&standing.local, address, now, wall(), &core.random).map_err(local)?;
    let mut waiter = core.waiters.wait();
    let began = Instant::now();
    let limit = tokio::time::Instant::now() + Duration::from_millis(MAX_HANDSHAKE_MILLIS);
    let mut problem = None;
    loop {
        let offer = Bytes::copy_from_slice(initiator.offer());
        let reply = core.inbox.subject('h', waiter.token);
        core.client
            .publish_with_reply(link.subject.clone(), reply, offer)
            .await
            .map_err(|error| Failure::NoAnswer(error.to_string()))?;
        let again = (tokio::time::Instant::now() + AGAIN_AFTER).min(limit);
        while let Ok(packet) = tokio::time::timeout_at(again, waiter.packets.recv()).await {
            match read(core, &initiator, packet) {
                Ok(answer) => {
                    let took = began.elapsed();
                    link.liveness().measured(took);
                    core.discovery.measured(link.address(), took);
                    return initiator.finish(answer).map_err(local);
                }
                Err(Unread::Failed(failure)) => return Err(failure),
                Err(Unread::Dropped(error)) => problem = Some(error),
            }
        }
        if tokio::time::Instant::now() >= limit {
            return Err(match problem {
                Some(SealError::Certificate(error)) => Failure::Untrusted(error.to_string()),
                Some(error) => Failure::NoAnswer(format!("no good answer to an offer: {error}")),
                None => Failure::NoAnswer(format!("no answer to an offer within {MAX_HANDSHAKE_MILLIS} ms")),
            });
        }
    }
}

enum Unread {
    /// It ends the handshake.
    Failed(Failure),
    /// Anyone can have sent it: the right answer can still come.
    Dropped(SealError),
}

fn read(core: &Core, initiator: &Initiator, packet: Option<Packet>) -> Result<wattle_seal::Answer, Unread> {
    let bytes = match packet {
        Some(Packet::Bytes(bytes)) => bytes,
        Some(Packet::NoResponders) => return Err(Unread::Failed(Failure::Gone)),
        Some(Packet::Pong) => return Err(Unread::Dropped(SealError::OtherOffer)),
        None => return Err(Unread::Failed(Failure::Closed)),
    };
    let standing = core.standing.load();
    match initiator.read(&bytes, &standing.trust(), core.clock.now(), wall()) {
        Ok(Response::Answer(answer)) => Ok(answer),
        Ok(Response::Refusal(refusal)) => {
            core.counters.code(Counted::RefusalReceived, refusal.code);
            let error = refusal.into_error(&standing.local, wall());
            Err(Unread::Failed(Failure::Untrusted(error.to_string())))
        }
        Err(error) => {
            core.counters.code(Counted::PacketRefused, error.code());
            Err(Unread::Dropped(error))
        }
    }
}

async fn establish(core: &Core, link: &Arc<Link>, session: Session) -> Result<Arc<Established>, Failure> {
    let now = core.clock.now();
    let session = Arc::new(Established::new(session, Arc::clone(&link.party), true, now));
    core.outgoing.insert(&session);
    let replaces = link.party.current.load().as_ref().is_some_and(|current| current.is_good(now));
    if replaces {
        let confirmed = tokio::time::timeout(CONFIRMED_WITHIN, confirm(core, link, &session)).await;
        if !confirmed.unwrap_or(false) {
            core.outgoing.end(|other| Arc::ptr_eq(other, &session));
            return Err(Failure::NoAnswer("a renewed session was not confirmed".to_owned()));
        }
    }
    // Trust may have changed while the answer was on its way.
    let standing = core.standing.load();
    let trusted = session.session.peer().check(&standing.issuers, wall().as_secs(), &standing.revoked);
    if let Err(error) = trusted {
        core.outgoing.end(|other| Arc::ptr_eq(other, &session));
        return Err(Failure::Untrusted(error.to_string()));
    }
    link.party.current.store(Some(Arc::clone(&session)));
    Ok(session)
}

/// Waits for a pong, which shows that the other side has the session.
async fn confirm(core: &Core, link: &Link, session: &Established) -> bool {
    let mut waiter = core.waiters.wait();
    let ping = Ping { token: waiter.token }.encode();
    let Ok(message) = session.session.seal(Kind::Ping, ping, core.clock.now()) else { return false };
    let reply = core.inbox.subject('h', waiter.token);
    let sent = core.client.publish_with_reply(link.subject.clone(), reply, message.into()).await;
    let pong = async {
        while let Some(packet) = waiter.packets.recv().await {
            if matches!(packet, Packet::Pong) {
                return true;
            }
        }
        false
    };
    sent.is_ok() && pong.await
}
