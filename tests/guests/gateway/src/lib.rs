//! Passes each request on to what is linked, and gives back what that answers: bodies piece by piece and in both
//! directions at once, trailers as well.

use std::io::Write as _;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody,
    OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

const CHUNK: u64 = 64 * 1024;

struct Gateway;

wasip2::http::proxy::export!(Gateway);

impl Guest for Gateway {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let onward = OutgoingRequest::new(fields(&request.headers()));
        onward.set_method(&request.method()).expect("a method that came in");
        onward.set_path_with_query(request.path_with_query().as_deref()).expect("a path that came in");
        onward.set_scheme(Some(&Scheme::Http)).expect("a scheme");
        onward.set_authority(Some("linked.example")).expect("an authority");
        let body = onward.body().expect("the body is taken once");
        let mut up = Pump::new(request.consume().expect("the body is taken once"), body);
        match outgoing_handler::handle(onward, None) {
            Ok(response) => pass_on(&mut up, &response, out),
            Err(reason) => refuse(out, &reason),
        }
    }
}

/// Sends the request's body on until the answer comes, and from then on both.
fn pass_on(up: &mut Pump, response: &FutureIncomingResponse, out: ResponseOutparam) {
    let arrived = response.subscribe();
    while !arrived.ready() {
        up.advance();
        wait(up.waits_for().into_iter().chain([response.subscribe()]).collect());
    }
    let answer = response.get().expect("it is ready").expect("it is taken once");
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => return refuse(out, &reason),
    };
    let mut down = Pump::new(answer.consume().expect("the body is taken once"), start(&answer, out));
    loop {
        up.advance();
        down.advance();
        let waits: Vec<Pollable> = down.waits_for().into_iter().collect();
        if waits.is_empty() {
            return; // whoever answered needs no more of the request
        }
        wait(waits.into_iter().chain(up.waits_for()).collect());
    }
}

fn start(answer: &IncomingResponse, out: ResponseOutparam) -> OutgoingBody {
    let response = OutgoingResponse::new(fields(&answer.headers()));
    response.set_status_code(answer.status()).expect("a status that came in");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    body
}

/// Answers with the reason why there is no answer.
fn refuse(out: ResponseOutparam, reason: &ErrorCode) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(502).expect("a valid status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("the stream is taken once");
    let _ = writeln!(stream, "{reason:?}");
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// All headers but those of the connection, which nobody may set.
fn fields(headers: &Fields) -> Fields {
    let fields = Fields::new();
    for (name, value) in headers.entries() {
        let _ = fields.append(&name, &value);
    }
    fields
}

fn wait(pollables: Vec<Pollable>) {
    poll(&pollables.iter().collect::<Vec<_>>());
}

/// A body on its way through, with its trailers.
struct Pump(Option<Ends>);

// In the order in which they have to be dropped: streams before their bodies.
struct Ends {
    from: InputStream,
    to: OutputStream,
    incoming: IncomingBody,
    outgoing: OutgoingBody,
    full: bool,
}

impl Pump {
    fn new(incoming: IncomingBody, outgoing: OutgoingBody) -> Self {
        let from = incoming.stream().expect("the stream is taken once");
        let to = outgoing.write().expect("the stream is taken once");
        Self(Some(Ends { from, to, incoming, outgoing, full: false }))
    }

    /// What has to happen until [`Pump::advance`] can do more; nothing once all is done.
    fn waits_for(&self) -> Option<Pollable> {
        self.0.as_ref().map(|ends| if ends.full { ends.to.subscribe() } else { ends.from.subscribe() })
    }

    /// Moves what can be moved now.
    fn advance(&mut self) {
        let Some(ends) = &mut self.0 else { return };
        match ends.advance() {
            Ok(true) => {}
            Ok(false) => self.0.take().into_iter().for_each(Ends::finish),
            // Dropping a body unfinished tells the other side that it is cut short.
            Err(()) => self.0 = None,
        }
    }
}

impl Ends {
    /// Whether there may be more.
    fn advance(&mut self) -> Result<bool, ()> {
        loop {
            let room = self.to.check_write().map_err(drop)?;
            self.full = room == 0;
            if self.full {
                return Ok(true);
            }
            match self.from.read(room.min(CHUNK)) {
                Ok(chunk) if chunk.is_empty() => return Ok(true),
                Ok(chunk) => {
                    self.to.write(&chunk).map_err(drop)?;
                    self.to.flush().map_err(drop)?;
                }
                Err(StreamError::Closed) => return Ok(false),
                Err(StreamError::LastOperationFailed(_)) => return Err(()),
            }
        }
    }

    fn finish(self) {
        let Self { from, to, incoming, outgoing, .. } = self;
        drop((from, to));
        let trailers = IncomingBody::finish(incoming);
        trailers.subscribe().block();
        if let Some(Ok(Ok(trailers))) = trailers.get() {
            let _ = OutgoingBody::finish(outgoing, trailers.map(|trailers| fields(&trailers)));
        }
    }
}
