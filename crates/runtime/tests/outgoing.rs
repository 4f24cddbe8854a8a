//! HTTP requests that components of both generations send: they go where the component's imports lead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Channel, Empty};
use wattle_runtime::{
    BodyError, Caller, HttpBody, ImportCall, ImportError, Imports, ServeOptions, Served, Values,
};

use support::{Links, assert_all_ended, context, guest, limits, runtime, serve, soon};

const GATEWAYS: [&str; 2] = ["gateway", "gateway-p3"];

/// Answers requests itself, with what it was asked and with trailers.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(Caller, http::request::Parts)>>,
    /// Refuses every request so, if set.
    error: Option<ImportError>,
}

impl Imports for Fake {
    fn call(&self, _: ImportCall) -> BoxFuture<'static, Result<Values, ImportError>> {
        std::future::ready(Err(ImportError::no_link("no functions here"))).boxed()
    }

    fn handle_http(
        &self,
        caller: Caller,
        request: Request<HttpBody>,
    ) -> BoxFuture<'static, Result<Response<HttpBody>, ImportError>> {
        if let Some(error) = self.error.clone() {
            return std::future::ready(Err(error)).boxed();
        }
        let (head, mut body) = request.into_parts();
        self.asked.lock().unwrap().push((caller, head));
        async move {
            let (mut answer, answer_body) = Channel::<Bytes, BodyError>::new(1);
            tokio::spawn(async move {
                let mut trailers = HeaderMap::new();
                while let Some(Ok(frame)) = body.frame().await {
                    match frame.into_data() {
                        Ok(data) => answer.send_data(data).await.unwrap(),
                        Err(frame) => trailers = frame.into_trailers().unwrap(),
                    }
                }
                trailers.insert("x-answer", "whole".parse().unwrap());
                answer.send_trailers(trailers).await.unwrap();
            });
            Ok(Response::builder()
                .status(201)
                .header("x-fake", "1")
                .body(answer_body.boxed_unsync())
                .unwrap())
        }
        .boxed()
    }

    fn has_link(&self, _: &str, _: &str, _: &str) -> bool {
        true
    }
}

async fn gateway(name: &str, imports: Arc<dyn Imports>) -> Served {
    let compiled = runtime().load(guest(name), name).await.unwrap();
    let id = name.to_owned();
    compiled.serve(ServeOptions { id, limits: limits(), config: BTreeMap::new(), imports })
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_imports_and_stream_both_ways() {
    for name in GATEWAYS {
        let fake = Arc::new(Fake::default());
        let gateway = gateway(name, fake.clone()).await;
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let request = Request::put("http://linked.example/path?query=1").header("x-mine", "yes").body(body);
        let place = gateway.reserve(&context()).await.unwrap();
        let answer = tokio::spawn(place.handle_http(request.unwrap()));
        sender.send_data(Bytes::from_static(b"first ")).await.unwrap();
        let response = soon("the answer", answer).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{name}");
        assert_eq!(response.headers()["x-fake"], "1");
        let mut body = response.into_body();
        let first = soon("what was sent first", body.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first ", "{name}");
        sender.send_data(Bytes::from_static(b"second")).await.unwrap();
        let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
        sender.send(Frame::trailers(trailers)).await.unwrap();
        drop(sender);
        let rest = soon("the rest", body.collect()).await.unwrap();
        let trailers = rest.trailers().cloned().unwrap();
        assert_eq!(
            (trailers["x-end"].as_bytes(), trailers["x-answer"].as_bytes()),
            (&b"1"[..], &b"whole"[..])
        );
        assert_eq!(rest.to_bytes(), "second", "{name}");
        let (caller, head) = fake.asked.lock().unwrap().pop().unwrap();
        assert_eq!((&*caller.component, &*caller.link_name), (name, "default"));
        assert_eq!(head.uri, "http://linked.example/path?query=1", "the URI is absolute");
        assert_eq!((head.method, head.headers["x-mine"].as_bytes()), (http::Method::PUT, &b"yes"[..]));
        assert_all_ended(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_has_the_error_code_that_fits() {
    for (error, code) in [
        (ImportError::no_link("no link"), "HttpRequestDenied"),
        (ImportError::timeout("too late"), "HttpResponseTimeout"),
        (ImportError::unreachable("nowhere"), "DestinationUnavailable"),
        (ImportError::failed("it broke"), "it broke"),
    ] {
        let fake = Fake { error: Some(error), ..Fake::default() };
        let gateway = gateway("gateway", Arc::new(fake)).await;
        let place = gateway.reserve(&context()).await.unwrap();
        let request = Request::get("http://linked.example/").body(Empty::new()).unwrap();
        let response = soon("the answer", place.handle_http(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let said = soon("the reason", response.into_body().collect()).await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&said).contains(code), "{code}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn components_of_both_generations_answer_each_other() {
    for name in GATEWAYS {
        for behind in ["misbehave", "echo-p3"] {
            let links = Arc::new(Links::default());
            let target = serve(&runtime(), behind, guest(behind), limits(), &links).await;
            links.put("default", "wasi:http/outgoing-handler", &target);
            let gateway = serve(&runtime(), name, guest(name), limits(), &links).await;
            let place = gateway.reserve(&context()).await.unwrap();
            let request = Request::get("http://linked.example/hello").body(Empty::new()).unwrap();
            let response = soon("the answer", place.handle_http(request)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{name} to {behind}");
            let body = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
            assert!(!body.is_empty(), "{name} to {behind}");
            // Who gives up at the front ends the instance behind.
            let place = gateway.reserve(&context()).await.unwrap();
            let request = Request::get("http://linked.example/hang").body(Empty::new()).unwrap();
            let hanging = tokio::spawn(place.handle_http(request));
            soon("the inner call", async {
                while target.active_calls() == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            hanging.abort();
            assert_all_ended(&gateway).await;
            assert_all_ended(&target).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_answer_http_can_be_reused() {
    let reuse = wattle_runtime::ComponentLimits { max_instance_reuse: 2, ..limits() };
    let served = serve(&runtime(), "misbehave", guest("misbehave"), reuse, &Arc::default()).await;
    let mut states = Vec::new();
    for _ in 0..3 {
        let place = served.reserve(&context()).await.unwrap();
        let request = Request::get("http://test/state").body(Empty::new()).unwrap();
        let response = soon("the answer", place.handle_http(request)).await.unwrap();
        states.push(soon("the body", response.into_body().collect()).await.unwrap().to_bytes());
        assert_all_ended(&served).await;
    }
    assert_ne!(states[0], states[1], "a counter in the component goes on");
    assert_eq!(states[0], states[2], "and starts anew after as many calls");
}
