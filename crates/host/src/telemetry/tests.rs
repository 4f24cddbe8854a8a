use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Semaphore;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PATIENCE: Duration = Duration::from_secs(10);
/// So long that nothing is exported unless a batch is full or someone asks for it.
const NEVER: Duration = Duration::from_secs(3600);

/// A collector that keeps what it gets.
#[derive(Clone, Debug)]
struct Collector {
    batches: Arc<Mutex<Vec<Vec<SpanData>>>>,
    /// Each export waits for one of these.
    permits: Arc<Semaphore>,
    refuses: bool,
}

impl Collector {
    fn new() -> Self {
        Self { batches: Arc::default(), permits: Arc::new(Semaphore::new(1000)), refuses: false }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.batches.lock().unwrap().concat()
    }

    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.permits.acquire().await.unwrap().forget();
        self.batches.lock().unwrap().push(batch);
        if self.refuses { Err(OTelSdkError::InternalFailure("no room".to_owned())) } else { Ok(()) }
    }
}

fn telemetry(collector: &Collector, capacity: usize, batch: usize) -> Telemetry {
    let queue = SpanQueue { capacity, batch, delay: NEVER };
    Telemetry::start(collector.clone(), Resource::builder_empty().build(), queue)
}

fn trace(parent: &str, state: &str) -> TraceContext {
    TraceContext { parent: parent.to_owned(), state: state.to_owned() }
}

fn span(telemetry: &Telemetry, trace: &TraceContext) -> Span {
    telemetry.span(SpanKind::Internal, trace, || ("work".to_owned(), Vec::new()))
}

#[test]
fn without_telemetry_a_span_is_nothing_and_the_trace_goes_on() {
    let telemetry = Telemetry::default();
    let outer = trace("whatever the caller said", "a=1");
    let span = telemetry
        .span(SpanKind::Server, &outer, || unreachable!("nobody wants to know what the span is called"));
    assert!(matches!(span.trace(&outer), Cow::Borrowed(same) if std::ptr::eq(same, &outer)));
    let context = CallContext { trace: outer, ..CallContext::outermost(tokio::time::Instant::now()) };
    assert!(matches!(span.within(&context), Cow::Borrowed(same) if std::ptr::eq(same, &context)));
    assert_eq!(size_of::<Span>(), size_of::<usize>());
}

#[tokio::test]
async fn spans_are_within_each_other_and_within_the_callers() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 100);
    let outermost = trace(PARENT, "a=1");
    let outer = span(&telemetry, &outermost);
    let within = outer.trace(&outermost).into_owned();
    assert_eq!(within.state, "a=1");
    let inner = span(&telemetry, &within);
    inner.succeed();
    outer.succeed();
    telemetry.flush(PATIENCE).await;
    let spans = collector.spans();
    let [inner, outer] = spans.as_slice() else { panic!("two spans were to come: {spans:?}") };
    let trace_id = TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    assert_eq!([inner, outer].map(|span| span.span_context.trace_id()), [trace_id; 2]);
    assert_eq!(outer.parent_span_id, SpanId::from_hex("00f067aa0ba902b7").unwrap());
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert!(within.parent.contains(&outer.span_context.span_id().to_string()));
}

#[tokio::test]
async fn a_call_without_a_trace_or_with_a_broken_one_begins_one() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 100);
    for parent in ["", "nonsense"] {
        let outer = trace(parent, "");
        let span = span(&telemetry, &outer);
        assert_eq!(span.trace(&outer).parent.len(), PARENT.len());
        span.succeed();
    }
    telemetry.flush(PATIENCE).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| span.parent_span_id == SpanId::INVALID));
    assert_ne!(spans[0].span_context.trace_id(), spans[1].span_context.trace_id());
}

#[tokio::test]
async fn what_the_caller_does_not_record_is_not_recorded_here() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 100);
    let outer = trace(&PARENT.replace("-01", "-00"), "");
    let span = span(&telemetry, &outer);
    assert!(span.trace(&outer).parent.ends_with("-00"), "those that are called don't record it either");
    span.succeed();
    telemetry.flush(PATIENCE).await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn a_span_ends_as_its_work_does() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 100);
    let begin = || span(&telemetry, &TraceContext::default());
    begin().end(&Ok::<_, String>(()));
    begin().end(&Err::<(), _>("it trapped"));
    drop(begin());
    telemetry.flush(PATIENCE).await;
    let ends: Vec<_> = collector.spans().into_iter().map(|span| span.status).collect();
    let expected =
        [Status::Unset, Status::error("it trapped"), Status::error("it was given up before its end")];
    assert_eq!(ends, expected);
}

#[tokio::test]
async fn spans_are_exported_in_batches() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 4);
    for _ in 0..10 {
        span(&telemetry, &TraceContext::default()).succeed();
    }
    telemetry.flush(PATIENCE).await;
    assert_eq!(collector.sizes().iter().sum::<usize>(), 10);
    assert!(collector.sizes().iter().all(|size| (1..=4).contains(size)), "{:?}", collector.sizes());
    assert_eq!(telemetry.counters().unwrap().exported.get(), 10);
}

#[tokio::test]
async fn a_full_batch_is_exported_without_being_asked_for() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 4);
    for _ in 0..4 {
        span(&telemetry, &TraceContext::default()).succeed();
    }
    let exported = async {
        while telemetry.counters().unwrap().exported.get() < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, exported).await.expect("the batch is exported");
}

#[tokio::test]
async fn what_finds_the_queue_full_is_dropped_and_counted() {
    let collector = Collector { permits: Arc::new(Semaphore::new(0)), ..Collector::new() };
    let telemetry = telemetry(&collector, 4, 4);
    for _ in 0..10 {
        span(&telemetry, &TraceContext::default()).succeed();
    }
    let full = telemetry.counters().unwrap().dropped("queue_full");
    assert_eq!(full, 6, "nobody took one, as this task was not interrupted");
    assert!(
        !telemetry.0.as_ref().unwrap().export.flush(Duration::from_millis(50)).await,
        "the wait is bounded"
    );
    collector.permits.add_permits(10);
    telemetry.flush(PATIENCE).await;
    assert_eq!(collector.spans().len(), 4);
}

#[tokio::test]
async fn what_the_collector_refuses_is_counted() {
    let collector = Collector { refuses: true, ..Collector::new() };
    let telemetry = telemetry(&collector, 100, 100);
    span(&telemetry, &TraceContext::default()).succeed();
    telemetry.flush(PATIENCE).await;
    let counters = telemetry.counters().unwrap();
    assert_eq!((counters.exported.get(), counters.dropped("export_failed")), (0, 1));
}

#[tokio::test]
async fn the_last_spans_are_exported_when_all_is_dropped() {
    let collector = Collector::new();
    let telemetry = telemetry(&collector, 100, 100);
    span(&telemetry, &TraceContext::default()).succeed();
    drop(telemetry);
    let exported = async {
        while collector.spans().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, exported).await.expect("the span is exported");
}
