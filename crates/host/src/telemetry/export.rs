//! Finished spans on their way out: a bounded queue, and a task that exports them in batches.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// How finished spans wait to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanQueue {
    /// Spans that may wait; more are dropped, and counted.
    pub capacity: usize,
    /// Most spans that are exported at once. As soon as so many wait they are exported.
    pub batch: usize,
    /// How long the first one waits for others.
    pub delay: Duration,
}

/// As OpenTelemetry recommends.
impl Default for SpanQueue {
    fn default() -> Self {
        Self { capacity: 2048, batch: 512, delay: Duration::from_secs(5) }
    }
}

/// What became of finished spans.
#[derive(Clone, Debug)]
pub(crate) struct SpanCounters {
    /// Spans that the collector took.
    pub(crate) exported: Counter,
    /// Spans that were lost, by the reason.
    pub(crate) dropped: Family<Dropped, Counter>,
    queue_full: Counter,
    export_failed: Counter,
}

/// Why a span was lost.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Dropped {
    reason: &'static str,
}

impl SpanCounters {
    fn new() -> Self {
        let dropped = Family::<Dropped, Counter>::default();
        let because = |reason| dropped.get_or_create(&Dropped { reason }).clone();
        let (queue_full, export_failed) = (because("queue_full"), because("export_failed"));
        Self { exported: Counter::default(), dropped, queue_full, export_failed }
    }

    /// How many were lost for this reason.
    #[cfg(test)]
    pub(super) fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&Dropped { reason }).get()
    }
}

/// The sending end of the queue, where spans end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    batch: usize,
    batch_waits: Arc<Notify>,
    counters: SpanCounters,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.spans.try_send(span).is_err() {
            self.counters.queue_full.inc();
        }
        if self.spans.max_capacity() - self.spans.capacity() >= self.batch {
            self.batch_waits.notify_one();
        }
    }

    /// The task exports what waits when its [`Handle`] asks for it, without blocking anyone.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The task ends with its [`Handle`].
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What the task that exports is asked through. It exports what waits, and ends, when this is dropped.
#[derive(Debug)]
pub(super) struct Handle {
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    counters: SpanCounters,
}

impl Handle {
    pub(super) fn counters(&self) -> &SpanCounters {
        &self.counters
    }

    /// Exports what waits now. Answers whether that was over in time.
    pub(super) async fn flush(&self, patience: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async { self.flushes.send(done).await.is_ok() && flushed.await.is_ok() };
        tokio::time::timeout(patience, flush).await.unwrap_or(false)
    }
}

/// Starts the task that exports.
pub(super) fn start(exporter: impl SpanExporter + 'static, queue: SpanQueue) -> (Queue, Handle) {
    let capacity = queue.capacity.max(1);
    let batch = queue.batch.clamp(1, capacity);
    let (spans, waiting) = mpsc::channel(capacity);
    let (flushes, asked) = mpsc::channel(1);
    let counters = SpanCounters::new();
    let batch_waits = Arc::new(Notify::new());
    let export = Export { exporter, waiting, batch, counters: counters.clone(), failing: false };
    tokio::spawn(export.run(asked, batch_waits.clone(), queue.delay));
    (Queue { spans, batch, batch_waits, counters: counters.clone() }, Handle { flushes, counters })
}

struct Export<E> {
    exporter: E,
    waiting: mpsc::Receiver<SpanData>,
    batch: usize,
    counters: SpanCounters,
    /// Whether the last batch was lost.
    failing: bool,
}

impl<E: SpanExporter> Export<E> {
    async fn run(
        mut self,
        mut flushes: mpsc::Receiver<oneshot::Sender<()>>,
        batch_waits: Arc<Notify>,
        delay: Duration,
    ) {
        // Spans are looked for, rather than waited for, so that none has to wake this task.
        let delay = delay.max(Duration::from_millis(1));
        let mut tick = tokio::time::interval_at(Instant::now() + delay, delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let flush = tokio::select! {
                flush = flushes.recv() => Some(flush),
                () = batch_waits.notified() => None,
                _ = tick.tick() => None,
            };
            self.export_waiting().await;
            match flush {
                None => {}
                // Whoever asked may have lost patience meanwhile.
                Some(Some(done)) => drop(done.send(())),
                Some(None) => return,
            }
        }
    }

    /// Exports what waits now; what is added meanwhile waits for the next time.
    async fn export_waiting(&mut self) {
        let mut left = self.waiting.len();
        while left > 0 {
            let count = left.min(self.batch);
            left -= count;
            let spans: Vec<_> = std::iter::from_fn(|| self.waiting.try_recv().ok()).take(count).collect();
            self.export(spans).await;
        }
    }

    async fn export(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        match self.exporter.export(spans).await {
            Ok(()) => {
                self.counters.exported.inc_by(count);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.counters.export_failed.inc_by(count);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "spans can't be exported, and are lost until the collector takes them");
                }
            }
        }
    }
}
