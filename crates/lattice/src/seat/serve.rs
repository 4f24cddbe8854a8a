//! Takes calls: the checks that come before the service, and what is sent back after it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use wattle_protocol::rpc::SPY_INTERFACE;
use wattle_seal::message::{CallId, Outcome as Sealed, Reason, Refused, Reply, Request};
use wattle_seal::{Error as SealError, Kind, OVERHEAD};

use super::Trace;
use super::core::Core;
use super::counters::Counted;
use super::party::{Established, Route};
use super::receive::{Opened, tail};
use super::service::{Incoming, Outcome};
use super::stream::{self, Ongoing, Side, Source, StreamBroken};

/// In the place of a reason that the service gives: it can't be sent, or nothing is known of it.
const UNSPECIFIED: u16 = 0;

/// Takes a request, or refuses it.
pub(super) fn request(
    core: &Arc<Core>,
    session: &Arc<Established>,
    opened: &Opened,
    message: Bytes,
    reply: Option<Subject>,
) -> Result<(), SealError> {
    // A request without a place for the answer is of no use to anybody.
    let Some(reply) = reply else { return Ok(()) };
    let route = |call| route(core, session, call, &reply);
    let request = match Request::decode(&message) {
        Ok(request) => request,
        Err(error) => {
            if let Some(call) = message.first_chunk() {
                let reason = Reason::from_code(error.code());
                refuse(&route(CallId::from_be_bytes(*call)), reason, &error.to_string());
            }
            return Err(error);
        }
    };
    let remaining = u64::from(request.remaining).saturating_sub(opened.age);
    if let Err((reason, message)) = check(core, session, &request, remaining) {
        refuse(&route(request.call), reason, &message);
        return Ok(());
    }
    let served = Ongoing::new(route(request.call));
    if !core.served.insert(session.party.id, request.call, &served) {
        core.counters.word(Counted::Dropped, "repeated_call");
        return Ok(());
    }
    core.counters.served.fetch_add(1, Ordering::Relaxed);
    let names = [request.source, request.target, request.link_name, request.interface, request.function];
    let names = session.names.lock().unwrap_or_else(PoisonError::into_inner).share(names);
    let [source, target, link_name, interface, function] = names;
    let incoming = Incoming {
        caller: Arc::clone(&session.member),
        source,
        target,
        link_name,
        interface,
        function,
        encoding: request.encoding,
        types: request.types,
        state_revision: request.state_revision,
        deadline: (opened.now + Duration::from_millis(remaining)).into(),
        depth: request.depth,
        trace: Trace { parent: request.trace_parent.to_owned(), state: request.trace_state.to_owned() },
        streams: served.receive(request.streams),
        parameters: {
            let length = request.parameters.len();
            tail(message, length)
        },
    };
    let task = tokio::spawn(serve(Running { core: Arc::clone(core), served: Arc::clone(&served) }, incoming));
    served.runs_in(task.abort_handle());
    Ok(())
}

fn route(core: &Arc<Core>, session: &Established, call: CallId, reply: &Subject) -> Route {
    Route {
        core: Arc::clone(core),
        party: Arc::clone(&session.party),
        call,
        // A copy, so that a long call does not keep the connection's buffer.
        subject: reply.as_str().into(),
        side: Side::Target,
    }
}

/// What can be said without the service, in the order in which the refusals count.
fn check(
    core: &Core,
    session: &Established,
    request: &Request<'_>,
    remaining: u64,
) -> Result<(), (Reason, String)> {
    let (caller, standing) = (&session.member, core.standing.load());
    if remaining == 0 {
        return Err((Reason::DeadlinePassed, String::new()));
    }
    if !caller.may_speak_for(request.source) {
        return Err((Reason::SourceNotAllowed, format!("{} for `{}`", caller.key(), request.source)));
    }
    let watches = request.interface == SPY_INTERFACE && caller.may_spy(request.target);
    if !watches && !caller.may_call(request.target) {
        return Err((Reason::TargetNotAllowed, format!("{} calls `{}`", caller.key(), request.target)));
    }
    if !standing.local.member().may_answer_for(request.target) {
        return Err((Reason::NotHere, "the certificate here does not allow it".to_owned()));
    }
    if core.draining.load(Ordering::Relaxed) {
        return Err((Reason::Draining, String::new()));
    }
    if core.served.len() >= core.limits.calls {
        return Err((Reason::Busy, format!("{} calls run here", core.limits.calls)));
    }
    Ok(())
}

fn refuse(route: &Route, reason: Reason, message: &str) {
    route.core.counters.code(Counted::RefusalSent, reason.code());
    let refused = Refused { call: route.call, reason, message }.encode();
    if let Ok(message) = route.seal(Kind::Refusal, refused) {
        route.core.offer(route.subject.clone(), message);
    }
}

/// A call whose task runs. It ends with the task, also when that panics.
struct Running {
    core: Arc<Core>,
    served: Arc<Ongoing>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let route = &self.served.route;
        if std::thread::panicking() {
            let outcome = Sealed::Failed { code: UNSPECIFIED, message: "the service panicked" };
            route.post(Kind::Reply, Reply { call: route.call, outcome }.encode());
            self.core.served.cancel(route.party.id, route.call, "the service panicked");
        }
    }
}

async fn serve(running: Running, incoming: Incoming) {
    let Running { core, served } = &running;
    let route = &served.route;
    let deadline = incoming.deadline;
    let Ok(outcome) = tokio::time::timeout_at(deadline, core.service.serve(incoming)).await else {
        // The caller does not wait any more either.
        core.counters.word(Counted::Dropped, "overdue_call");
        core.served.cancel(route.party.id, route.call, "the call took too long");
        return;
    };
    let call = route.call;
    match outcome {
        Outcome::Value { value, streams } => return answer(core, served, &value, streams).await,
        Outcome::Failed { code, message } => {
            let reply = Reply { call, outcome: Sealed::Failed { code, message: &message } };
            let _ = route.publish(Kind::Reply, reply.encode()).await;
        }
        Outcome::Refused { reason, message } => {
            core.counters.code(Counted::RefusalSent, reason.code());
            let refused = Refused { call, reason, message: &message };
            let _ = route.publish(Kind::Refusal, refused.encode()).await;
        }
    }
    served.break_off(&StreamBroken::new("the call has ended"));
    served.release();
}

async fn answer(core: &Core, served: &Arc<Ongoing>, value: &[u8], streams: Vec<super::OutStream>) {
    let route = &served.route;
    let (call, max) = (route.call, core.client.max_payload());
    let length = value.len() + 10 + OVERHEAD;
    let problem = match u8::try_from(streams.len()) {
        Err(_) => Some(format!("the result has {} streams, more than 255", streams.len())),
        Ok(_) if length > max => Some(format!(
            "the result would be a message of {length} bytes, and the NATS server takes {max}; pass large data as a \
             stream"
        )),
        Ok(count) => {
            let flows = served.send(streams.len());
            let outcome = Sealed::Value { streams: count, value };
            let sent = route.publish(Kind::Reply, Reply { call, outcome }.encode()).await;
            if sent.is_err() {
                served.break_off(&StreamBroken::new("the answer could not be sent"));
            }
            for (stream, flow) in streams.into_iter().zip(flows) {
                tokio::spawn(stream::run(Source::once(stream), flow, Arc::clone(served)));
            }
            None
        }
    };
    if let Some(message) = problem {
        let reply = Reply { call, outcome: Sealed::Failed { code: UNSPECIFIED, message: &message } };
        let _ = route.publish(Kind::Reply, reply.encode()).await;
        served.break_off(&StreamBroken::new("the call has ended"));
    }
    served.release();
}
