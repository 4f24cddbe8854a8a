//! Answers every HTTP request with a greeting.

use std::io::Write as _;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, response_out: ResponseOutparam) {
        let headers = Fields::new();
        headers.append("content-type", b"text/plain").expect("a valid header");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");

        // From here on the caller sees status and headers; the body follows as it is written.
        ResponseOutparam::set(response_out, Ok(response));
        let mut stream = body.write().expect("the stream is taken once");
        // A caller that went away is no reason to trap: it just gets no more.
        let _ = stream.write_all(b"Hello from Wattle!\n");
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
