//! Bodies: streamed both ways, never held, cancelled when nobody wants them any more.

use super::super::testing::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use wattle_provider::{Body, BodyError};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 1024;

/// One chunk of a chunked body, the same each time.
fn chunk() -> Vec<u8> {
    let mut encoded = format!("{CHUNK:x}\r\n").into_bytes();
    encoded.extend((0..CHUNK).map(|index| u8::try_from(index % 251).unwrap()));
    encoded.extend_from_slice(b"\r\n");
    encoded
}

/// Writes `chunk` over and over until `CHUNKS` are sent or nothing is taken for `patience`. Gives how far it
/// came.
async fn write_from(
    write: &mut (impl AsyncWriteExt + Unpin),
    chunk: &[u8],
    mut sent: usize,
    patience: Duration,
) -> usize {
    while sent < chunk.len() * CHUNKS {
        match tokio::time::timeout(patience, write.write(&chunk[sent % chunk.len()..])).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    sent
}

/// Takes the chunked encoding off a body.
fn decode(mut encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    loop {
        let end = encoded.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&encoded[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return decoded;
        }
        decoded.extend_from_slice(&encoded[end + 2..end + 2 + length]);
        encoded = &encoded[end + 2 + length + 2..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_echoed_with_back_pressure() {
    let components = lattice(|call| async { Ok(Response::new(call.request.into_body())) });
    let (_server, address) = serve(components).await;
    let mut client = Client::connect(address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        .await;
    let (mut read, mut write) = client.0.into_split();
    let chunk = chunk();

    // Nobody reads the echo, so only the sockets' buffers can take something in.
    let sent = write_from(&mut write, &chunk, 0, Duration::from_millis(500)).await;
    assert!(sent < 48 << 20, "{sent} bytes went into a server that nobody reads from");

    let rest = chunk.clone();
    let writer = tokio::spawn(async move {
        let sent = write_from(&mut write, &rest, sent, Duration::from_secs(20)).await;
        write.write_all(b"0\r\n\r\n").await.unwrap();
        (sent, write)
    });
    let mut echoed = Vec::new();
    within("the echo", read.read_to_end(&mut echoed)).await.unwrap();
    let (sent, _write) = within("the writer", writer).await.unwrap();
    assert_eq!(sent, chunk.len() * CHUNKS);
    let head = echoed.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let body = decode(&echoed[head + 4..]);
    assert_eq!(body.len(), CHUNK * CHUNKS);
    let content = &chunk[chunk.len() - 2 - CHUNK..chunk.len() - 2];
    assert!(body.chunks(CHUNK).all(|received| received == content), "the echo differs");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let components = lattice(|call| async {
        let request = call.request.into_body().collect().await.unwrap();
        let trailers: HeaderMap = request.trailers().unwrap().clone();
        let body = Full::new(request.to_bytes()).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        Ok(response)
    });
    let (_server, address) = serve(components).await;
    let response = exchange(
        address,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nTE: trailers\r\n\
         Connection: TE, close\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 532\r\n\r\n",
    )
    .await;
    assert!(response.ends_with("5\r\nhello\r\n0\r\nx-sum: 532\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_call() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let components = lattice(move |_call| {
        let guard = Guard(events.clone());
        async move {
            guard.0.send("called").unwrap();
            std::future::pending().await
        }
    });
    let (_server, address) = serve(components).await;
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(within("the call", seen.recv()).await, Some("called"));
    drop(client);
    assert_eq!(within("the call to be cancelled", seen.recv()).await, Some("dropped"));
}

/// Gives its frames as they come, and says when it is dropped.
struct Frames {
    frames: mpsc::UnboundedReceiver<Result<Bytes, BodyError>>,
    _guard: Guard,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.frames.poll_recv(context).map(|received| received.map(|result| result.map(Frame::data)))
    }
}

/// A component whose response has this body, once.
fn responds_with(body: Frames) -> std::sync::Arc<dyn wattle_provider::Lattice> {
    let body = std::sync::Mutex::new(Some(Body::new(body)));
    lattice(move |_call| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(Response::new(body)) }
    })
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_response() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let (frames, received) = mpsc::unbounded_channel();
    let (_server, address) = serve(responds_with(Frames { frames: received, _guard: Guard(events) })).await;
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    frames.send(Ok(Bytes::from_static(b"first"))).unwrap();
    client.read_until("first").await;
    drop(client);
    assert_eq!(within("the body to be dropped", seen.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_whole() {
    let (events, _seen) = mpsc::unbounded_channel();
    let (frames, received) = mpsc::unbounded_channel();
    let (_server, address) = serve(responds_with(Frames { frames: received, _guard: Guard(events) })).await;
    frames.send(Ok(Bytes::from_static(b"first"))).unwrap();
    frames.send(Err(BodyError::new("the component trapped"))).unwrap();
    let response = get(address, "/").await;
    assert!(!response.ends_with("0\r\n\r\n") && !response.contains("trapped"), "{response}");
}
