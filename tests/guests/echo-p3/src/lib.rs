//! A component of WASI 0.3: by path it answers, echoes, traps, spins or hangs.

use std::sync::atomic::{AtomicU64, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::StreamResult;
use wasip3::{spawn_local, wit_future, wit_stream};

const HOUR: u64 = 3_600_000_000_000;
const CHUNK: usize = 64 * 1024;

/// How many requests this instance has seen: more than one only where instances are reused.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

struct Echo;

wasip3::http::service::export!(Echo);

impl Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.get_path_with_query().unwrap_or_default();
        match target.split('?').next().unwrap_or_default() {
            "/hello" => Ok(text(200, "hello\n".to_owned())),
            "/state" => Ok(text(200, format!("{requests}\n"))),
            "/echo" => Ok(echo(request)),
            "/hang" => {
                monotonic_clock::wait_for(HOUR).await;
                Ok(text(200, "an hour later\n".to_owned()))
            }
            "/loop" => loop {
                std::hint::spin_loop();
            },
            "/trap" => std::process::abort(),
            _ => Ok(text(404, "no such path\n".to_owned())),
        }
    }
}

fn text(status: u16, text: String) -> Response {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain").expect("a valid header");
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), no_trailers);
    response.set_status_code(status).expect("a valid status");
    // The response has to be returned before its body is taken, so the body is written beside it.
    spawn_local(async move {
        // What is left over was not wanted: the caller went away.
        let _unsent = body.write_all(text.into_bytes()).await;
        drop(trailers);
    });
    response
}

/// Sends the request's body back chunk by chunk, each as soon as it came, and then its trailers.
fn echo(request: Request) -> Response {
    let headers = Fields::new();
    headers.set("trailer", &request.get_headers().get("trailer")).expect("a valid header");
    let (received, reception) = wit_future::new(|| Ok(()));
    let (mut input, request_trailers) = Request::consume_body(request, reception);
    let (mut output, contents) = wit_stream::new();
    let (response, _sent) = Response::new(headers, Some(contents), request_trailers);
    spawn_local(async move {
        let mut more = true;
        while more {
            let (result, chunk) = input.read(Vec::with_capacity(CHUNK)).await;
            more = matches!(result, StreamResult::Complete(_)) && output.write_all(chunk).await.is_empty();
        }
        drop(received);
    });
    response
}
