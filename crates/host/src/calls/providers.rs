//! Calls of providers to components.

use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use wattle_lattice::{Encoding, InStream};
use wattle_provider::{Body, BodyError, CallError, HttpCall, Lattice, async_trait};
use wattle_runtime::{CallContext, Reserved};

use crate::calls::Router;
use crate::calls::counted::Counted;
use crate::calls::failure;
use crate::calls::http_wire;
use crate::calls::router::{Message, Place, Way};
use crate::metrics;
use crate::shared::Shared;
use crate::telemetry::trace_of;

/// The interface by which links name what answers HTTP, whichever generation the component exports.
pub(super) const INCOMING: &str = "wasi:http/incoming-handler";
/// The same in the words of WASI 0.3.
const HANDLER: &str = "wasi:http/handler";

#[async_trait]
impl Lattice for Router {
    async fn handle_http(&self, call: HttpCall) -> Result<Response<Body>, CallError> {
        let HttpCall { source, target, link_name, request } = call;
        let Some(shared) = self.0.upgrade() else { return Err(CallError::NotRunning { target }) };
        let outer = CallContext {
            trace: trace_of(request.headers()),
            ..CallContext::outermost(shared.default_deadline())
        };
        let span = shared.telemetry.http_request(&outer.trace, &request);
        let result = match shared.http_way(&source, &target, &link_name) {
            Ok(way) => shared.send_http(&way, request, &span.within(&outer)).await,
            Err(error) => Err(error),
        };
        span.end_http(&result);
        result
    }
}

impl Shared {
    /// Only what is linked may call.
    fn http_way(&self, source: &str, target: &str, link_name: &str) -> Result<Way, CallError> {
        let routes = self.routes.load();
        let linked = [INCOMING, HANDLER].into_iter().find(|interface| {
            routes.target(source, link_name, interface).is_some_and(|linked| **linked == *target)
        });
        let Some(interface) = linked else {
            return Err(CallError::NoLink {
                source_id: source.to_owned(),
                target: target.to_owned(),
                link_name: link_name.to_owned(),
            });
        };
        Ok(Way {
            source: source.into(),
            target: target.into(),
            link_name: link_name.into(),
            interface: interface.into(),
            revision: routes.revision,
        })
    }

    /// Gives a request to the target of a link, wherever it runs.
    pub(super) async fn send_http(
        &self,
        way: &Way,
        request: Request<Body>,
        context: &CallContext,
    ) -> Result<Response<Body>, CallError> {
        let mut counted = Counted::new(self, way, &HANDLE);
        let mut span = self.telemetry.route(&context.trace, way, &HANDLE);
        let context = span.within(context);
        let result = match self.place(&way.target, &context).await {
            Ok(Place::Here(place)) => {
                span.set_place(counted.place);
                self.send_http_here(way, *place, request, &context).await
            }
            Ok(Place::There) => {
                counted.place = metrics::Place::Remote;
                span.set_place(counted.place);
                match self.send_http_there(way, request, &context).await {
                    Err((error, Some(request))) => match self.place_after(&way.target, &context, error).await
                    {
                        Ok(place) => {
                            counted.place = metrics::Place::Local;
                            span.set_place(counted.place);
                            self.send_http_here(way, place, request, &context).await
                        }
                        Err(error) => Err(error),
                    },
                    sent => sent.map_err(|(error, _)| error),
                }
            }
            Err(error) => Err(error),
        };
        counted.end(&result);
        span.end(&result);
        result
    }

    async fn send_http_here(
        &self,
        way: &Way,
        mut place: Reserved,
        mut request: Request<Body>,
        context: &CallContext,
    ) -> Result<Response<Body>, CallError> {
        let run = self.telemetry.run(&context.trace, &way.target, &mut place);
        run.announce(&context.trace, request.headers_mut());
        let answered = place.handle_http(request).await;
        run.end(&answered);
        answered
            .map(|response| response.map(|body| body.map_err(BodyError::new).boxed_unsync()))
            .map_err(|error| failure::of_component(&way.target, error))
    }

    /// With the error comes the request, where it can be sent again: a body that is a stream can't.
    async fn send_http_there(
        &self,
        way: &Way,
        request: Request<Body>,
        context: &CallContext,
    ) -> Result<Response<Body>, (CallError, Option<Request<Body>>)> {
        let refused = |error: http_wire::WireError| {
            let (target, reason) = (way.target.to_string(), error.to_string());
            (CallError::Refused { target, reason }, None)
        };
        let repeatable = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let (parameters, streams) = http_wire::encode_request(request).await.map_err(refused)?;
        let kept = streams.is_empty().then(|| parameters.clone());
        let message = Message {
            function: HANDLE.clone(),
            encoding: Encoding::Http,
            types: [0; 8],
            parameters,
            repeatable: repeatable && streams.is_empty(),
            streams,
        };
        let answer = self.call_lattice(way, message, context).await.map_err(|error| {
            let again = kept.and_then(|head| http_wire::decode_request(head, Vec::<InStream>::new()).ok());
            (error, again)
        })?;
        http_wire::decode_response(answer.value, answer.streams).map_err(|error| {
            let (target, reason) = (way.target.to_string(), error.to_string());
            (CallError::NoResponse { target, reason }, None)
        })
    }
}

/// The function of the handler interfaces.
static HANDLE: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "handle".into());
