//! Calls of components: their imports, led to where the links say.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use wattle_lattice::{Encoding, MAX_DEPTH};
use wattle_provider::{BodyError, CallError};
use wattle_runtime::{
    CallContext, Caller, FunctionType, HttpBody, ImportCall, ImportError, Imports, Reserved, Values,
};

use crate::calls::Router;
use crate::calls::convert::{streams_from_lattice, streams_to_lattice};
use crate::calls::counted::Counted;
use crate::calls::failure;
use crate::calls::router::{Message, Place, Way};
use crate::metrics;
use crate::shared::Shared;
use crate::telemetry::trace_of;

/// The interface by which links name where outgoing requests go, whichever generation the component imports.
const OUTGOING: &str = "wasi:http/outgoing-handler";

impl Imports for Router {
    fn call(&self, call: ImportCall) -> BoxFuture<'static, Result<Values, ImportError>> {
        let router = self.clone();
        async move {
            let shared = router.0.upgrade().ok_or_else(ImportError::stopping)?;
            let ImportCall { caller, function, parameters } = call;
            let context = within(&caller.context)?;
            let way = shared
                .way(&caller.component, &caller.link_name, function.interface())
                .ok_or_else(|| no_link(&caller, function.interface()))?;
            let mut counted = Counted::new(&shared, &way, function.name());
            let mut span = shared.telemetry.route(&context.trace, &way, function.name());
            let context = span.within(&context);
            let result = match shared.place(&way.target, &context).await {
                Ok(Place::Here(place)) => {
                    span.set_place(counted.place);
                    shared.call_here(&way, *place, &function, parameters, &context).await
                }
                Ok(Place::There) => {
                    counted.place = metrics::Place::Remote;
                    span.set_place(counted.place);
                    match shared.call_there(&way, &function, parameters, &context).await {
                        Err(Unmade { error, parameters: Some(parameters) }) => {
                            match shared.place_after(&way.target, &context, error).await {
                                Ok(place) => {
                                    counted.place = metrics::Place::Local;
                                    span.set_place(counted.place);
                                    shared.call_decoded(&way, place, &function, parameters, &context).await
                                }
                                Err(error) => Err(error),
                            }
                        }
                        called => called.map_err(|unmade| unmade.error),
                    }
                }
                Err(error) => Err(error),
            };
            counted.end(&result);
            span.end(&result);
            result.map_err(import_error)
        }
        .boxed()
    }

    fn handle_http(
        &self,
        caller: Caller,
        request: Request<HttpBody>,
    ) -> BoxFuture<'static, Result<Response<HttpBody>, ImportError>> {
        let router = self.clone();
        async move {
            let shared = router.0.upgrade().ok_or_else(ImportError::stopping)?;
            let mut context = within(&caller.context)?;
            // A component that makes spans of its own says within which of them it asks.
            let own = trace_of(request.headers());
            if !own.parent.is_empty() {
                context.trace = own;
            }
            let interface: Arc<str> = OUTGOING.into();
            let way = shared
                .way(&caller.component, &caller.link_name, &interface)
                .ok_or_else(|| no_link(&caller, &interface))?;
            let request = request.map(|body| body.map_err(BodyError::new).boxed_unsync());
            let response = shared.send_http(&way, request, &context).await.map_err(import_error)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        }
        .boxed()
    }

    fn has_link(&self, component: &str, link_name: &str, interface: &str) -> bool {
        self.0
            .upgrade()
            .is_some_and(|shared| shared.routes.load().target(component, link_name, interface).is_some())
    }
}

/// The context of a call that is made within another.
fn within(outer: &CallContext) -> Result<CallContext, ImportError> {
    if outer.depth >= MAX_DEPTH {
        return Err(ImportError::refused(format!(
            "calls are within each other {MAX_DEPTH} deep, and no deeper: is a component calling itself?"
        )));
    }
    Ok(outer.nested())
}

/// What stands before the reason of the innermost of failures that caused each other.
const CAUSE: &str = "; the cause: ";

/// Calls within calls fail one after the other, from the inside out. What each adds to the reason would bury the first,
/// which is the one to know.
fn innermost(reason: &str) -> &str {
    let after = |marker| reason.rsplit_once(marker).map_or(reason, |(_, rest)| rest);
    let (failed, cause) = (after(" failed: "), after(CAUSE));
    if cause.len() < failed.len() { cause } else { failed }
}

fn no_link(caller: &Caller, interface: &str) -> ImportError {
    ImportError::no_link(format!(
        "component {} has no link named `{}` for {interface}",
        caller.component, caller.link_name
    ))
}

fn import_error(error: CallError) -> ImportError {
    let reason = error.to_string();
    match error {
        CallError::Trapped { target, reason } => {
            ImportError::failed(format!("component {target} trapped{CAUSE}{}", innermost(&reason)))
        }
        CallError::NoLink { .. } => ImportError::no_link(reason),
        CallError::Timeout { .. } => ImportError::timeout(reason),
        CallError::Refused { .. } => ImportError::refused(reason),
        CallError::Busy { .. } => ImportError::busy(reason),
        CallError::NotRunning { .. } | CallError::Unreachable { .. } => ImportError::unreachable(reason),
        _ => ImportError::failed(reason),
    }
}

/// The target's function of the same types: two builds of an interface that differ are told apart before the call.
fn exported(place: &Reserved, way: &Way, function: &FunctionType) -> Result<Arc<FunctionType>, CallError> {
    let unsupported = |reason| CallError::Unsupported { target: way.target.to_string(), reason };
    let (interface, name) = (function.interface(), function.name());
    let exported = place
        .compiled()
        .exported_function(interface, name)
        .ok_or_else(|| unsupported(format!("it does not export {interface}.{name}")))?;
    if exported.digest() != function.digest() {
        return Err(unsupported(differ(interface, name, function.text(), exported.text())));
    }
    Ok(exported.clone())
}

/// Says how two builds of one function differ.
fn differ(interface: &str, name: &str, called: &str, exported: &str) -> String {
    format!(
        "{interface}.{name} has other types there: it is called as `{called}` and exported as `{exported}`"
    )
}

/// A call to another host that has no result.
struct Unmade {
    error: CallError,
    /// What was sent, where it can be sent again: a stream can't.
    parameters: Option<Bytes>,
}

impl Shared {
    async fn call_here(
        &self,
        way: &Way,
        mut place: Reserved,
        function: &Arc<FunctionType>,
        parameters: Values,
        context: &CallContext,
    ) -> Result<Values, CallError> {
        let exported = exported(&place, way, function)?;
        let run = self.telemetry.run(&context.trace, &way.target, &mut place);
        let called = place.call(&exported, parameters).await;
        run.end(&called);
        called.map_err(|error| failure::of_component(&way.target, error))
    }

    async fn call_there(
        &self,
        way: &Way,
        function: &Arc<FunctionType>,
        parameters: Values,
        context: &CallContext,
    ) -> Result<Values, Unmade> {
        let unmade = |error| Unmade { error, parameters: None };
        let encoded = function.encode_parameters(parameters).map_err(|error| {
            let target = way.target.to_string();
            unmade(CallError::Unsupported { target, reason: error.to_string() })
        });
        let (parameters, streams) = encoded?;
        let kept = streams.is_empty().then(|| parameters.clone());
        let message = Message {
            function: function.name().clone(),
            encoding: Encoding::Values,
            types: function.digest(),
            parameters,
            streams: streams_to_lattice(streams),
            repeatable: false,
        };
        let answer = self.call_lattice(way, message, context).await.map_err(|error| match error {
            CallError::Unsupported { target, reason } => CallError::Unsupported {
                target,
                reason: format!("{reason} (called as `{}`)", function.text()),
            },
            error => error,
        });
        let answer = answer.map_err(|error| Unmade { error, parameters: kept })?;
        let streams = streams_from_lattice(answer.streams);
        function.decode_results(answer.value, streams).map_err(|error| {
            let target = way.target.to_string();
            unmade(CallError::NoResponse { target, reason: error.to_string() })
        })
    }

    /// Makes a call here that was written for another host.
    async fn call_decoded(
        &self,
        way: &Way,
        place: Reserved,
        function: &Arc<FunctionType>,
        parameters: Bytes,
        context: &CallContext,
    ) -> Result<Values, CallError> {
        let values = function.decode_parameters(parameters, Vec::new());
        let values = values.map_err(|error| CallError::Unsupported {
            target: way.target.to_string(),
            reason: error.to_string(),
        })?;
        self.call_here(way, place, function, values, context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_failures_within_each_other_the_innermost_is_told() {
        let mut error = CallError::Refused { target: "z".to_owned(), reason: "too deep".to_owned() };
        for component in ["c", "b", "a"] {
            let reason =
                format!("component {component} failed: calling acme:x/y.go failed: {}", import_error(error));
            error = CallError::Trapped { target: component.to_owned(), reason };
        }
        let told = import_error(error).to_string();
        assert_eq!(told, "component a trapped; the cause: the call to z was refused: too deep");
        let alone = CallError::Trapped { target: "a".to_owned(), reason: "unreachable".to_owned() };
        assert_eq!(import_error(alone).to_string(), "component a trapped; the cause: unreachable");
    }
}
