//! What the host counts, in the text format of Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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
    source: String,
    target: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabels {
    target: String,
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

impl Outcome {
    fn label(self) -> &'static str {
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
    pub(crate) fn new() -> Self {
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
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("calls", "Calls by source, target and outcome", self.calls.clone());
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

    pub(crate) fn call(&self, source: &str, target: &str, outcome: Outcome, took: Duration) {
        let (source, target) = (source.to_owned(), target.to_owned());
        self.durations.get_or_create(&TargetLabels { target: target.clone() }).observe(took.as_secs_f64());
        self.calls.get_or_create(&CallLabels { source, target, outcome: outcome.label() }).inc();
    }

    pub(crate) fn refused(&self, command: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { command }).inc();
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::warn!(%error, "metrics can't be written");
        }
        text
    }
}
