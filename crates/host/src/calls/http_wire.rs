//! HTTP as it crosses the lattice: heads as bytes, bodies as streams of messages. The exact bytes are in
//! `docs/protocol.md`, section "HTTP".

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wattle_lattice::{InStream, OutStream, StreamBroken};
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

/// Writes a request: its head as parameters, its body as stream 0 unless it is empty or short.
pub(crate) async fn encode_request(request: Request<Body>) -> Wire<(Bytes, Vec<OutStream>)> {
    let (head, body) = request.into_parts();
    let mut out = BytesMut::with_capacity(256);
    put_short(&mut out, "the method", head.method.as_str().as_bytes())?;
    let uri = head.uri.to_string();
    check("the URI", uri.len(), MAX_HEAD)?;
    out.put_u32(u32::try_from(uri.len()).unwrap_or(u32::MAX));
    out.put_slice(uri.as_bytes());
    put_headers(&mut out, &head.headers)?;
    Ok(with_body(out, body).await)
}

/// Writes a response, like a request.
pub(crate) async fn encode_response(response: Response<Body>) -> Wire<(Bytes, Vec<OutStream>)> {
    let (head, body) = response.into_parts();
    let mut out = BytesMut::with_capacity(256);
    out.put_u16(head.status.as_u16());
    put_headers(&mut out, &head.headers)?;
    Ok(with_body(out, body).await)
}

/// Reads a request.
pub(crate) fn decode_request(mut head: Bytes, streams: Vec<InStream>) -> Wire<Request<Body>> {
    let malformed = |what| move |_| WireError::Malformed { what };
    let method = take_short(&mut head, "the method")?;
    let method = Method::from_bytes(&method).map_err(|_| WireError::Malformed { what: "the method" })?;
    let length = take(&mut head, 4, "the URI")?.get_u32() as usize;
    let uri = Uri::from_maybe_shared(take(&mut head, length, "the URI")?);
    let uri = uri.map_err(|_| WireError::Malformed { what: "the URI" })?;
    let headers = take_headers(&mut head)?;
    let mut request = Request::builder().method(method).uri(uri).body(take_body(head, streams)?);
    if let Ok(request) = &mut request {
        *request.headers_mut() = headers;
    }
    request.map_err(malformed("the head"))
}

/// Reads a response.
pub(crate) fn decode_response(mut head: Bytes, streams: Vec<InStream>) -> Wire<Response<Body>> {
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
        Begun::Part(frames, rest) => {
            head.put_u8(STREAMED);
            (head.freeze(), vec![Box::pin(Messages { frames, rest: Some(rest), data: Bytes::new() })])
        }
    }
}

enum Begun {
    Whole(BytesMut),
    /// What was read of it, and the rest.
    Part(Vec<Result<Frame<Bytes>, BodyError>>, Body),
}

/// How long a short body may keep its head waiting, if its head says that it is short.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(2);

/// Reads the beginning of a body, as far as that is at hand: most are short and go along with their heads then.
async fn begin(mut body: Body) -> Begun {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Begun::Whole(BytesMut::new());
    }
    let mut whole = BytesMut::new();
    let promised = body.size_hint().exact().is_some_and(|length| length <= MAX_INLINE as u64);
    let patience = tokio::time::sleep(if promised { PATIENCE } else { std::time::Duration::ZERO });
    let mut patience = std::pin::pin!(patience);
    loop {
        let next = tokio::select! {
            biased;
            next = body.frame() => next,
            () = &mut patience => return Begun::Part(data_frame(whole), body),
        };
        match next {
            None => return Begun::Whole(whole),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if whole.len() + data.len() <= MAX_INLINE => whole.extend_from_slice(&data),
                Ok(data) => {
                    let mut frames = data_frame(whole);
                    frames.push(Ok(Frame::data(data)));
                    return Begun::Part(frames, body);
                }
                Err(trailers) => {
                    let mut frames = data_frame(whole);
                    frames.push(Ok(trailers));
                    return Begun::Part(frames, body);
                }
            },
            Some(Err(error)) => {
                let mut frames = data_frame(whole);
                frames.push(Err(error));
                return Begun::Part(frames, body);
            }
        }
    }
}

fn data_frame(data: BytesMut) -> Vec<Result<Frame<Bytes>, BodyError>> {
    if data.is_empty() { Vec::new() } else { vec![Ok(Frame::data(data.freeze()))] }
}

/// A body as messages, read only as fast as they are sent.
struct Messages {
    /// What was read of the body already.
    frames: Vec<Result<Frame<Bytes>, BodyError>>,
    rest: Option<Body>,
    /// Data that is too long for one message.
    data: Bytes,
}

impl Messages {
    fn data_message(&mut self) -> Bytes {
        let data = self.data.split_to(self.data.len().min(MAX_DATA));
        let mut message = BytesMut::with_capacity(1 + data.len());
        message.put_u8(DATA);
        message.put_slice(&data);
        message.freeze()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        use http_body::Body as _;
        if !self.frames.is_empty() {
            return Poll::Ready(Some(self.frames.remove(0)));
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
        use http_body::Body as _;
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
                    let mut message = BytesMut::new();
                    message.put_u8(TRAILERS);
                    if let Err(error) = put_headers(&mut message, &trailers) {
                        return Poll::Ready(Some(Err(StreamBroken::new(error.to_string()))));
                    }
                    if self.rest.as_ref().is_some_and(|body| body.is_end_stream()) {
                        self.rest = None;
                    }
                    return Poll::Ready(Some(Ok(message.freeze())));
                }
            }
        }
    }
}

fn take_body(mut head: Bytes, streams: Vec<InStream>) -> Wire<Body> {
    let kind = take(&mut head, 1, "the body")?.get_u8();
    let mut streams = streams.into_iter();
    match (kind, streams.next(), streams.next()) {
        (NO_BODY, None, None) if head.is_empty() => Ok(body::empty()),
        (INLINE, None, None) if head.len() <= MAX_INLINE => Ok(body::full(head)),
        (STREAMED, Some(stream), None) if head.is_empty() => Ok(streamed(stream)),
        _ => Err(WireError::Malformed { what: "the body" }),
    }
}

fn streamed(stream: InStream) -> Body {
    use futures::StreamExt;
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

fn put_headers(out: &mut BytesMut, headers: &HeaderMap) -> Wire<()> {
    let too_long = |length, max| WireError::TooLong { what: "the headers", length, max };
    let count = u16::try_from(headers.len()).map_err(|_| too_long(headers.len(), u16::MAX.into()))?;
    out.put_u16(count);
    for (name, value) in headers {
        put_short(out, "a header's name", name.as_str().as_bytes())?;
        let length = u16::try_from(value.len()).map_err(|_| too_long(value.len(), u16::MAX.into()))?;
        out.put_u16(length);
        out.put_slice(value.as_bytes());
    }
    check("the head", out.len(), MAX_HEAD)
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
