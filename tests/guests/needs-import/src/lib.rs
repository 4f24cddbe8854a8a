//! Answers HTTP requests with what an interface says that no host provides, so no host can start it.

use std::io::Write as _;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package acme:guest;

        world guest {
            import acme:missing/thing@1.2.0;
        }

        package acme:missing@1.2.0 {
            interface thing {
                answer: func() -> u32;
            }
        }
    ",
    generate_all,
});

struct NeedsImport;

wasip2::http::proxy::export!(NeedsImport);

impl Guest for NeedsImport {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let answer = acme::missing::thing::answer();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let mut stream = body.write().expect("the stream is taken once");
        let _ = writeln!(stream, "{answer}");
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
