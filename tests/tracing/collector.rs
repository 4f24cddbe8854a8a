//! A receiver of OTLP over HTTP that keeps what it gets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use wattle_tests::{DEADLINE, eventually};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Takes all that is sent to it.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    exports: Arc<Mutex<Vec<Export>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exports = Arc::<Mutex<Vec<Export>>>::default();
        let collector = Self { address, exports: exports.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let exports = exports.clone();
                let service = service_fn(move |request| take(exports.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        collector
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        self.exports.lock().unwrap().clone()
    }

    /// The spans that came as JSON, in the order in which they came.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.exports().iter().flat_map(|export| spans(&export.body)).collect()
    }

    /// Waits until a trace has so many spans, and gives them in the order in which they began.
    ///
    /// # Panics
    /// When it does not come to have them.
    pub(crate) async fn trace(&self, id: &str, count: usize) -> Vec<Span> {
        let mut trace = eventually(&format!("{count} spans of the trace {id}"), DEADLINE, || async {
            let spans = self.spans().into_iter().filter(|span| span.trace == id);
            Some(spans.collect::<Vec<_>>()).filter(|spans| spans.len() >= count)
        })
        .await;
        trace.sort_by_key(|span| span.start);
        trace
    }
}

async fn take(
    exports: Arc<Mutex<Vec<Export>>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        let path = head.uri.path().to_owned();
        exports.lock().unwrap().push(Export { path, headers: head.headers, body: body.to_bytes() });
    }
    Ok(Response::new(Empty::new()))
}

/// What a kind of span is in OTLP.
pub(crate) const INTERNAL: u64 = 1;
pub(crate) const SERVER: u64 = 2;
pub(crate) const CLIENT: u64 = 3;

/// A span, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) failed: bool,
    start: u64,
    attributes: Value,
    resource: Value,
}

impl Span {
    /// An attribute as text, empty where there is none.
    pub(crate) fn attribute(&self, key: &str) -> String {
        attribute(&self.attributes, key)
    }

    /// An attribute of the process that the span comes from.
    pub(crate) fn resource(&self, key: &str) -> String {
        attribute(&self.resource, key)
    }
}

fn attribute(attributes: &Value, key: &str) -> String {
    let found = attributes.as_array().into_iter().flatten().find(|pair| pair["key"] == key);
    let value = found.and_then(|pair| pair["value"].as_object()?.values().next().cloned());
    value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let mut spans = Vec::new();
    for resource in request["resourceSpans"].as_array().unwrap() {
        for scope in resource["scopeSpans"].as_array().unwrap() {
            for span in scope["spans"].as_array().unwrap() {
                spans.push(read(span, &resource["resource"]["attributes"]));
            }
        }
    }
    spans
}

fn read(span: &Value, resource: &Value) -> Span {
    let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
    Span {
        name: text("name"),
        kind: span["kind"].as_u64().unwrap(),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        failed: span["status"]["code"] == 2,
        start: text("startTimeUnixNano").parse().unwrap(),
        attributes: span["attributes"].clone(),
        resource: resource.clone(),
    }
}
