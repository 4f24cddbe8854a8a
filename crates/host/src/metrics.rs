//! What the host counts, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wattle_lattice::Seat;

use crate::telemetry::SpanCounters;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// All counters of one host.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    durations: Family<TargetLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    pub(crate) components: Gauge,
    pub(crate) providers: Gauge,
    pub(crate) links: Gauge,
    pub(crate) state_ready: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    source: Arc<str>,
    target: Arc<str>,
    outcome: &'static str,
    place: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabels {
    target: Arc<str>,
    place: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    command: &'static str,
}

/// How a call ended, as far as its answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Busy,
    Timeout,
    Failed,
    Canceled,
}

/// Where a call was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this process.
    Local,
    /// At a member of the lattice.
    Remote,
}

impl Place {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

impl Outcome {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

impl Metrics {
    /// Counters at zero, beside those of the spans where spans are recorded.
    pub(crate) fn new(spans: Option<&SpanCounters>) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            registry: Registry::with_prefix("wattle"),
            calls: Family::default(),
            durations: Family::new_with_constructor(histogram),
            refusals: Family::default(),
            components: Gauge::default(),
            providers: Gauge::default(),
            links: Gauge::default(),
            state_ready: Gauge::default(),
        };
        metrics.register();
        if let Some(spans) = spans {
            let registry = &mut metrics.registry;
            registry.register("spans_exported", "Spans that the collector took", spans.exported.clone());
            registry.register("spans_dropped", "Spans that were lost, by the reason", spans.dropped.clone());
        }
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("calls", "Calls by source, target, outcome and place", self.calls.clone());
        registry.register("call_duration_seconds", "Time to the head of the answer", self.durations.clone());
        registry.register("refused_commands", "Control commands refused, by kind", self.refusals.clone());
        registry.register("components", "Components on this host", self.components.clone());
        registry.register("providers", "Providers on this host", self.providers.clone());
        registry.register("links", "Links known to this host", self.links.clone());
        registry.register(
            "state_ready",
            "1 while the lattice's state is caught up",
            self.state_ready.clone(),
        );
    }

    pub(crate) fn call(
        &self,
        source: &Arc<str>,
        target: &Arc<str>,
        outcome: Outcome,
        place: Place,
        took: Duration,
    ) {
        let (source, target, place) = (source.clone(), target.clone(), place.label());
        let duration = TargetLabels { target: target.clone(), place };
        self.durations.get_or_create(&duration).observe(took.as_secs_f64());
        self.calls.get_or_create(&CallLabels { source, target, outcome: outcome.label(), place }).inc();
    }

    pub(crate) fn refused(&self, command: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { command }).inc();
    }

    /// All counters as text, with those of the seat where there is one.
    pub(crate) fn encode(&self, seat: Option<&Seat>) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| seat.map_or(Ok(()), |seat| encode_seat(&mut text, seat)))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            tracing::warn!(%error, "metrics can't be written");
        }
        text
    }
}

/// What the seat tells of how things are now; all the rest only grows.
const GAUGES: [&str; 4] = ["calls_in_flight", "sessions", "discovery_targets", "discovery_peers"];

/// The seat counts by itself, without labels of strings on the call path; here its counters get their names.
fn encode_seat(text: &mut String, seat: &Seat) -> std::fmt::Result {
    let mut last = "";
    for (name, label, value) in seat.counters() {
        let (kind, suffix) = if GAUGES.contains(&name) { ("gauge", "") } else { ("counter", "_total") };
        if name != last {
            writeln!(text, "# TYPE wattle_seat_{name} {kind}")?;
            last = name;
        }
        match label.as_str() {
            "" => writeln!(text, "wattle_seat_{name}{suffix} {value}")?,
            code => writeln!(text, "wattle_seat_{name}{suffix}{{code=\"{code}\"}} {value}")?,
        }
    }
    Ok(())
}
