//! What a call goes through, as spans: the HTTP server, the router, the way over the lattice, the other host, and the
//! component.

use std::borrow::Cow;
use std::sync::Arc;

use http::{Request, Response};
use opentelemetry::KeyValue;
use wattle_lattice::{Incoming, Outcome};
use wattle_provider::CallError;
use wattle_runtime::{Reserved, TraceContext};

use crate::calls::router::Way;
use crate::metrics::Place;
use crate::telemetry::{Span, SpanKind, Telemetry};

impl Telemetry {
    /// The HTTP server answers a request.
    pub(super) fn http_request<B>(&self, trace: &TraceContext, request: &Request<B>) -> Span {
        self.span(SpanKind::Server, trace, || {
            let method = request.method().to_string();
            let attributes = vec![
                KeyValue::new("http.request.method", method.clone()),
                KeyValue::new("url.path", request.uri().path().to_owned()),
            ];
            (method, attributes)
        })
    }

    /// A call is led to its target: the choice of the place, the wait for it, and all that the target does.
    pub(super) fn route(&self, trace: &TraceContext, way: &Way, function: &Arc<str>) -> Span {
        let Way { source, target, link_name, interface, .. } = way;
        self.span(SpanKind::Internal, trace, || {
            described("call", [source, target, link_name, interface, function])
        })
    }

    /// A call is at a member of the lattice.
    pub(super) fn send(&self, trace: &TraceContext, way: &Way, function: &Arc<str>) -> Span {
        let Way { source, target, link_name, interface, .. } = way;
        self.span(SpanKind::Client, trace, || {
            described("send", [source, target, link_name, interface, function])
        })
    }

    /// A call came from a member of the lattice.
    pub(super) fn receive(&self, trace: &TraceContext, call: &Incoming) -> Span {
        let Incoming { source, target, link_name, interface, function, .. } = call;
        self.span(SpanKind::Server, trace, || {
            described("receive", [source, target, link_name, interface, function])
        })
    }

    /// A component runs; what it calls is within this span.
    pub(super) fn run(&self, trace: &TraceContext, target: &Arc<str>, place: &mut Reserved) -> Span {
        let span = self.span(SpanKind::Internal, trace, || {
            (format!("run {target}"), vec![KeyValue::new("wattle.target", target.clone())])
        });
        if let Cow::Owned(trace) = span.trace(trace) {
            place.set_trace(trace);
        }
        span
    }
}

fn described(what: &str, call: [&Arc<str>; 5]) -> (String, Vec<KeyValue>) {
    const KEYS: [&str; 5] =
        ["wattle.source", "wattle.target", "wattle.link", "wattle.interface", "wattle.function"];
    let [.., interface, function] = call;
    let attributes =
        KEYS.into_iter().zip(call).map(|(key, value)| KeyValue::new(key, value.clone())).collect();
    (format!("{what} {interface}.{function}"), attributes)
}

impl Span {
    /// Says where a call is carried out.
    pub(super) fn set_place(&mut self, place: Place) {
        self.set("wattle.place", place.label());
    }

    /// Ends the span of an HTTP server's request.
    pub(super) fn end_http<B>(mut self, result: &Result<Response<B>, CallError>) {
        match result {
            Ok(response) => {
                let status = response.status();
                self.set("http.response.status_code", i64::from(status.as_u16()));
                if status.is_server_error() { self.fail(&status) } else { self.succeed() }
            }
            Err(error) => self.fail(error),
        }
    }

    /// Ends the span of a call from the lattice.
    pub(super) fn end_answer(self, outcome: &Outcome) {
        match outcome {
            Outcome::Value { .. } => self.succeed(),
            Outcome::Failed { message, .. } | Outcome::Refused { message, .. } => self.fail(message),
        }
    }
}
