//! Does, path by path, what a host must survive or must pass on unharmed.

mod denied;

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

const MILLISECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MILLISECOND;
const CHUNK: usize = 64 * 1024;

/// How many requests this instance has seen: more than one only where instances are reused.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

struct Misbehave;

wasip2::http::proxy::export!(Misbehave);

impl Guest for Misbehave {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/hello" => text(out, 200, "hello\n"),
            "/echo" => echo(&request, out),
            "/headers" => text(out, 200, &describe(&request)),
            "/state" => text(out, 200, &format!("{requests}\n")),
            "/big" => big(out, number(query, "bytes")),
            "/sleep" => {
                subscribe_duration(number(query, "ms") * MILLISECOND).block();
                text(out, 200, "slept\n");
            }
            "/slow-body" => slow_body(out),
            "/tick" => tick(number(query, "ms")),
            "/tick-body" => {
                let (_body, mut stream) = start(out, 200);
                let _ = stream.write_all(b"first\n").and_then(|()| std::io::Write::flush(&mut stream));
                tick(number(query, "ms"))
            }
            "/no-response" => drop(out),
            "/hang" => subscribe_duration(HOUR).block(),
            "/loop" => loop {
                std::hint::spin_loop();
            },
            "/trap" => std::process::abort(),
            "/memory" => exhaust_memory(),
            "/env" => text(out, 200, &denied::environment()),
            "/fs" => text(out, 200, &denied::files()),
            "/socket" => text(out, 200, &denied::sockets(parameter(query, "addr").unwrap_or("127.0.0.1:1"))),
            _ => text(out, 404, "no such path\n"),
        }
    }
}

/// Sends status and headers, and gives the body to be written.
fn start(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    start_with(out, status, &[])
}

/// [`start`] with these values of the header that announces trailers.
fn start_with(out: ResponseOutparam, status: u16, trailers: &[Vec<u8>]) -> (OutgoingBody, OutputStream) {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain").expect("a valid header");
    if !trailers.is_empty() {
        headers.set("trailer", trailers).expect("a valid header");
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    (body, stream)
}

fn text(out: ResponseOutparam, status: u16, text: &str) {
    let (body, mut stream) = start(out, status);
    // Here and below: a caller that went away takes no more, and that is no reason to trap.
    let _ = stream.write_all(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// Sends the request's body back chunk by chunk, each as soon as it came, and then its trailers, if they were announced.
fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the request's body is taken once");
    let input = incoming.stream().expect("the request's stream is taken once");
    let (outgoing, mut output) = start_with(out, 200, &request.headers().get("trailer"));
    let whole = copy(&input, &mut output);
    drop((input, output));
    if !whole {
        return; // dropping the body unfinished tells the caller that it is cut short
    }
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    if let Some(Ok(Ok(trailers))) = trailers.get() {
        // What came in can't be sent on as it is: incoming fields are immutable and belong to their body.
        let _ = OutgoingBody::finish(outgoing, trailers.map(|fields| fields.clone()));
    }
}

/// Whether everything up to the input's end was written.
fn copy(input: &InputStream, output: &mut OutputStream) -> bool {
    loop {
        match input.blocking_read(CHUNK as u64) {
            Ok(chunk) => {
                if output.write_all(&chunk).and_then(|()| std::io::Write::flush(output)).is_err() {
                    return false;
                }
            }
            Err(StreamError::Closed) => return true,
            Err(StreamError::LastOperationFailed(_)) => return false,
        }
    }
}

fn describe(request: &IncomingRequest) -> String {
    let mut text = format!(
        "method: {:?}\npath: {}\nscheme: {:?}\nauthority: {}\n",
        request.method(),
        request.path_with_query().unwrap_or_default(),
        request.scheme(),
        request.authority().unwrap_or_default(),
    );
    for (name, value) in request.headers().entries() {
        text.push_str(&format!("header {name}: {}\n", String::from_utf8_lossy(&value)));
    }
    text
}

fn big(out: ResponseOutparam, bytes: u64) {
    let (body, mut stream) = start(out, 200);
    let chunk = [b'x'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(CHUNK as u64);
        if stream.write_all(&chunk[..size as usize]).is_err() {
            return;
        }
        left -= size;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn slow_body(out: ResponseOutparam) {
    let (_body, mut stream) = start(out, 200);
    let _ = stream.write_all(b"first\n").and_then(|()| std::io::Write::flush(&mut stream));
    subscribe_duration(HOUR).block();
}

/// Writes a line to the log every so many milliseconds, and never looks whether anybody still waits for an answer.
fn tick(ms: u64) -> ! {
    eprintln!("first tick");
    loop {
        subscribe_duration(ms.max(1) * MILLISECOND).block();
        eprintln!("tick");
    }
}

/// Allocates and writes to every page until there is no more; the failed allocation aborts.
fn exhaust_memory() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1024 * 1024]));
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn number(query: &str, name: &str) -> u64 {
    parameter(query, name).and_then(|value| value.parse().ok()).unwrap_or(0)
}
