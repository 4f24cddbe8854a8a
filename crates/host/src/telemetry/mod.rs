//! Traces: what a call goes through, as spans of the trace that its caller began.
//!
//! The W3C trace context of a call is handed on whether or not this host records anything. Where it does not, a span is
//! nothing at all: it allocates nothing, takes no lock and does not look at the clock.

mod export;
mod headers;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanContext, Status, TraceFlags, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanExporter};
use wattle_runtime::{CallContext, TraceContext};

use crate::telemetry::headers::{TRACE_PARENT, TRACE_STATE};

pub(crate) use export::SpanCounters;
pub use export::SpanQueue;
pub(crate) use headers::trace_of;
pub(crate) use opentelemetry::trace::SpanKind;

/// Where a host's spans go; by default nowhere.
#[derive(Clone, Default)]
pub struct Telemetry(Option<Arc<Recording>>);

struct Recording {
    tracer: SdkTracer,
    export: export::Handle,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Telemetry(on)" } else { "Telemetry(off)" })
    }
}

impl Telemetry {
    /// Records spans and gives them to the exporter in batches, in a task of its own, until the last clone is dropped.
    /// Which traces are recorded, and how long a span may be, is what the standard variables of OpenTelemetry say
    /// (`OTEL_TRACES_SAMPLER`, `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` and the like). To be called within a Tokio runtime.
    #[must_use]
    pub fn start(mut exporter: impl SpanExporter + 'static, resource: Resource, queue: SpanQueue) -> Self {
        exporter.set_resource(&resource);
        let (processor, export) = export::start(exporter, queue);
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        let scope = InstrumentationScope::builder("wattle").with_version(env!("CARGO_PKG_VERSION")).build();
        Self(Some(Arc::new(Recording { tracer: provider.tracer_with_scope(scope), export })))
    }

    /// Begins a span within the trace of a call. What it is called, and what is said of it, is asked only where spans
    /// are recorded.
    pub(crate) fn span(
        &self,
        kind: SpanKind,
        trace: &TraceContext,
        describe: impl FnOnce() -> (String, Vec<KeyValue>),
    ) -> Span {
        let Some(recording) = &self.0 else { return Span(None) };
        let (name, attributes) = describe();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(trace));
        let span = recording.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        Span(Some(Box::new(span.start_with_context(&recording.tracer, &parent))))
    }

    /// What was exported and what was lost, where spans are recorded.
    pub(crate) fn counters(&self) -> Option<&SpanCounters> {
        self.0.as_ref().map(|recording| recording.export.counters())
    }

    /// Exports the spans that are finished, and waits for it no longer than this.
    pub(crate) async fn flush(&self, patience: Duration) {
        if let Some(recording) = &self.0
            && !recording.export.flush(patience).await
        {
            tracing::warn!("the last spans could not be exported within {patience:?} and are lost");
        }
    }
}

/// Something that takes time within a call. Dropping it before its end says that the call was given up.
#[must_use]
pub(crate) struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// The trace context of what is called within this span: the outer one, where no spans are recorded.
    pub(crate) fn trace<'a>(&self, outer: &'a TraceContext) -> Cow<'a, TraceContext> {
        match &self.0 {
            None => Cow::Borrowed(outer),
            Some(span) => Cow::Owned(trace_context(span.span_context())),
        }
    }

    /// The context of what is called within this span.
    pub(crate) fn within<'a>(&self, outer: &'a CallContext) -> Cow<'a, CallContext> {
        match self.trace(&outer.trace) {
            Cow::Borrowed(_) => Cow::Borrowed(outer),
            Cow::Owned(trace) => {
                Cow::Owned(CallContext { deadline: outer.deadline, depth: outer.depth, trace })
            }
        }
    }

    /// Tells the receiver of an HTTP request that it is called within this span.
    pub(crate) fn announce(&self, outer: &TraceContext, headers: &mut HeaderMap) {
        headers::hand_on(&self.trace(outer), headers);
    }

    /// Says something of the span that was not known when it began.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Ends the span as its work ended.
    pub(crate) fn end<T, E: Display>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.succeed(),
            Err(error) => self.fail(error),
        }
    }

    /// Ends the span of work that went well.
    pub(crate) fn succeed(mut self) {
        drop(self.0.take());
    }

    /// Ends the span of work that failed.
    pub(crate) fn fail(mut self, why: &dyn Display) {
        if let Some(mut span) = self.0.take() {
            span.set_status(Status::error(why.to_string()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error("it was given up before its end"));
        }
    }
}

fn trace_context(span: &SpanContext) -> TraceContext {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    TraceContext {
        parent: format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()),
        state: span.trace_state().header(),
    }
}

/// A trace context as OpenTelemetry reads it.
struct Carrier<'a>(&'a TraceContext);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = match key {
            TRACE_PARENT => &self.0.parent,
            TRACE_STATE => &self.0.state,
            _ => return None,
        };
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACE_PARENT, TRACE_STATE]
    }
}

#[cfg(test)]
mod tests;
