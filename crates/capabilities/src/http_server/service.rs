//! One request: from the client to the component, and the response back.

use super::{
    listener::Shared,
    routes::{Route, make_absolute},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use wattle_provider::{Body, BodyError, CallError, HttpCall, body};

/// Headers that are about one connection and end there (RFC 9110, section 7.6.1), beside those that
/// `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Answers a request, with the component's response or with one that says why there is none.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(call(&shared, request).await.unwrap_or_else(Failure::into_response))
}

async fn call(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, incoming) = request.into_parts();
    let route = route(shared, &mut head)?;
    // Empty for most requests, and then not worth a box.
    let body = if incoming.is_end_stream() {
        body::empty()
    } else {
        incoming.map_err(BodyError::new).boxed_unsync()
    };
    let call = shared.server.lattice.handle_http(HttpCall {
        source: shared.server.id.clone(),
        target: route.target.clone(),
        link_name: route.link_name.clone(),
        request: Request::from_parts(head, body),
    });
    let outcome = match route.timeout {
        None => call.await,
        Some(after) => match tokio::time::timeout(after, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout { target: route.target.clone(), after }),
        },
    };
    match outcome {
        Ok(response) => finish(shared, route, response),
        Err(error) => {
            let failure = Failure::of_call(&error);
            warn(shared, &route, failure.status, &error);
            Err(failure)
        }
    }
}

/// Finds the request's route and makes its head fit for a component.
fn route(shared: &Shared, head: &mut request::Parts) -> Result<Arc<Route>, Failure> {
    if head.method == Method::CONNECT {
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, "CONNECT is not served here"));
    }
    make_absolute(&mut head.uri, &mut head.headers, head.version, shared.address)
        .map_err(|reason| Failure::new(StatusCode::BAD_REQUEST, reason))?;
    let route = shared.routes.load().find(&head.uri, &head.headers);
    let route = route
        .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "no component is linked for this address"))?;
    strip_hop_by_hop(&mut head.headers);
    // What hyper keeps there is for an upgrade of the connection, which a component can't have.
    head.extensions.clear();
    Ok(route)
}

/// Makes a component's response fit for the connection.
fn finish(
    shared: &Arc<Shared>,
    route: Arc<Route>,
    response: Response<Body>,
) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, inner) = response.into_parts();
    if head.status.is_informational() {
        let status = StatusCode::BAD_GATEWAY;
        warn(shared, &route, status, &format_args!("it answered {}, which is no final status", head.status));
        return Err(Failure::new(status, format!("component {} gave no valid response", route.target)));
    }
    strip_hop_by_hop(&mut head.headers);
    let has_trailers = head.headers.contains_key(header::TRAILER);
    if has_trailers {
        // HTTP/1.1 has a place for trailers only in a body without a length.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    let origin = Some((Arc::clone(shared), route));
    Ok(Response::from_parts(head, ResponseBody { inner, origin, has_trailers }))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // Not about the connection, whatever the message says, and the body's end depends on the second.
            .filter(|name| name != header::HOST && name != header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Tells the operator of a call that failed; of many at once, only now and then.
fn warn(shared: &Shared, route: &Route, status: StatusCode, error: &dyn std::fmt::Display) {
    let Some(held_back) = shared.server.warnings.pass() else { return };
    tracing::warn!(
        component = route.target,
        link_name = route.link_name,
        status = status.as_u16(),
        %error,
        held_back,
        "http request failed"
    );
}

/// Why the client gets no response from a component, in words that tell nothing of the host's inside.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    text: String,
    /// Whether another try soon may go better.
    retry: bool,
}

impl Failure {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry: false }
    }

    fn of_call(error: &CallError) -> Self {
        let (status, target, text, retry) = match error {
            CallError::NotRunning { target } => {
                (StatusCode::SERVICE_UNAVAILABLE, target, "is not running", true)
            }
            CallError::Unreachable { target, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, target, "can't be reached", true)
            }
            CallError::NoLink { target, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, target, "is not linked", true)
            }
            CallError::Busy { target } => (StatusCode::SERVICE_UNAVAILABLE, target, "is busy", true),
            CallError::Canceled { target } => (StatusCode::SERVICE_UNAVAILABLE, target, "is stopping", true),
            CallError::Timeout { target, .. } => {
                (StatusCode::GATEWAY_TIMEOUT, target, "did not answer in time", false)
            }
            CallError::Trapped { target, .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, target, "crashed", false)
            }
            CallError::NoResponse { target, .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, target, "gave no response", false)
            }
            CallError::Unsupported { target, .. } => {
                (StatusCode::BAD_GATEWAY, target, "does not serve HTTP", false)
            }
            CallError::Lost { target, .. } => (StatusCode::BAD_GATEWAY, target, "was lost on the way", false),
            CallError::Refused { target, .. } => (StatusCode::FORBIDDEN, target, "may not be called", false),
        };
        Self { status, text: format!("component {target} {text}"), retry }
    }

    fn into_response(self) -> Response<ResponseBody> {
        let inner = body::full(self.text + "\n");
        let mut response = Response::new(ResponseBody { inner, origin: None, has_trailers: false });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The body of a response. Tells the operator if a component breaks off in the middle of it.
pub(super) struct ResponseBody {
    inner: Body,
    /// Whose body it is. `None` for what the server says itself.
    origin: Option<(Arc<Shared>, Arc<Route>)>,
    /// Whether its head announces trailers.
    has_trailers: bool,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let (Poll::Ready(Some(Err(error))), Some((shared, route))) = (&frame, &self.origin) {
            warn(shared, route, StatusCode::OK, error);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_trailers { SizeHint::default() } else { self.inner.size_hint() }
    }
}
