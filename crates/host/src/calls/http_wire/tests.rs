use futures::channel::mpsc;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Streams = Vec<OutStream>;

/// A head's headers, a name possibly several times.
fn headers() -> impl Strategy<Value = HeaderMap> {
    let header = ("[a-z][a-z0-9-]{0,20}", vec(0x20u8..0x7f, 0..40));
    vec(header, 0..12).prop_map(|all| {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            let value = HeaderValue::from_bytes(&value).unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        headers
    })
}

/// A body in pieces, some of them longer than a message.
fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
    let length =
        prop_oneof![0..100usize, Just(MAX_INLINE), Just(MAX_INLINE + 1), Just(MAX_DATA + 1), Just(200_000)];
    vec((length, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length])), 0..5)
}

fn stream_body(pieces: Vec<Bytes>, trailers: Option<HeaderMap>) -> Body {
    let data = pieces.into_iter().map(Frame::data);
    let frames: Vec<_> = data.chain(trailers.map(Frame::trailers)).map(Ok).collect();
    StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Data and trailers of a body.
async fn read(body: Body) -> (Bytes, Option<HeaderMap>) {
    let whole = body.collect().await.unwrap();
    let trailers = whole.trailers().cloned();
    (whole.to_bytes(), trailers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_come_back(
        method in "[A-Z]{1,10}",
        path in "/[a-z0-9/]{0,30}",
        headers in headers(),
        pieces in pieces(),
        trailers in proptest::option::of(headers()),
    ) {
        let (expected, long) = (pieces.concat(), pieces.concat().len() > MAX_INLINE);
        let mut request = Request::new(stream_body(pieces, trailers.clone()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("http://hello{path}").parse().unwrap();
        *request.headers_mut() = headers.clone();
        let uri = request.uri().clone();
        let (data, seen) = wait(async {
            let (head, streams) = encode_request(request).await.unwrap();
            assert_eq!(streams.len(), usize::from(long || trailers.is_some()));
            let request = decode_request(head, streams).unwrap();
            assert_eq!((request.method().as_str(), request.uri()), (method.as_str(), &uri));
            assert_eq!(request.headers(), &headers);
            read(request.into_body()).await
        });
        prop_assert!(data == expected, "{} bytes instead of {}", data.len(), expected.len());
        prop_assert_eq!(seen, trailers);
    }

    #[test]
    fn responses_come_back(status in 100u16..1000, headers in headers(), data in vec(any::<u8>(), 0..100)) {
        let mut response = Response::new(body::full(data.clone()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers.clone();
        let (seen, body) = wait(async {
            let (head, streams) = encode_response(response).await.unwrap();
            assert!(streams.is_empty());
            let (head, body) = decode_response(head, streams).unwrap().into_parts();
            (head, read(body).await)
        });
        prop_assert_eq!((seen.status.as_u16(), &seen.headers), (status, &headers));
        prop_assert_eq!(body, (Bytes::from(data), None));
    }

    #[test]
    fn bytes_that_are_no_head_are_refused_or_read_and_never_more(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = decode_request(bytes.clone(), Streams::new());
        let _ = decode_response(bytes.clone(), Streams::new());
        let _ = read_message(bytes);
    }

    #[test]
    fn a_head_that_was_changed_is_refused_or_read(
        headers in headers(),
        at in any::<proptest::sample::Index>(),
        byte: u8,
    ) {
        let mut request = Request::new(body::full("a body"));
        *request.uri_mut() = Uri::from_static("http://hello/there");
        *request.headers_mut() = headers;
        let (head, _) = wait(encode_request(request)).unwrap();
        let mut changed = head.to_vec();
        changed[at.index(head.len())] = byte;
        let _ = decode_request(changed.into(), Streams::new());
        let cut = head.slice(..at.index(head.len()));
        // Cut off within its body, it is a request with less of one.
        if cut.len() < head.len() - "a body".len() {
            prop_assert!(decode_request(cut, Streams::new()).is_err());
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let mut request = Request::new(body::empty());
    *request.uri_mut() = Uri::from_static("http://hello/");
    request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
    let (head, streams) = wait(encode_request(request)).unwrap();
    assert_eq!(head, &b"\x03GET\0\0\0\x0dhttp://hello/\0\x01\x06accept\0\x03*/*\0"[..]);
    assert!(streams.is_empty());
    let (value, _) = wait(encode_response(Response::new(body::full("hi")))).unwrap();
    assert_eq!(value, &b"\x00\xc8\0\0\x01hi"[..]);
}

#[test]
fn the_length_that_an_empty_body_would_have_is_kept() {
    for status in [200, 204, 304] {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("content-length", HeaderValue::from_static("1234"));
        let (value, streams) = wait(encode_response(response)).unwrap();
        let response = decode_response(value, streams).unwrap();
        assert_eq!(response.headers()["content-length"], "1234");
        assert!(response.body().is_end_stream());
    }
}

#[test]
fn a_body_has_the_streams_that_its_head_says() {
    let stream = || Box::pin(futures::stream::empty()) as OutStream;
    let head = |kind: u8, rest: &[u8]| [&[0, 200, 0, 0, kind][..], rest].concat().into();
    assert!(decode_response(head(NO_BODY, b""), vec![stream()]).is_err());
    assert!(decode_response(head(NO_BODY, b"x"), Streams::new()).is_err());
    assert!(decode_response(head(INLINE, b"x"), vec![stream()]).is_err());
    assert!(decode_response(head(INLINE, &[0; MAX_INLINE + 1]), Streams::new()).is_err());
    assert!(decode_response(head(STREAMED, b""), Streams::new()).is_err());
    assert!(decode_response(head(STREAMED, b"x"), vec![stream()]).is_err());
    assert!(decode_response(head(STREAMED, b""), vec![stream(), stream()]).is_err());
    assert!(decode_response(head(3, b""), Streams::new()).is_err());
    assert!(decode_response(head(STREAMED, b""), vec![stream()]).is_ok());
}

#[test]
fn what_comes_behind_trailers_and_what_breaks_off_is_no_end() {
    let body = |messages: Vec<Result<&'static [u8], StreamBroken>>| {
        let messages = messages.into_iter().map(|message| message.map(Bytes::from_static));
        streamed(Box::pin(futures::stream::iter(messages.collect::<Vec<_>>())) as OutStream)
    };
    let trailers = b"\x01\0\0".as_slice();
    assert!(wait(body(vec![Ok(b"\0hi"), Ok(trailers)]).collect()).is_ok());
    assert!(wait(body(vec![Ok(trailers), Ok(b"\0hi")]).collect()).is_err());
    assert!(wait(body(vec![Ok(b"\0hi"), Err(StreamBroken::new("gone"))]).collect()).is_err());
    assert!(wait(body(vec![Ok(b"")]).collect()).is_err());
    assert!(wait(body(vec![Ok(b"\x02hi")]).collect()).is_err());
}

#[tokio::test]
async fn a_head_waits_for_no_body_that_promised_nothing() {
    let (mut sender, frames) = mpsc::unbounded();
    let open = || StreamBody::new(frames).boxed_unsync();
    let (_, mut streams) = encode_response(Response::new(open())).now_or_never().expect("it waits").unwrap();
    sender.start_send(Ok(Frame::data(Bytes::from_static(b"later")))).unwrap();
    assert_eq!(streams[0].next().await.unwrap().unwrap(), &b"\0later"[..]);
    drop(sender);
    assert!(streams[0].next().await.is_none());
}

#[test]
fn a_head_that_is_too_long_is_not_sent() {
    let mut response = Response::new(body::empty());
    let value = HeaderValue::from_bytes(&[b'x'; 60_000]).unwrap();
    for number in 0..5 {
        response.headers_mut().append(HeaderName::from_static("long"), value.clone());
        let mut again = Response::new(body::empty());
        *again.headers_mut() = response.headers().clone();
        assert_eq!(wait(encode_response(again)).is_ok(), number < 4, "{number}");
    }
}
