//! Calls of providers to components.

use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use wattle_lattice::Encoding;
use wattle_provider::{Body, BodyError, CallError, HttpCall, Lattice, async_trait};
use wattle_runtime::CallContext;

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
        mut request: Request<Body>,
        context: &CallContext,
    ) -> Result<Response<Body>, CallError> {
        let mut counted = Counted::new(self, way, &HANDLE);
        let mut span = self.telemetry.route(&context.trace, way, &HANDLE);
        let context = span.within(context);
        let result = match self.place(&way.target, &context).await {
            Ok(Place::Here(mut place)) => {
                span.set_place(counted.place);
                let run = self.telemetry.run(&context.trace, &way.target, &mut place);
                run.announce(&context.trace, request.headers_mut());
                let answered = place.handle_http(request).await;
                run.end(&answered);
                answered
                    .map(|response| response.map(|body| body.map_err(BodyError::new).boxed_unsync()))
                    .map_err(|error| failure::of_component(&way.target, error))
            }
            Ok(Place::There) => {
                counted.place = metrics::Place::Remote;
                span.set_place(counted.place);
                self.send_http_there(way, request, &context).await
            }
            Err(error) => Err(error),
        };
        counted.end(&result);
        span.end(&result);
        result
    }

    async fn send_http_there(
        &self,
        way: &Way,
        request: Request<Body>,
        context: &CallContext,
    ) -> Result<Response<Body>, CallError> {
        let refused = |error: http_wire::WireError| CallError::Refused {
            target: way.target.to_string(),
            reason: error.to_string(),
        };
        let repeatable = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let (parameters, streams) = http_wire::encode_request(request).await.map_err(refused)?;
        let message = Message {
            function: HANDLE.clone(),
            encoding: Encoding::Http,
            types: [0; 8],
            parameters,
            repeatable: repeatable && streams.is_empty(),
            streams,
        };
        let answer = self.call_lattice(way, message, context).await?;
        http_wire::decode_response(answer.value, answer.streams).map_err(|error| CallError::NoResponse {
            target: way.target.to_string(),
            reason: error.to_string(),
        })
    }
}

/// The function of the handler interfaces.
static HANDLE: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "handle".into());
