//! Traces: what a call goes through on two hosts, as a collector of OpenTelemetry sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod collector;

use bytes::Bytes;
use http::Request;
use wattle_tests::{Answer, Contract, DEADLINE, Fleet, HostOptions, eventually, fetch, free_address};

use crate::collector::{CLIENT, Collector, INTERNAL, SERVER, Span};

/// The trace of a client, and the span within which it asks.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

/// A host that exports to the collector soon and in JSON.
fn traced(options: HostOptions, collector: &Collector) -> HostOptions {
    options
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// Hosts that all export.
async fn fleet(hosts: usize, collector: &Collector) -> Fleet {
    Fleet::start_with(hosts, |_, options| traced(options, collector)).await
}

/// A request within the client's trace, which is recorded or not.
async fn ask(url: &str, recorded: bool) -> Answer {
    let parent = format!("00-{TRACE}-{CLIENT_SPAN}-0{}", u8::from(recorded));
    let request = Request::get(url).header("traceparent", parent).header("tracestate", "acme=1");
    fetch(request.body(Bytes::new()).unwrap()).await.unwrap()
}

/// What each span is called, and its kind.
fn outline(spans: &[Span]) -> Vec<(&str, u64)> {
    spans.iter().map(|span| (span.name.as_str(), span.kind)).collect()
}

/// Each span is within the one before it.
fn assert_nested(spans: &[Span], outermost: &str) {
    let mut parent = outermost;
    for span in spans {
        assert_eq!(span.parent, parent, "{} is not where it belongs: {spans:#?}", span.name);
        parent = &span.id;
    }
}

#[tokio::test]
async fn one_trace_shows_server_router_lattice_and_component_on_two_hosts() {
    let collector = Collector::start().await;
    let fleet = Fleet::start_with(2, |number, options| {
        let options = traced(options, &collector).env("OTEL_RESOURCE_ATTRIBUTES", "zone=attic");
        options.env("OTEL_SERVICE_NAME", format!("host-{number}"))
    })
    .await;
    fleet.run_guest(1, "web", "misbehave", &[]).await;
    let url = fleet.expose(0, "web", "/hello").await;

    let answer = ask(&format!("{url}/headers?secret=1"), true).await;

    let spans = collector.trace(TRACE, 5).await;
    let expected = [
        ("GET", SERVER),
        ("call wasi:http/incoming-handler.handle", INTERNAL),
        ("send wasi:http/incoming-handler.handle", CLIENT),
        ("receive wasi:http/incoming-handler.handle", SERVER),
        ("run web", INTERNAL),
    ];
    assert_eq!(outline(&spans), expected);
    assert_nested(&spans, CLIENT_SPAN);
    assert!(spans.iter().all(|span| !span.failed), "{spans:#?}");
    for (span, host) in spans.iter().zip([0, 0, 0, 1, 1]) {
        assert_eq!(span.resource("service.name"), format!("host-{host}"));
        assert_eq!(span.resource("service.instance.id"), fleet.hosts[host].id());
        assert_eq!(span.resource("zone"), "attic");
    }
    let said = |span: usize, key: &str| spans[span].attribute(key);
    assert_eq!(said(0, "http.request.method"), "GET");
    assert_eq!(said(0, "url.path"), "/headers");
    assert_eq!(said(0, "http.response.status_code"), "200");
    for span in 1..4 {
        assert_eq!(said(span, "wattle.source"), "http-server");
        assert_eq!(said(span, "wattle.target"), "web");
        assert_eq!(said(span, "wattle.link"), "to-web");
        assert_eq!(said(span, "wattle.interface"), "wasi:http/incoming-handler");
        assert_eq!(said(span, "wattle.function"), "handle");
    }
    assert_eq!(said(1, "wattle.place"), "remote");
    assert_eq!(said(4, "wattle.target"), "web");
    let own = format!("header traceparent: 00-{TRACE}-{}-01\n", spans[4].id);
    assert!(answer.text().contains(&own), "the component is told its own span: {}", answer.text());
    assert!(answer.text().contains("header tracestate: acme=1\n"), "{}", answer.text());
}

#[tokio::test]
async fn what_components_call_is_within_the_span_of_the_caller() {
    let collector = Collector::start().await;
    let fleet = fleet(2, &collector).await;
    let texts = Contract::of(&["text: func(v: string) -> string"]);
    fleet.run(0, "relay", &texts.relay(), &[]).await;
    fleet.run(1, "echo", &texts.echo(), &[]).await;
    fleet.link("relay", "echo", "acme:calls/echo").await;

    fleet.ask("relay", "acme:calls/relay.text", &["\"hello\""]).await;

    let root = eventually("the span of the command's call", DEADLINE, || async {
        collector.spans().into_iter().find(|span| span.name == "receive acme:calls/relay.text")
    })
    .await;
    let spans = collector.trace(&root.trace, 6).await;
    let expected = [
        ("receive acme:calls/relay.text", SERVER),
        ("run relay", INTERNAL),
        ("call acme:calls/echo.text", INTERNAL),
        ("send acme:calls/echo.text", CLIENT),
        ("receive acme:calls/echo.text", SERVER),
        ("run echo", INTERNAL),
    ];
    assert_eq!(outline(&spans), expected);
    assert_nested(&spans, "");
}

#[tokio::test]
async fn a_call_in_the_same_process_has_no_way_over_the_lattice() {
    let collector = Collector::start().await;
    let fleet = fleet(1, &collector).await;
    fleet.run_guest(0, "web", "misbehave", &[]).await;
    let url = fleet.expose(0, "web", "/hello").await;

    let answer = ask(&format!("{url}/trap"), true).await;

    assert_eq!(answer.status, 500);
    let spans = collector.trace(TRACE, 3).await;
    let expected =
        [("GET", SERVER), ("call wasi:http/incoming-handler.handle", INTERNAL), ("run web", INTERNAL)];
    assert_eq!(outline(&spans), expected);
    assert_nested(&spans, CLIENT_SPAN);
    assert_eq!(spans[1].attribute("wattle.place"), "local");
    assert!(spans.iter().all(|span| span.failed), "the trap is seen in each: {spans:#?}");
}

#[tokio::test]
async fn a_host_without_tracing_hands_the_trace_on_as_it_is() {
    let collector = Collector::start().await;
    let fleet = Fleet::start_with(2, |number, options| match number {
        0 => options,
        _ => traced(options, &collector),
    })
    .await;
    fleet.run_guest(0, "near", "misbehave", &[]).await;
    fleet.run_guest(1, "far", "misbehave", &[]).await;
    let near = fleet.expose(0, "near", "/hello").await;
    let far = fleet.expose(0, "far", "/hello").await;

    let answer = ask(&format!("{near}/headers"), true).await.text();
    let unchanged = format!("header traceparent: 00-{TRACE}-{CLIENT_SPAN}-01\n");
    assert!(answer.contains(&unchanged) && answer.contains("header tracestate: acme=1\n"), "{answer}");

    ask(&format!("{far}/hello"), true).await;
    let spans = collector.trace(TRACE, 2).await;
    let expected = [("receive wasi:http/incoming-handler.handle", SERVER), ("run far", INTERNAL)];
    assert_eq!(outline(&spans), expected);
    assert_nested(&spans, CLIENT_SPAN);
}

#[tokio::test]
async fn only_sampled_traces_are_exported() {
    let collector = Collector::start().await;
    let mut fleet = Fleet::start_with(1, |_, options| {
        traced(options, &collector).env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    })
    .await;
    fleet.run_guest(0, "web", "misbehave", &[]).await;
    let url = fleet.expose(0, "web", "/hello").await; // which asks without a trace

    ask(&format!("{url}/state"), false).await;
    ask(&format!("{url}/hello"), true).await;

    collector.trace(TRACE, 3).await;
    fleet.hosts[0].term();
    assert!(fleet.hosts[0].wait_exit().await.success(), "{}", fleet.hosts[0].log());
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert_eq!(spans.iter().find(|span| span.name == "GET").unwrap().attribute("url.path"), "/hello");
}

#[tokio::test]
async fn the_last_spans_are_exported_when_the_host_stops() {
    let collector = Collector::start().await;
    let mut fleet = Fleet::start_with(1, |_, options| {
        options
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/here", collector.endpoint()))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    })
    .await;
    fleet.run_guest(0, "web", "misbehave", &[]).await;
    let url = fleet.expose(0, "web", "/hello").await;
    ask(&format!("{url}/hello"), true).await;
    assert!(collector.exports().is_empty(), "an hour is not over");

    fleet.hosts[0].term();
    assert!(fleet.hosts[0].wait_exit().await.success(), "{}", fleet.hosts[0].log());

    let exports = collector.exports();
    let [export] = exports.as_slice() else { panic!("one export was to come: {exports:?}") };
    assert_eq!(export.path, "/here");
    assert_eq!(export.headers["content-type"], "application/x-protobuf");
    assert_eq!(export.headers["authorization"], "Bearer hunter2");
    let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    assert!(export.body.windows(16).any(|bytes| bytes == trace), "the trace is in it");
    assert!(!fleet.hosts[0].log().contains("hunter2"), "{}", fleet.hosts[0].log());
}

#[tokio::test]
async fn without_a_collector_spans_are_counted_as_lost_and_calls_go_on() {
    let nobody = format!("http://{}", free_address());
    let mut fleet = Fleet::start_with(1, |_, options| {
        options.env("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody).env("OTEL_BSP_SCHEDULE_DELAY", "50")
    })
    .await;
    fleet.run_guest(0, "web", "misbehave", &[]).await;
    let url = fleet.expose(0, "web", "/hello").await;
    eventually("lost spans to be counted", DEADLINE, || async {
        assert_eq!(ask(&format!("{url}/hello"), true).await.status, 200);
        let lost = fleet.metric(0, "wattle_spans_dropped_total", &["reason=\"export_failed\""]).await;
        (lost >= 3.0).then_some(())
    })
    .await;
    assert_eq!(fleet.metric(0, "wattle_spans_exported_total", &[]).await, 0.0);
    fleet.hosts[0].wait_for_log("spans can't be exported").await;

    fleet.hosts[0].term();
    assert!(fleet.hosts[0].wait_exit().await.success(), "{}", fleet.hosts[0].log());
}

#[tokio::test]
async fn what_can_not_be_done_is_said_and_the_host_goes_on() {
    let fleet = Fleet::start_with(1, |_, options| {
        options
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    })
    .await;
    let line = fleet.hosts[0].wait_for_log("no traces are exported").await;
    assert!(line.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{line}");
}
