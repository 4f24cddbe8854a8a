//! HTTP as it crosses the lattice: heads as bytes, bodies as streams of messages. The exact bytes are in
//! `docs/protocol.md`, section "HTTP".

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use wattle_lattice::{OutStream, StreamBroken};
use wattle_provider::{Body, BodyError, body};

/// Most bytes of data in one message of a body: with its first byte, 64 KiB.
const MAX_DATA: usize = (64 << 10) - 1;

/// A body that is no longer than this and there at once goes along with its head.
const MAX_INLINE: usize = 16 << 10;

/// Most bytes of a head without its body.
const MAX_HEAD: usize = 256 << 10;

const NO_BODY: u8 = 0;
const INLINE: u8 = 1;
const STREAMED: u8 = 2;

const DATA: u8 = 0;
const TRAILERS: u8 = 1;

/// A head or message that is not as the specification says, or can't be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side sent something else.
    #[error("{what} of the HTTP message is malformed")]
    Malformed { what: &'static str },
    /// More than a head may have.
    #[error("{what} of the HTTP message is too long: {length} bytes, at most {max}")]
    TooLong { what: &'static str, length: usize, max: usize },
}

type Wire<T> = Result<T, WireError>;

/// The messages of a body.
pub(crate) trait BodyStream: Stream<Item = Result<Bytes, StreamBroken>> + Send + 'static {}

impl<S: Stream<Item = Result<Bytes, StreamBroken>> + Send + 'static> BodyStream for S {}

/// Writes a request: its head as parameters, its body as stream 0 unless it is empty or short.
pub(crate) async fn encode_request(request: Request<Body>) -> Wire<(Bytes, Vec<OutStream>)> {
    let (head, body) = request.into_parts();
    let mut out = BytesMut::with_capacity(256);
    put_short(&mut out, "the method", head.method.as_str().as_bytes())?;
    let uri = head.uri.to_string();
    check("the URI", uri.len(), MAX_HEAD)?;
    out.put_u32(u32::try_from(uri.len()).unwrap_or(u32::MAX));
    out.put_slice(uri.as_bytes());
    put_headers(&mut out, "the head", MAX_HEAD, &head.headers)?;
    Ok(with_body(out, body).await)
}

/// Writes a response, like a request.
pub(crate) async fn encode_response(response: Response<Body>) -> Wire<(Bytes, Vec<OutStream>)> {
    let (head, body) = response.into_parts();
    let mut out = BytesMut::with_capacity(256);
    out.put_u16(head.status.as_u16());
    put_headers(&mut out, "the head", MAX_HEAD, &head.headers)?;
    Ok(with_body(out, body).await)
}

/// Reads a request.
pub(crate) fn decode_request(mut head: Bytes, streams: Vec<impl BodyStream>) -> Wire<Request<Body>> {
    check("the head", head.len(), MAX_HEAD + 1 + MAX_INLINE)?;
    let method = take_short(&mut head, "the method")?;
    let method = Method::from_bytes(&method).map_err(|_| WireError::Malformed { what: "the method" })?;
    let length = take(&mut head, 4, "the URI")?.get_u32() as usize;
    let uri = Uri::from_maybe_shared(take(&mut head, length, "the URI")?);
    let uri = uri.map_err(|_| WireError::Malformed { what: "the URI" })?;
    let headers = take_headers(&mut head)?;
    let mut request = Request::new(take_body(head, streams)?);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Reads a response.
pub(crate) fn decode_response(mut head: Bytes, streams: Vec<impl BodyStream>) -> Wire<Response<Body>> {
    check("the head", head.len(), MAX_HEAD + 1 + MAX_INLINE)?;
    let status = take(&mut head, 2, "the status")?.get_u16();
    let status = StatusCode::from_u16(status).map_err(|_| WireError::Malformed { what: "the status" })?;
    let headers = take_headers(&mut head)?;
    let mut response = Response::new(take_body(head, streams)?);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Appends the body: whole where it is short and its end is near, otherwise as a stream.
async fn with_body(mut head: BytesMut, body: Body) -> (Bytes, Vec<OutStream>) {
    match begin(body).await {
        Begun::Whole(data) if data.is_empty() => {
            head.put_u8(NO_BODY);
            (head.freeze(), Vec::new())
        }
        Begun::Whole(data) => {
            head.put_u8(INLINE);
            head.put_slice(&data);
            (head.freeze(), Vec::new())
        }
        Begun::Part(messages) => {
            head.put_u8(STREAMED);
            (head.freeze(), vec![Box::pin(messages)])
        }
    }
}

enum Begun {
    Whole(BytesMut),
    Part(Messages),
}

/// How long a short body may keep its head waiting, if its head says that it is short.
const PATIENCE: Duration = Duration::from_millis(2);

/// Reads the beginning of a body, as far as that is at hand: most are short and go along with their heads then.
async fn begin(mut body: Body) -> Begun {
    if body.is_end_stream() {
        return Begun::Whole(BytesMut::new());
    }
    let promised = body.size_hint().exact().is_some_and(|length| length <= MAX_INLINE as u64);
    let mut whole = BytesMut::new();
    let reading = read_short(&mut body, &mut whole);
    let read = match promised {
        true => tokio::time::timeout(PATIENCE, reading).await.ok(),
        false => reading.now_or_never(),
    };
    let next = match read {
        Some(None) => return Begun::Whole(whole),
        Some(next) => next,
        None => None,
    };
    Begun::Part(Messages { data: whole.freeze(), next, rest: Some(body) })
}

type Read = Result<Frame<Bytes>, BodyError>;

/// Reads into `whole` for as long as the body is short, and gives what ends that: nothing at the body's end.
async fn read_short(body: &mut Body, whole: &mut BytesMut) -> Option<Read> {
    loop {
        let frame = match body.frame().await? {
            Ok(frame) => frame,
            failed => return Some(failed),
        };
        match frame.into_data() {
            Ok(data) if whole.len() + data.len() <= MAX_INLINE => whole.extend_from_slice(&data),
            Ok(data) => return Some(Ok(Frame::data(data))),
            Err(trailers) => return Some(Ok(trailers)),
        }
    }
}

/// A body as messages, read only as fast as they are sent.
struct Messages {
    /// Data that was read and is in no message yet.
    data: Bytes,
    /// What was read behind it.
    next: Option<Read>,
    rest: Option<Body>,
}

impl Messages {
    fn data_message(&mut self) -> Bytes {
        let data = self.data.split_to(self.data.len().min(MAX_DATA));
        let mut message = BytesMut::with_capacity(1 + data.len());
        message.put_u8(DATA);
        message.put_slice(&data);
        message.freeze()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        match &mut self.rest {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Some(Ok(self.data_message())));
            }
            let frame = match ready!(self.poll_body(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    self.rest = None;
                    return Poll::Ready(Some(Err(StreamBroken::new(error.to_string()))));
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.data = data,
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    // Nothing comes behind them.
                    self.rest = None;
                    let mut message = BytesMut::new();
                    message.put_u8(TRAILERS);
                    let written = put_headers(&mut message, "the trailers", MAX_DATA + 1, &trailers);
                    let message = written.map(|()| message.freeze());
                    return Poll::Ready(Some(message.map_err(|error| StreamBroken::new(error.to_string()))));
                }
            }
        }
    }
}

fn take_body(mut head: Bytes, streams: Vec<impl BodyStream>) -> Wire<Body> {
    let kind = take(&mut head, 1, "the body")?.get_u8();
    let mut streams = streams.into_iter();
    match (kind, streams.next(), streams.next()) {
        (NO_BODY, None, None) if head.is_empty() => Ok(body::empty()),
        (INLINE, None, None) if head.len() <= MAX_INLINE => Ok(body::full(head)),
        (STREAMED, Some(stream), None) if head.is_empty() => Ok(streamed(stream)),
        _ => Err(WireError::Malformed { what: "the body" }),
    }
}

fn streamed(stream: impl BodyStream) -> Body {
    let mut ended = false;
    let frames = stream.map(move |message| {
        let message = message.map_err(BodyError::new)?;
        if ended {
            return Err(BodyError::new("something came behind its trailers"));
        }
        let frame = read_message(message).map_err(BodyError::new)?;
        ended = frame.is_trailers();
        Ok(frame)
    });
    StreamBody::new(frames).boxed_unsync()
}

fn read_message(mut message: Bytes) -> Wire<Frame<Bytes>> {
    match take(&mut message, 1, "a piece of the body")?.get_u8() {
        DATA => Ok(Frame::data(message)),
        TRAILERS => take_headers(&mut message).map(Frame::trailers),
        _ => Err(WireError::Malformed { what: "a piece of the body" }),
    }
}

fn check(what: &'static str, length: usize, max: usize) -> Wire<()> {
    if length > max { Err(WireError::TooLong { what, length, max }) } else { Ok(()) }
}

fn put_short(out: &mut BytesMut, what: &'static str, bytes: &[u8]) -> Wire<()> {
    let length = u8::try_from(bytes.len());
    let length = length.map_err(|_| WireError::TooLong { what, length: bytes.len(), max: 255 })?;
    out.put_u8(length);
    out.put_slice(bytes);
    Ok(())
}

fn put_headers(out: &mut BytesMut, what: &'static str, max: usize, headers: &HeaderMap) -> Wire<()> {
    let too_long = |length, max| WireError::TooLong { what: "the headers", length, max };
    let count = u16::try_from(headers.len()).map_err(|_| too_long(headers.len(), u16::MAX.into()))?;
    out.put_u16(count);
    for (name, value) in headers {
        put_short(out, "a header's name", name.as_str().as_bytes())?;
        let length = u16::try_from(value.len()).map_err(|_| too_long(value.len(), u16::MAX.into()))?;
        out.put_u16(length);
        out.put_slice(value.as_bytes());
        check(what, out.len(), max)?;
    }
    Ok(())
}

fn take(bytes: &mut Bytes, length: usize, what: &'static str) -> Wire<Bytes> {
    if bytes.len() < length { Err(WireError::Malformed { what }) } else { Ok(bytes.split_to(length)) }
}

fn take_short(bytes: &mut Bytes, what: &'static str) -> Wire<Bytes> {
    let length = take(bytes, 1, what)?.get_u8();
    take(bytes, length.into(), what)
}

fn take_headers(bytes: &mut Bytes) -> Wire<HeaderMap> {
    const WHAT: &str = "a header";
    let count = take(bytes, 2, WHAT)?.get_u16();
    // Each takes three bytes at least, so a short message can't make the map large.
    let mut headers = HeaderMap::with_capacity(usize::from(count).min(bytes.len() / 3).min(64));
    for _ in 0..count {
        let name = take_short(bytes, WHAT)?;
        let length = take(bytes, 2, WHAT)?.get_u16();
        let value = take(bytes, length.into(), WHAT)?;
        let name = HeaderName::from_bytes(&name).map_err(|_| WireError::Malformed { what: WHAT })?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| WireError::Malformed { what: WHAT })?;
        headers.try_append(name, value).map_err(|_| WireError::Malformed { what: WHAT })?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
