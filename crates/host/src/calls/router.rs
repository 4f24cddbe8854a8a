//! The one decision of each call: here, or at which member of the lattice.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::time::Instant;
use wattle_lattice::{Answer, Call, Encoding, OutStream};
use wattle_provider::CallError;
use wattle_runtime::{CallContext, CallError as ComponentError, Reserved, Served};

use crate::calls::convert::trace_to_lattice;
use crate::calls::failure;
use crate::shared::Shared;

/// A component that is just being replaced is looked up again; no call waits for more replacements than this.
const LOOKUPS: usize = 3;

/// How components and providers reach what they are linked to. It does not keep the host alive.
#[derive(Clone)]
pub(crate) struct Router(pub(super) Weak<Shared>);

/// Where a call is carried out.
pub(super) enum Place {
    /// In this process, at the place that was reserved.
    Here(Box<Reserved>),
    /// At a member of the lattice.
    There,
}

/// Who calls whom, over which link.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) source: Arc<str>,
    pub(super) target: Arc<str>,
    pub(super) link_name: Arc<str>,
    pub(super) interface: Arc<str>,
    /// Revision of the state at which the link was found.
    pub(super) revision: u64,
}

/// What is sent to a member.
pub(super) struct Message {
    pub(super) function: Arc<str>,
    pub(super) encoding: Encoding,
    pub(super) types: [u8; 8],
    pub(super) parameters: Bytes,
    pub(super) streams: Vec<OutStream>,
    pub(super) repeatable: bool,
}

impl Router {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl Shared {
    /// Where a call to the target is carried out now: here if it runs here and has a free permit, otherwise at a peer,
    /// and in the queue here if there is none.
    pub(super) async fn place(&self, target: &str, context: &CallContext) -> Result<Place, CallError> {
        for _ in 0..LOOKUPS {
            let Some(component) = self.components.get(target) else { return Ok(Place::There) };
            match self.place_at(&component.served, target, context).await {
                Ok(place) => return Ok(place),
                Err(ComponentError::Stopping { .. }) => {}
                Err(error) => return Err(failure::of_component(target, error)),
            }
        }
        Ok(Place::There)
    }

    async fn place_at(
        &self,
        served: &Served,
        target: &str,
        context: &CallContext,
    ) -> Result<Place, ComponentError> {
        if let Some(place) = served.try_reserve(context)? {
            return Ok(Place::Here(Box::new(place)));
        }
        if self.seat.load().as_ref().is_some_and(|seat| seat.knows_peer_for(target)) {
            return Ok(Place::There);
        }
        served.reserve(context).await.map(|place| Place::Here(Box::new(place)))
    }

    /// Waits for a place at what runs here under the target's id; `None` where nothing does. What is just being replaced
    /// is looked up again.
    pub(super) async fn reserve_here(
        &self,
        target: &str,
        context: &CallContext,
    ) -> Result<Option<Reserved>, ComponentError> {
        for _ in 0..LOOKUPS {
            let Some(component) = self.components.get(target) else { break };
            match component.served.reserve(context).await {
                Err(ComponentError::Stopping { .. }) => {}
                place => return place.map(Some),
            }
        }
        Ok(None)
    }

    /// A place here for a call that no member of the lattice has begun because of `error`: the queue here may be long,
    /// and is still better than none. Where there is no place either, the error stays.
    pub(super) async fn place_after(
        &self,
        target: &str,
        context: &CallContext,
        error: CallError,
    ) -> Result<Reserved, CallError> {
        if !failure::may_go_on_here(&error) {
            return Err(error);
        }
        let place = self.reserve_here(target, context).await;
        place.map_err(|error| failure::of_component(target, error))?.ok_or(error)
    }

    /// Calls a member of the lattice.
    pub(super) async fn call_lattice(
        &self,
        way: &Way,
        message: Message,
        context: &CallContext,
    ) -> Result<Answer, CallError> {
        let seat = self.seat.load_full().ok_or_else(|| self.no_seat(&way.target))?;
        let start = Instant::now();
        let span = self.telemetry.send(&context.trace, way, &message.function);
        let call = Call {
            source: way.source.clone(),
            target: way.target.clone(),
            link_name: way.link_name.clone(),
            interface: way.interface.clone(),
            function: message.function,
            encoding: message.encoding,
            types: message.types,
            state_revision: way.revision,
            deadline: context.deadline,
            depth: context.depth,
            trace: trace_to_lattice(&span.trace(&context.trace)),
            parameters: message.parameters,
            streams: message.streams,
            repeatable: message.repeatable,
        };
        let called = seat.call(call).await;
        span.end(&called);
        called.map_err(|error| failure::of_lattice(error, start.elapsed(), &way.source, &way.link_name))
    }

    fn no_seat(&self, target: &str) -> CallError {
        let problem = self.seat_problem.get();
        let problem =
            problem.unwrap_or_else(|| "this host is still joining the members of the lattice".to_owned());
        CallError::Unreachable {
            target: target.to_owned(),
            reason: format!("it does not run on this host, and {problem}"),
        }
    }

    /// Finds the target of a link.
    pub(super) fn way(&self, source: &Arc<str>, link_name: &Arc<str>, interface: &Arc<str>) -> Option<Way> {
        let routes = self.routes.load();
        let target = routes.target(source, link_name, interface)?;
        Some(Way {
            source: source.clone(),
            target: target.clone(),
            link_name: link_name.clone(),
            interface: interface.clone(),
            revision: routes.revision,
        })
    }

    /// The time that a call has which nobody gave a deadline.
    pub(super) fn default_deadline(&self) -> Instant {
        Instant::now() + self.limits.max_execution_time
    }
}
