//! Reads what arrives: on the seat's own subject, where others call, and in its inbox, where their answers come.

use std::sync::Arc;
use std::time::Instant;

use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use wattle_seal::message::{Cancel, Frame, Outcome, Ping, Refused, Reply};
use wattle_seal::{Error as SealError, Kind, OVERHEAD, Packet};

use super::core::{Core, hex};
use super::counters::Counted;
use super::links::Link;
use super::party::{Established, Route};
use super::pending::Event;
use super::stream::{Ongoing, Side};
use super::{handshake, keeper, serve};

/// What was sealed longer ago is not taken, in milliseconds.
pub(super) const MAX_AGE: u64 = 30_000;

/// Behind the plaintext of a message is its tag, and nothing else.
const TAG_LEN: usize = 16;

/// Messages that have this length are opened where they are, if nobody else holds them; shorter ones are copied, so that
/// they do not keep the connection's buffer.
const IN_PLACE_LEN: usize = 32 * 1024;

/// Reads what is sent to this process as one that is called.
pub(super) async fn calls(core: Arc<Core>, mut messages: Subscriber) {
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = core.quit.cancelled() => {
                quit(&core, &mut messages).await;
                return core.quiet.cancel();
            }
        };
        let Some(Message { payload, reply, .. }) = message else { break };
        take(&core, payload, reply);
    }
    core.closed.cancel();
}

/// Takes what has been sent here already; the server sends no more.
async fn quit(core: &Arc<Core>, messages: &mut Subscriber) {
    if let Err(error) = messages.drain().await {
        tracing::debug!(%error, "the subscription can't be drained");
        return;
    }
    while let Some(Message { payload, reply, .. }) = messages.next().await {
        take(core, payload, reply);
    }
}

fn take(core: &Arc<Core>, payload: Bytes, reply: Option<Subject>) {
    match Packet::classify(&payload) {
        Ok(Packet::Sealed(head)) => {
            let held = core.gate.holds(&head.session);
            match core.incoming.get(&head.session).filter(|_| !held) {
                Some(session) => open(core, &session, payload, reply),
                None if core.gate.message(head, payload, reply) => {}
                None => core.counters.word(Counted::Dropped, "first_message"),
            }
        }
        Ok(Packet::Offer) => {
            let taken = reply.is_some_and(|reply| core.gate.offer(payload, reply, core.clock.now()));
            if !taken {
                core.counters.word(Counted::Dropped, "offer");
            }
        }
        Ok(Packet::Answer | Packet::Refusal) => core.counters.word(Counted::Dropped, "stray_packet"),
        Err(error) => core.counters.code(Counted::PacketRefused, error.code()),
    }
}

/// Reads what comes back to this process as one that calls.
pub(super) async fn inbox(core: Arc<Core>, mut messages: Subscriber) {
    while let Some(message) = messages.next().await {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            undelivered(&core, &message.subject);
            continue;
        }
        let payload = message.payload;
        match Packet::classify(&payload) {
            Ok(Packet::Sealed(head)) => match core.outgoing.get(&head.session) {
                Some(session) => open(&core, &session, payload, message.reply),
                None => core.counters.code(Counted::PacketRefused, SealError::UNKNOWN_SESSION),
            },
            Ok(packet) => in_the_clear(&core, &packet, &message.subject, payload),
            Err(error) => core.counters.code(Counted::PacketRefused, error.code()),
        }
    }
    core.closed.cancel();
}

/// The server says that nobody took a message.
fn undelivered(core: &Arc<Core>, subject: &str) {
    let Some((letter, number)) = core.inbox.parse(subject) else { return };
    match letter {
        b'h' => {
            hex(number).map(|token| core.waiters.tell(token, handshake::Packet::NoResponders));
        }
        b'c' => {
            hex(number)
                .and_then(|call| core.pending.undelivered(call))
                .inspect(|link| suspect(core, link, None));
        }
        // A frame: the process may have begun the call.
        b'f' => {
            hex(number).and_then(|call| core.pending.link(call)).inspect(|link| suspect(core, link, None));
        }
        b'p' => {
            let numbers = number.split_once('-').and_then(|(id, token)| Some((hex(id)?, hex(token)?)));
            let link = numbers.and_then(|(id, token)| Some((core.links.by_id(id)?, token)));
            link.inspect(|(link, token)| suspect(core, link, Some(*token)));
        }
        b's' => {
            let numbers = number.split_once('-').and_then(|(party, call)| Some((hex(party)?, hex(call)?)));
            numbers.inspect(|(party, call)| keeper::doubt(core, *party, *call));
        }
        _ => {}
    }
}

/// A process may be gone. It is asked for a sign of life; nothing else is believed.
fn suspect(core: &Arc<Core>, link: &Link, ping: Option<u64>) {
    let first = link.liveness().suspect(core.clock.now(), ping);
    if first && ping.is_none() {
        keeper::ping(core, link);
    }
    if first {
        core.suspicion.notify_one();
    }
}

/// Answers to offers, and refusals: somebody else looks at the signatures.
fn in_the_clear(core: &Core, packet: &Packet, subject: &str, payload: Bytes) {
    let taken = match (core.inbox.parse(subject), packet) {
        (Some((b'h', token)), Packet::Answer | Packet::Refusal) => {
            hex(token).is_some_and(|token| core.waiters.tell(token, handshake::Packet::Bytes(payload)))
        }
        (Some((b'c', call)), Packet::Refusal) => {
            hex(call).is_some_and(|call| core.gate.refusal(call, payload))
        }
        _ => false,
    };
    if !taken {
        core.counters.word(Counted::Dropped, "stray_packet");
    }
}

/// A message's bytes, to be decrypted where they are.
pub(super) fn mutable(payload: Bytes) -> BytesMut {
    if payload.len() < IN_PLACE_LEN {
        return BytesMut::from(payload.as_ref());
    }
    payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
}

/// Opens a message of an established session and takes it where it belongs.
pub(super) fn open(core: &Arc<Core>, session: &Arc<Established>, payload: Bytes, reply: Option<Subject>) {
    let (mut message, now) = (mutable(payload), Instant::now());
    match session.session.open(&mut message, core.clock.at(now), MAX_AGE) {
        Ok(opened) => {
            let opened = Opened { kind: opened.kind, age: opened.age, length: opened.plaintext.len(), now };
            dispatch(core, session, &opened, message.freeze(), reply);
        }
        Err(error) => {
            core.counters.code(Counted::PacketRefused, error.code());
            if matches!(error, SealError::AheadOfTime { .. }) {
                // A machine was asleep, so the times in the session mean nothing any more.
                core.end_session(session, "asleep");
            }
        }
    }
}

/// A message that opened.
pub(super) struct Opened {
    pub(super) kind: Kind,
    pub(super) age: u64,
    /// Of the plaintext.
    pub(super) length: usize,
    pub(super) now: Instant,
}

/// Takes a message that opened where it belongs. Its plaintext is shared, not copied.
pub(super) fn dispatch(
    core: &Arc<Core>,
    session: &Arc<Established>,
    opened: &Opened,
    mut message: Bytes,
    reply: Option<Subject>,
) {
    session.touch(core.clock.at(opened.now));
    message.advance(OVERHEAD - TAG_LEN);
    message.truncate(opened.length);
    let taken = match opened.kind {
        Kind::Request => serve::request(core, session, opened, message, reply),
        Kind::Reply => self::reply(core, session, message),
        Kind::Refusal => refusal(core, session, &message),
        Kind::Frame => frame(core, session, message),
        Kind::Ping => pong(core, session, &message, reply),
        Kind::Pong => Ping::decode(&message).map(|pong| keeper::ponged(core, session, pong.token)),
        Kind::Cancel => Cancel::decode(&message).map(|cancel| {
            core.served.cancel(session.party.id, cancel.call, "the caller cancelled the call");
        }),
    };
    if let Err(error) = taken {
        core.counters.code(Counted::PacketRefused, error.code());
    }
}

/// The last bytes of a message.
pub(super) fn tail(mut message: Bytes, length: usize) -> Bytes {
    message.advance(message.len().saturating_sub(length));
    message
}

fn reply(core: &Arc<Core>, session: &Arc<Established>, message: Bytes) -> Result<(), SealError> {
    let Reply { call, outcome } = Reply::decode(&message)?;
    let taken = match outcome {
        Outcome::Value { streams, value } => {
            let length = value.len();
            core.pending.answer(call, session, tail(message, length), streams, |pending| {
                let subject = pending.link.subject.clone();
                let (core, party) = (Arc::clone(core), Arc::clone(&session.party));
                Ongoing::new(Route { core, party, call, subject, side: Side::Caller })
            })
        }
        Outcome::Failed { code, message } => {
            let event = Event::Failed { code, message: message.to_owned() };
            core.pending.fail(call, &session.party, event)
        }
    };
    if !taken {
        core.counters.word(Counted::Dropped, "late_reply");
    }
    Ok(())
}

fn refusal(core: &Core, session: &Arc<Established>, message: &[u8]) -> Result<(), SealError> {
    let Refused { call, reason, message } = Refused::decode(message)?;
    core.counters.code(Counted::RefusalReceived, reason.code());
    let event = Event::Refused { reason, message: message.to_owned() };
    if !core.pending.fail(call, &session.party, event) {
        core.counters.word(Counted::Dropped, "late_reply");
    }
    Ok(())
}

fn frame(core: &Core, session: &Arc<Established>, message: Bytes) -> Result<(), SealError> {
    let frame = Frame::decode(&message)?;
    let call = if session.calls {
        core.pending.ongoing(frame.call, &session.party)
    } else {
        core.served.get(session.party.id, frame.call)
    };
    let data = message.slice_ref(frame.data);
    if !call.is_some_and(|call| call.deliver(&frame, data)) {
        core.counters.word(Counted::Dropped, "late_frame");
    }
    Ok(())
}

fn pong(core: &Core, session: &Established, message: &[u8], reply: Option<Subject>) -> Result<(), SealError> {
    let ping = Ping::decode(message)?;
    if let Some(reply) = reply {
        let pong = session.session.seal(Kind::Pong, ping.encode(), core.clock.now())?;
        core.offer(reply, pong.into());
    }
    Ok(())
}
