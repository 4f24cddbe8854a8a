//! Components of both `wasi:http` generations, well-behaved and not, called in process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Channel, Empty};
use wattle_runtime::{Body, CallError, ComponentLimits, HttpGeneration, LoadError, Served};

use support::{DEADLINE, Links, assert_all_ended, context, guest, limits, runtime};

async fn serve_with(name: &str, limits: ComponentLimits) -> Served {
    support::serve(&runtime(), name, guest(name), limits, &Arc::new(Links::default())).await
}

async fn serve(name: &str) -> Served {
    serve_with(name, limits()).await
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}")).body(Empty::new()).unwrap()
}

async fn call(served: &Served, path: &str) -> Result<Response<Body>, CallError> {
    let called = async { served.reserve(&context()).await?.handle_http(get(path)).await };
    tokio::time::timeout(DEADLINE, called).await.expect("the call ends within its deadline")
}

async fn text(response: Response<Body>) -> String {
    let body = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.expect("the body ends");
    String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
}

async fn assert_alive(served: &Served) {
    let response = call(served, "/hello").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!text(response).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_generations_answer() {
    for (name, generation) in [("misbehave", HttpGeneration::Wasi02), ("echo-p3", HttpGeneration::Wasi03)] {
        let served = serve(name).await;
        assert_eq!(served.compiled().http_generation(), Some(generation));
        assert_alive(&served).await;
        assert_all_ended(&served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways() {
    for name in ["misbehave", "echo-p3"] {
        let served = serve(name).await;
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let request = Request::post("http://test/echo").body(body).unwrap();
        let place = served.reserve(&context()).await.unwrap();
        let answer = tokio::spawn(place.handle_http(request));
        sender.send_data(Bytes::from_static(b"first ")).await.unwrap();
        let mut body = tokio::time::timeout(DEADLINE, answer).await.unwrap().unwrap().unwrap().into_body();
        // The first part comes back while the second is not even sent.
        assert_eq!(next_data(&mut body).await.unwrap(), "first ");
        sender.send_data(Bytes::from_static(b"second")).await.unwrap();
        assert_eq!(next_data(&mut body).await.unwrap(), "second");
        drop(sender);
        assert_eq!(next_data(&mut body).await, None);
        assert_all_ended(&served).await;
    }
}

async fn next_data(body: &mut Body) -> Option<String> {
    loop {
        let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("a frame comes")?;
        if let Ok(data) = frame.unwrap().into_data()
            && !data.is_empty()
        {
            return Some(String::from_utf8(data.to_vec()).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_costs_one_error() {
    for name in ["misbehave", "echo-p3"] {
        let served = serve(name).await;
        let error = call(&served, "/trap").await.unwrap_err();
        assert!(matches!(error, CallError::Trapped { .. }), "{error}");
        assert_alive(&served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_an_error_of_its_own() {
    let served = serve("misbehave").await;
    let error = call(&served, "/no-response").await.unwrap_err();
    assert!(matches!(error, CallError::Trapped { .. }), "{error}");
    assert_alive(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_and_hangs_end_with_their_time() {
    let short = ComponentLimits { max_execution_time: Duration::from_millis(300), ..limits() };
    for name in ["misbehave", "echo-p3"] {
        let served = serve_with(name, short).await;
        for path in ["/loop", "/hang"] {
            let error = call(&served, path).await.unwrap_err();
            assert!(matches!(error, CallError::Timeout { .. }), "{name} {path}: {error}");
        }
        assert_all_ended(&served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_does_not_keep_others_from_running() {
    let served = serve_with("misbehave", ComponentLimits { max_concurrent_calls: 8, ..limits() }).await;
    let loops: Vec<_> = (0..6)
        .map(|_| {
            let served = served.clone();
            tokio::spawn(async move { call(&served, "/loop").await })
        })
        .collect();
    for _ in 0..20 {
        assert_alive(&served).await;
    }
    for task in loops {
        task.abort();
    }
    assert_all_ended(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let served = serve_with("misbehave", ComponentLimits { max_memory_bytes: 8 << 20, ..limits() }).await;
    let error = call(&served, "/memory").await.unwrap_err();
    assert!(matches!(error, CallError::OutOfMemory { limit, .. } if limit == 8 << 20), "{error}");
    assert_alive(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error_not_a_short_body() {
    let short = ComponentLimits { max_execution_time: Duration::from_millis(500), ..limits() };
    let served = serve_with("misbehave", short).await;
    let response = call(&served, "/slow-body").await.unwrap();
    let end = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.expect("the body ends");
    let error = end.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_ends_the_instance() {
    let served = serve("misbehave").await;
    let hanging = tokio::spawn({
        let served = served.clone();
        async move { call(&served, "/hang").await }
    });
    let started = async {
        while served.active_calls() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, started).await.expect("the call starts");
    hanging.abort();
    assert_all_ended(&served).await;
    let response = call(&served, "/slow-body").await.unwrap();
    drop(response);
    assert_all_ended(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_limits_wait_and_then_are_refused() {
    let narrow = ComponentLimits { max_concurrent_calls: 1, max_queued_calls: 0, ..limits() };
    let served = serve_with("misbehave", narrow).await;
    let place = served.reserve(&context()).await.unwrap();
    assert!(matches!(served.reserve(&context()).await, Err(CallError::Busy { .. })));
    drop(place);
    assert_alive(&served).await;
    assert_all_ended(&served).await;
    served.set_max_concurrent_calls(2);
    let (_first, _second) =
        (served.reserve(&context()).await.unwrap(), served.reserve(&context()).await.unwrap());
    assert!(matches!(served.reserve(&context()).await, Err(CallError::Busy { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_an_instance_of_its_own() {
    let served = serve("misbehave").await;
    let first = text(call(&served, "/state").await.unwrap()).await;
    let second = text(call(&served, "/state").await.unwrap()).await;
    assert_eq!(first, second, "a counter in the component starts anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_machine_is_granted() {
    let served = serve("misbehave").await;
    for path in ["/env", "/fs", "/socket"] {
        let answer = text(call(&served, path).await.unwrap()).await;
        assert!(!answer.contains(env!("CARGO_MANIFEST_DIR")), "{path}: {answer}");
        assert!(!answer.to_lowercase().contains("connected"), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_calls_finish_and_takes_no_more() {
    let served = serve("misbehave").await;
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let request = Request::post("http://test/echo").body(body).unwrap();
    let answer = tokio::spawn(served.reserve(&context()).await.unwrap().handle_http(request));
    sender.send_data(Bytes::from_static(b"x")).await.unwrap();
    let body = answer.await.unwrap().unwrap().into_body();
    let draining = tokio::spawn({
        let served = served.clone();
        async move { served.drain(DEADLINE).await }
    });
    let refused = async {
        while !matches!(served.reserve(&context()).await, Err(CallError::Stopping { .. })) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("no more calls are taken");
    sender.send(Frame::data(Bytes::from_static(b"y"))).await.unwrap();
    drop(sender);
    let collected = tokio::time::timeout(DEADLINE, body.collect()).await.expect("the body ends").unwrap();
    assert_eq!(collected.to_bytes(), "xy");
    assert!(draining.await.unwrap(), "the call ended by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_component_is_refused() {
    let runtime = runtime();
    let whole = guest("misbehave");
    for length in [9, 100, whole.len() / 2, whole.len() - 1] {
        let error = runtime.load(whole.slice(..length), &format!("d{length}")).await.unwrap_err();
        assert!(matches!(error, LoadError::Invalid(_)), "{length}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_leave_the_processor_to_the_rest() {
    let many = ComponentLimits { max_concurrent_calls: 64, ..limits() };
    let served = serve_with("misbehave", many).await;
    let loops: Vec<_> = (0..40)
        .map(|_| {
            let served = served.clone();
            tokio::spawn(async move { call(&served, "/loop").await })
        })
        .collect();
    let started = async {
        while served.active_calls() < loops.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, started).await.expect("all loops run");
    // Real sockets: what a loop starves first is the readiness of others.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let talk = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        for _ in 0..100 {
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        }
    };
    // With the loops among the rest, each of the 200 turns would wait for 40 loops of 10 ms.
    tokio::time::timeout(Duration::from_secs(20), talk)
        .await
        .expect("a hundred round trips beside forty loops");
    echo.abort();
    for task in loops {
        task.abort();
    }
    assert_all_ended(&served).await;
}
