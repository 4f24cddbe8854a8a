//! Makes calls: finds a peer, gets the message there, and decides what may be tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wattle_seal::message::{CallId, Cancel, Reason, Request};
use wattle_seal::{Error as SealError, Kind};

use super::call::{Answer, Call, CallError, Executed};
use super::core::Core;
use super::counters::Counted;
use super::handshake::Failure;
use super::links::Link;
use super::party::{Established, Route};
use super::pending::{Event, Pending};
use super::stream::{self, Ongoing, Side, Source, StreamBroken};
use crate::discovery::Peer;

/// A call is tried with so many peers.
const MAX_PEERS: usize = 5;

/// A call that goes everywhere goes to so many members at most.
const MAX_MEMBERS: usize = 1024;

/// A call is sent to one peer so many times: again when that does not know the session.
const MAX_SESSIONS: usize = 2;

/// What ends a try.
enum Ended {
    /// Another peer may be asked.
    Elsewhere(CallError),
    /// That is the outcome.
    Here(CallError),
}

/// Makes a call.
pub(super) async fn call(core: &Arc<Core>, call: &mut Call) -> Result<Answer, CallError> {
    core.counters.made.fetch_add(1, Ordering::Relaxed);
    let sources = std::mem::take(&mut call.streams).into_iter().map(Source::repeatable).collect();
    let mut caller = Caller { core, call, sources, began: Instant::now(), sent: false };
    let outcome = caller.try_peers().await;
    if let Err(error) = &outcome {
        core.counters.word(Counted::CallFailed, error.word());
    }
    outcome
}

/// Makes a call at every member that answers for the target.
pub(super) async fn call_everywhere(core: &Arc<Core>, call: Call) -> Result<Vec<Answer>, CallError> {
    core.counters.made.fetch_add(1, Ordering::Relaxed);
    let call = &mut Call { streams: Vec::new(), ..call };
    let mut caller = Caller { core, call, sources: Vec::new(), began: Instant::now(), sent: false };
    let (mut asked, mut answers, mut last) = (Vec::new(), Vec::new(), None);
    while asked.len() < MAX_MEMBERS {
        let found = core.discovery.find(&caller.call.target, caller.call.deadline, &asked).await;
        let Some(peer) = found else { break };
        match caller.try_peer(&peer).await {
            Ok(answer) => answers.push(answer),
            Err(Ended::Here(error) | Ended::Elsewhere(error)) => last = Some(error),
        }
        asked.push(peer.address.clone());
    }
    if answers.is_empty() {
        return Err(last.unwrap_or_else(|| CallError::NotFound { target: caller.target() }));
    }
    Ok(answers)
}

struct Caller<'a> {
    core: &'a Arc<Core>,
    call: &'a mut Call,
    sources: Vec<Source>,
    began: Instant,
    sent: bool,
}

impl Caller<'_> {
    fn target(&self) -> Arc<str> {
        Arc::clone(&self.call.target)
    }

    fn timeout(&self) -> CallError {
        let executed = if self.sent { Executed::Maybe } else { Executed::No };
        CallError::Timeout { target: self.target(), after: self.began.elapsed(), executed }
    }

    async fn try_peers(&mut self) -> Result<Answer, CallError> {
        let mut asked = Vec::new();
        let mut last = None;
        while asked.len() < MAX_PEERS {
            if let Some(reason) = self.down() {
                return Err(CallError::Disconnected { target: self.target(), reason });
            }
            let found = self.core.discovery.find(&self.call.target, self.call.deadline, &asked).await;
            let Some(peer) = found else {
                if Instant::now() >= self.call.deadline {
                    return Err(self.timeout());
                }
                break;
            };
            match self.try_peer(&peer).await {
                Ok(answer) => return Ok(answer),
                Err(Ended::Here(error)) => return Err(error),
                Err(Ended::Elsewhere(error)) => {
                    self.core.counters.word(Counted::Retry, error.word());
                    last = Some(error);
                }
            }
            asked.push(peer.address.clone());
            if !self.sources.iter_mut().all(Source::rewind) {
                break;
            }
        }
        Err(last.unwrap_or_else(|| CallError::NotFound { target: self.target() }))
    }

    fn down(&self) -> Option<String> {
        if self.core.closed.is_cancelled() {
            return Some("the lattice was left".to_owned());
        }
        let reason = self.core.connection.down()?;
        Some(format!("not connected to NATS: {reason}; it is being reconnected"))
    }

    async fn try_peer(&mut self, peer: &Peer) -> Result<Answer, Ended> {
        let core = self.core;
        let link = core.links.get(&peer.address, &core.lattice);
        for again in 0..MAX_SESSIONS {
            if again > 0 {
                core.counters.word(Counted::Retry, "unknown_session");
            }
            let session = self.session(&link).await?;
            if !session.member.may_answer_for(&self.call.target) {
                let failure =
                    Failure::Untrusted("its certificate does not let it answer for the target".to_owned());
                return Err(Ended::Elsewhere(self.no_session(&link, failure)));
            }
            match self.send(&link, &session).await? {
                Event::Value { value, streams, peer } => return Ok(Answer { value, streams, peer }),
                Event::UnknownSession if self.sources.iter_mut().all(Source::rewind) => {}
                event => return Err(self.ended(&link, event)),
            }
        }
        let reason = format!("{} does not keep sessions", link.address());
        Err(Ended::Elsewhere(CallError::Unreachable { target: self.target(), reason }))
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Arc<Established>, Ended> {
        if link.is_suspected() {
            // Soon it is clear; until then, a call that is sent there may be lost.
            let settled = tokio::time::timeout_at(self.call.deadline, link.settled()).await;
            settled.map_err(|_| Ended::Here(self.timeout()))?;
        }
        if let Some(session) = link.current(self.core, self.core.clock.now()) {
            return Ok(session);
        }
        match tokio::time::timeout_at(self.call.deadline, link.session(self.core)).await {
            Ok(made) => made.map_err(|failure| Ended::Elsewhere(self.no_session(link, failure))),
            Err(_) => Err(Ended::Here(self.timeout())),
        }
    }

    fn no_session(&self, link: &Link, failure: Failure) -> CallError {
        let (target, address) = (self.target(), link.address());
        match failure {
            Failure::Untrusted(reason) => {
                CallError::Untrusted { target, peer: address.member.clone(), reason }
            }
            Failure::Gone => {
                self.core.discovery.gone(address);
                CallError::Unreachable { target, reason: format!("{address} is gone") }
            }
            Failure::NoAnswer(reason) => {
                self.core.discovery.gone(address);
                CallError::Unreachable { target, reason: format!("{address}: {reason}") }
            }
            Failure::Closed => CallError::Disconnected { target, reason: "the lattice was left".to_owned() },
        }
    }

    /// What an event that is no answer means.
    fn ended(&self, link: &Link, event: Event) -> Ended {
        let (core, target) = (self.core, self.target());
        match event {
            Event::Refused { reason, message } => {
                if matches!(reason, Reason::NotHere | Reason::Draining) {
                    core.discovery.not_here(&target, link.address());
                }
                let error = CallError::Refused { target, reason, message };
                if reason.may_be_tried_elsewhere() { Ended::Elsewhere(error) } else { Ended::Here(error) }
            }
            Event::Failed { code, message } => Ended::Here(CallError::Failed { target, code, message }),
            Event::NotDelivered | Event::UnknownSession | Event::Value { .. } => {
                let reason = format!("{} is gone", link.address());
                Ended::Elsewhere(CallError::Unreachable { target, reason })
            }
            Event::Lost(reason) => {
                let error = CallError::Lost { target, reason };
                if self.call.repeatable { Ended::Elsewhere(error) } else { Ended::Here(error) }
            }
        }
    }

    /// Sends the call in a session, and waits for what becomes of it.
    async fn send(&mut self, link: &Arc<Link>, session: &Arc<Established>) -> Result<Event, Ended> {
        let core = self.core;
        if core.outbox.is_full() {
            let room = tokio::time::timeout_at(self.call.deadline, core.outbox.room()).await;
            room.map_err(|_| Ended::Here(self.timeout()))?;
        }
        let id = core.pending.next_id();
        let message = self.seal(session, id)?;
        let (tell, event) = oneshot::channel();
        let streams = (!self.sources.is_empty()).then(|| self.ongoing(link, id));
        let pending = Pending {
            link: Arc::clone(link),
            session: Arc::clone(session),
            sent: message.clone(),
            streams: streams.clone(),
            answer: Some(tell),
            undelivered: false,
        };
        core.pending.insert(id, pending);
        let mut guard = Guard { core, link, id, over: false };
        self.sent = true;
        core.outbox.post(link.subject.clone(), Some(core.inbox.subject('c', id)), message);
        let pumps = streams.map(|streams| self.pump(&streams));
        let event = tokio::time::timeout_at(self.call.deadline, event).await;
        let event = event.map_err(|_| Ended::Here(self.timeout()))?;
        let event = event.unwrap_or_else(|_| Event::Lost("the lattice was left".to_owned()));
        guard.over = true;
        if !matches!(event, Event::Value { .. }) {
            self.take_back(pumps).await;
        }
        Ok(event)
    }

    fn seal(&self, session: &Established, id: CallId) -> Result<Bytes, Ended> {
        let (core, call) = (self.core, &*self.call);
        let invalid = |error: SealError| {
            let (target, reason) = (self.target(), error.to_string());
            match error {
                SealError::SessionEnded | SealError::SessionExhausted => {
                    Ended::Elsewhere(CallError::Unreachable { target, reason })
                }
                SealError::MessageTooLarge { length, max, .. } => {
                    Ended::Here(CallError::TooLarge { target, length, max })
                }
                _ => Ended::Here(CallError::Invalid { target, reason }),
            }
        };
        let now = Instant::now();
        let left = call.deadline.saturating_duration_since(now);
        let streams = u8::try_from(self.sources.len()).map_err(|_| {
            let reason = format!("it has {} streams, more than 255", self.sources.len());
            Ended::Here(CallError::Invalid { target: self.target(), reason })
        })?;
        let request = Request {
            call: id,
            remaining: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            depth: call.depth,
            state_revision: call.state_revision,
            encoding: call.encoding,
            types: call.types,
            streams,
            source: &call.source,
            target: &call.target,
            link_name: &call.link_name,
            interface: &call.interface,
            function: &call.function,
            trace_parent: &call.trace.parent,
            trace_state: &call.trace.state,
            parameters: &call.parameters,
        };
        let plaintext = request.encode().map_err(invalid)?;
        let (length, max) = (plaintext.as_bytes().len() + wattle_seal::OVERHEAD, core.client.max_payload());
        if length > max {
            return Err(Ended::Here(CallError::TooLarge { target: self.target(), length, max }));
        }
        let now = core.clock.at(now.into_std());
        session.session.seal(Kind::Request, plaintext, now).map(Bytes::from).map_err(invalid)
    }

    fn ongoing(&self, link: &Link, id: CallId) -> Arc<Ongoing> {
        Ongoing::new(Route {
            core: Arc::clone(self.core),
            party: Arc::clone(&link.party),
            call: id,
            subject: link.subject.clone(),
            side: Side::Caller,
        })
    }

    fn pump(&mut self, streams: &Arc<Ongoing>) -> Vec<JoinHandle<Source>> {
        let flows = streams.send(self.sources.len());
        let sources = std::mem::take(&mut self.sources);
        sources
            .into_iter()
            .zip(flows)
            .map(|(source, flow)| tokio::spawn(stream::run(source, flow, Arc::clone(streams))))
            .collect()
    }

    /// The streams of a call that ended were stopped: gets them back, to send them elsewhere.
    async fn take_back(&mut self, pumps: Option<Vec<JoinHandle<Source>>>) {
        for pump in pumps.into_iter().flatten() {
            // One that panicked can't be sent again: with an empty one in its place, nothing would say so.
            let lost = || Source::once(Box::pin(futures::stream::empty()));
            self.sources.push(pump.await.unwrap_or_else(|_| lost()));
        }
    }
}

/// Cancels a call when nobody waits for it any more.
struct Guard<'a> {
    core: &'a Arc<Core>,
    link: &'a Arc<Link>,
    id: CallId,
    over: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let Some(pending) = self.core.pending.remove(self.id) else { return };
        if let Some(streams) = pending.streams {
            streams.break_off(&StreamBroken::new("the call was cancelled"));
        }
        let current = self.link.party.current.load();
        let session = current.as_ref().unwrap_or(&pending.session);
        let cancel = Cancel { call: self.id }.encode();
        if let Ok(message) = session.session.seal(Kind::Cancel, cancel, self.core.clock.now()) {
            self.core.outbox.post(self.link.subject.clone(), None, message.into());
        }
    }
}
