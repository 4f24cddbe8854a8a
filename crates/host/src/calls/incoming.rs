//! Calls that come from other members: checked, then given to what runs here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::SemaphorePermit;
use wattle_identity::certificate::Role;
use wattle_lattice::{Bucket, Encoding, Incoming as Call, Outcome, Reason, Revision, Service, async_trait};
use wattle_protocol::rpc::SPY_INTERFACE;
use wattle_provider::BodyError;
use wattle_runtime::{CallContext, Compiled, FunctionType, Reserved};

use crate::calls::convert::{streams_from_lattice, streams_to_lattice, trace_from_lattice};
use crate::calls::counted::Watched;
use crate::calls::{failure, http_wire};
use crate::routes::Table;
use crate::shared::Shared;

/// How long a call waits for the state to catch up with its caller's.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Parameters of so many bytes need no room of their own: as many calls as may run at once don't add up to much.
const SMALL_VALUES: usize = 16 << 10;

/// How many times the bytes of its encoding a value can take in memory: a byte of a list is a value of 40 bytes.
const VALUE_GROWTH: usize = 40;

/// Memory for the large values of all calls from other hosts together, in KiB.
pub(crate) const VALUE_ROOM: usize = 512 << 10;

/// How long a call waits for room. Not longer, because what takes it may be waiting for this call.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// What the lattice hands its calls to. It does not keep the host alive.
pub(crate) struct Incoming(pub(crate) Weak<Shared>);

#[async_trait]
impl Service for Incoming {
    async fn serve(&self, mut call: Call) -> Outcome {
        let Some(shared) = self.0.upgrade() else {
            return Outcome::Refused { reason: Reason::Draining, message: "the host is stopping".to_owned() };
        };
        let trace = trace_from_lattice(std::mem::take(&mut call.trace));
        let outer = CallContext { deadline: call.deadline, depth: call.depth, trace };
        if &*call.interface == SPY_INTERFACE {
            return shared.let_watch(&call);
        }
        let mut watched = Watched::begin(&shared, &call);
        let span = shared.telemetry.receive(&outer.trace, &call);
        let (Ok(outcome) | Err(outcome)) = shared.answer_call(call, &span.within(&outer)).await;
        if let Some(watched) = &mut watched {
            watched.end(&outcome);
        }
        span.end_answer(&outcome);
        outcome
    }

    fn load(&self, target: &str) -> Option<u16> {
        let shared = self.0.upgrade()?;
        shared.components.get(target).map(|component| component.served.load())
    }
}

impl Shared {
    async fn answer_call(&self, call: Call, context: &CallContext) -> Result<Outcome, Outcome> {
        self.check_linked(&call).await?;
        let place = self.reserve_here(&call.target, context).await;
        let place = place.map_err(|error| failed(&call.target, error))?;
        let place = place.ok_or_else(|| refused(Reason::NotHere, "it does not run here".to_owned()))?;
        match call.encoding {
            Encoding::Http => self.answer_http(place, call, context).await,
            Encoding::Values => self.answer_values(place, call, context).await,
            Encoding::Wave => self.answer_wave(place, call, context).await,
        }
    }

    /// A client's certificate says what it may call, which the seat has checked; whoever else calls needs a link. Where
    /// the caller has seen a later state than this host, the link may be on its way.
    async fn check_linked(&self, call: &Call) -> Result<(), Outcome> {
        if call.caller.role() == Role::Client || self.is_linked(call) {
            return Ok(());
        }
        let revision = Revision { bucket: Bucket::Lattice, sequence: call.state_revision };
        if !self.store.snapshot().revisions.includes(revision)
            && self.store.wait_for(revision, CATCH_UP).await.is_err()
        {
            let message = format!("this host has not seen revision {} of the state yet", call.state_revision);
            return Err(refused(Reason::StateBehind, message));
        }
        // The table follows the state a moment later; what counts is the state.
        let table = Table::of_source(&self.store.snapshot(), &call.source);
        if linked_in(&table, call) {
            return Ok(());
        }
        let Call { source, target, link_name, interface, .. } = call;
        let message =
            format!("there is no link named `{link_name}` from {source} to {target} for {interface}");
        Err(refused(Reason::NoLink, message))
    }

    fn is_linked(&self, call: &Call) -> bool {
        linked_in(&self.routes.load(), call)
    }
}

fn linked_in(table: &Table, call: &Call) -> bool {
    let target = table.target(&call.source, &call.link_name, &call.interface);
    target.is_some_and(|target| *target == call.target)
}

fn refused(reason: Reason, message: String) -> Outcome {
    Outcome::Refused { reason, message }
}

fn failed(target: &str, error: wattle_runtime::CallError) -> Outcome {
    failure::to_outcome(&failure::of_component(target, error))
}

impl Shared {
    async fn answer_http(
        &self,
        mut place: Reserved,
        call: Call,
        context: &CallContext,
    ) -> Result<Outcome, Outcome> {
        let request = http_wire::decode_request(call.parameters, call.streams);
        let mut request = request.map_err(|error| failure::bad_value(&error))?;
        let run = self.telemetry.run(&context.trace, &call.target, &mut place);
        run.announce(&context.trace, request.headers_mut());
        let response = place.handle_http(request).await;
        run.end(&response);
        let response = response.map_err(|error| failed(&call.target, error))?;
        let response = response.map(|body| body.map_err(BodyError::new).boxed_unsync());
        let (value, streams) =
            http_wire::encode_response(response).await.map_err(|error| failure::bad_value(&error))?;
        Ok(Outcome::Value { value, streams })
    }

    /// Room for the values of a call, which take many times the bytes in which they came. Small ones need none.
    async fn room(&self, parameters: &[u8]) -> Result<Option<SemaphorePermit<'_>>, Outcome> {
        if parameters.len() <= SMALL_VALUES {
            return Ok(None);
        }
        let kibibytes = (parameters.len() * VALUE_GROWTH).div_ceil(1024).min(VALUE_ROOM);
        let wanted = self.value_room.acquire_many(u32::try_from(kibibytes).unwrap_or(u32::MAX));
        match tokio::time::timeout(ROOM_PATIENCE, wanted).await {
            Ok(Ok(room)) => Ok(Some(room)),
            _ => Err(refused(Reason::Busy, "other calls have taken the memory for large values".to_owned())),
        }
    }

    async fn answer_values(
        &self,
        mut place: Reserved,
        call: Call,
        context: &CallContext,
    ) -> Result<Outcome, Outcome> {
        let function = exported(place.compiled(), &call)?;
        if function.digest() != call.types {
            let message = format!(
                "{}.{} has other types at {}: it is exported as `{}`",
                call.interface,
                call.function,
                call.target,
                function.text()
            );
            return Err(refused(Reason::TypesDiffer, message));
        }
        // Read only now: while it waited for its place, the call took no more than it was sent in.
        let _room = self.room(&call.parameters).await?;
        let parameters = function.decode_parameters(call.parameters, streams_from_lattice(call.streams));
        let parameters = parameters.map_err(|error| failure::bad_value(&error))?;
        let run = self.telemetry.run(&context.trace, &call.target, &mut place);
        let result = place.call(&function, parameters).await;
        run.end(&result);
        let result = result.map_err(|error| failed(&call.target, error))?;
        let (value, streams) = function.encode_results(result).map_err(|error| failure::bad_value(&error))?;
        Ok(Outcome::Value { value, streams: streams_to_lattice(streams) })
    }

    /// A person's call: parameters and result are text.
    async fn answer_wave(
        &self,
        mut place: Reserved,
        call: Call,
        context: &CallContext,
    ) -> Result<Outcome, Outcome> {
        let function = exported(place.compiled(), &call)?;
        let _room = self.room(&call.parameters).await?;
        let text = std::str::from_utf8(&call.parameters).map_err(|error| failure::bad_value(&error))?;
        let run = self.telemetry.run(&context.trace, &call.target, &mut place);
        let result = place.call_wave(&function, text).await;
        run.end(&result);
        let (wave, json) = result.map_err(|error| failed(&call.target, error))?;
        let mut value = BytesMut::with_capacity(8 + wave.len() + json.len());
        for text in [wave, json] {
            value.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            value.put_slice(text.as_bytes());
        }
        Ok(Outcome::Value { value: value.freeze(), streams: Vec::new() })
    }
}

fn exported(compiled: &Compiled, call: &Call) -> Result<Arc<FunctionType>, Outcome> {
    let function = compiled.exported_function(&call.interface, &call.function).cloned();
    function.ok_or_else(|| {
        if let Some(reason) = compiled.export_refusal(&call.interface, &call.function) {
            return refused(Reason::NoFunction, reason.to_owned());
        }
        let known: Vec<_> = compiled
            .exported_functions()
            .iter()
            .map(|function| format!("{}.{}", function.interface(), function.name()))
            .collect();
        let (interface, name) = (&call.interface, &call.function);
        refused(
            Reason::NoFunction,
            format!("it does not export {interface}.{name}; it exports {}", known.join(", ")),
        )
    })
}
