//! Lengths and depths beyond what the protocol has.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use wattle_seal::message::{Encoding, End, Frame, MAX_FRAME_LEN, Request};
use wattle_seal::{Kind, MAX_PLAINTEXT_LEN, OVERHEAD};
use wattle_tests::{Contract, forget_peak_memory, peak_memory};

use crate::kit::{
    Arena, FRONT, HELLO, Line, Verdict, assert_good, call_number, guest, http_get, patched, plaintext,
    request, streamed_post,
};

/// Where the texts of a request begin.
const TEXTS_AT: usize = 8 + 4 + 1 + 8 + 1 + 8 + 1;

/// The component with these functions, which give back what they are given.
const VALUES: &str = "values";
const INTERFACE: &str = "acme:calls/echo";

/// What one value takes in memory at most.
const MAX_DECODED: u64 = 64 << 20;

/// What the parameters of calls from others take together at most.
const ROOM: u64 = 512 << 20;

/// Starts a component of these functions, with a link to it.
async fn start_echo(arena: &Arena, functions: &[&str]) {
    let file = arena.stage.host.folder().join("echo.wasm");
    std::fs::write(&file, Contract::of(functions).echo()).unwrap();
    arena.stage.start_component(&format!("file://{}", file.display()), VALUES, &["--count", "50"]).await.ok();
    let link = ["link", "put", FRONT, VALUES, "acme", "calls", "--interface", "echo"];
    arena.stage.cli.run(link).await.ok();
}

/// The first eight bytes of the hash of a function's type.
fn types(text: &str) -> [u8; 8] {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref()[..8].try_into().unwrap()
}

fn call<'a>(function: &'a str, text: &str, parameters: &'a [u8]) -> Request<'a> {
    Request {
        encoding: Encoding::Values,
        types: types(text),
        interface: INTERFACE,
        function,
        ..request(FRONT, VALUES, parameters)
    }
}

#[tokio::test]
async fn attack_field_that_is_too_long() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let page = http_get("http://hello/");
    let good = request(FRONT, HELLO, &page);
    // The source with a length of 255 where 200 are allowed, and its text with it.
    let long = patched(&good, |bytes| {
        bytes[TEXTS_AT] = 255;
        let text = TEXTS_AT + 1;
        bytes.splice(text..text + FRONT.len(), [b'x'; 255]);
    });
    let before = arena.refused(302).await;
    assert_eq!(line.ask(long).await.refusal(), 302);
    arena.wait_refused(302, before + 1).await;
    // Cut within each of its fields, empty where that can't be, of an encoding that is none, and no text at all.
    let whole = good.encode().unwrap().as_bytes().len() - page.len();
    for length in 8..whole {
        let cut = patched(&Request { call: call_number(), ..good }, |bytes| bytes.truncate(length));
        assert_eq!(line.ask(cut).await.refusal(), 301, "{length} bytes");
    }
    for (place, value) in [(TEXTS_AT, 0), (TEXTS_AT + 1, 0xff), (8 + 4 + 1 + 8, 200)] {
        let bad = patched(&Request { call: call_number(), ..good }, |bytes| bytes[place] = value);
        assert_eq!(line.ask(bad).await.refusal(), 301, "byte {place}");
    }
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_message_without_a_call() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    // Too short to name the call that could be refused: nothing is answered, and nothing breaks.
    let before = arena.refused_in_all().await;
    for kind in [Kind::Request, Kind::Frame, Kind::Cancel, Kind::Ping, Kind::Pong] {
        for length in [0, 7] {
            line.send(&line.seal(kind, plaintext(&vec![0; length]))).await;
        }
    }
    arena.wait_refused_in_all(before + 10).await;
    // What is about a call that there is not is passed over.
    let frame = Frame { call: 77, stream: 9, sequence: 3, end: End::Open, credit: u32::MAX, data: b"x" };
    line.send(&line.seal(Kind::Frame, frame.encode().unwrap())).await;
    line.send(&line.seal(Kind::Cancel, plaintext(&77_u64.to_be_bytes()))).await;
    line.send(&line.seal(Kind::Pong, plaintext(&77_u64.to_be_bytes()))).await;
    assert!(line.ping().await.is_empty());
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_frame_that_is_too_long() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let before = arena.refused_in_all().await;
    let mut frame = Frame { call: 1, stream: 0, sequence: 0, end: End::Open, credit: 0, data: b"" }
        .encode()
        .unwrap()
        .as_bytes()
        .to_vec();
    frame.extend_from_slice(&vec![0; MAX_FRAME_LEN + 1]);
    line.send(&line.seal(Kind::Frame, plaintext(&frame))).await;
    arena.wait_refused_in_all(before + 1).await;
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_message_that_is_too_long() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let before = arena.refused(211).await;
    let mut long = line.seal(Kind::Ping, plaintext(&[0; 8]));
    long.resize(MAX_PLAINTEXT_LEN + OVERHEAD + 1, 0);
    line.send(&long).await;
    arena.wait_refused(211, before + 1).await;
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_stream_beyond_its_credit() {
    let mut arena = Arena::start().await;
    arena.stage.start_component(&guest("misbehave"), "hang", &["--count", "10"]).await.ok();
    let link = ["link", "put", FRONT, "hang", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "hang"])).await.ok();
    let mut line = arena.good_line().await;
    // It never reads its body, and the sender does not care for credit: 64 MiB.
    let head = streamed_post("http://hang/hang");
    let call = Request { streams: 1, link_name: "hang", ..request(FRONT, "hang", &head) };
    let process = arena.stage.host.pid();
    let before = forget_peak_memory(process);
    line.send(&line.seal(Kind::Request, call.encode().unwrap())).await;
    let data = vec![0; 64 * 1024];
    for sequence in 0..1024 {
        let frame = Frame { call: call.call, stream: 0, sequence, end: End::Open, credit: 0, data: &data };
        line.send(&line.seal(Kind::Frame, frame.encode().unwrap())).await;
    }
    let growth = peak_memory(process).saturating_sub(before);
    println!("memory grew by {} KiB", growth >> 10);
    assert!(growth < 32 << 20, "memory grew by {growth} bytes");
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_http_head_that_is_too_long_or_malformed() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let head = |method: &[u8], uri: &[u8], count: u16, headers: &[u8]| {
        let mut head = vec![u8::try_from(method.len()).unwrap()];
        head.extend_from_slice(method);
        head.extend_from_slice(&u32::try_from(uri.len()).unwrap().to_be_bytes());
        head.extend_from_slice(uri);
        head.extend_from_slice(&count.to_be_bytes());
        head.extend_from_slice(headers);
        head
    };
    let mut claims_much = head(b"GET", b"", 0, b"");
    claims_much[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut many = Vec::new();
    for _ in 0..u16::MAX {
        many.extend_from_slice(b"\x01a\x00\x04more");
    }
    many.push(0);
    let uri = format!("http://hello/{}", "x".repeat(1 << 20));
    for (what, parameters) in [
        ("nothing", vec![]),
        ("a URI of 4 GiB that is not there", claims_much),
        ("more headers than there are", head(b"GET", b"http://hello/", u16::MAX, b"\x00")),
        ("65,535 headers of 512 KiB", head(b"GET", b"http://hello/", u16::MAX, &many)),
        ("a URI of 1 MiB", head(b"GET", uri.as_bytes(), 0, &[0])),
        ("no method", head(b"", b"http://hello/", 0, &[0])),
        ("a method that is none", head(b"GET\r\n", b"http://hello/", 0, &[0])),
        ("a URI that is none", head(b"GET", b"http://[", 0, &[0])),
        ("a header that is none", head(b"GET", b"http://hello/", 1, b"\x02a\n\x00\x00\x00")),
        ("a header's value that is none", head(b"GET", b"http://hello/", 1, b"\x01a\x00\x03x\r\n\x00")),
        ("a body of a kind that is none", head(b"GET", b"http://hello/", 0, &[9])),
        ("a body as a stream that is not there", head(b"GET", b"http://hello/", 0, &[2])),
        ("something behind its end", head(b"GET", b"http://hello/", 0, &[0, 0])),
    ] {
        let verdict = line.ask(request(FRONT, HELLO, &parameters).encode().unwrap()).await;
        let refused = matches!(verdict, Verdict::Failed(..) | Verdict::Refused(..));
        assert!(refused, "{what}: {verdict:?}");
    }
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_list_longer_than_its_bytes() {
    let mut arena = Arena::start().await;
    const TEXT: &str = "func(v: list<string>) -> list<string>";
    start_echo(&arena, &["strings: func(v: list<string>) -> list<string>"]).await;
    let mut line = arena.good_line().await;
    let process = arena.stage.host.pid();
    let good = [2, 1, b'a', 2, b'b', b'c'];
    let verdict = line.ask(call("strings", TEXT, &good).encode().unwrap()).await;
    assert_eq!(verdict, Verdict::Value(good.to_vec()), "the control");
    let before = forget_peak_memory(process);
    for (what, parameters) in [
        ("nothing", &[][..]),
        ("four thousand million strings in five bytes", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a length of more than 32 bits", &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("a length without an end", &[0x80; 100]),
        ("a string longer than what is there", &[1, 0xff, 0xff, 0x03, b'a']),
        ("a string that is not UTF-8", &[1, 2, 0xc3, 0x28]),
        ("one string more than there is", &[3, 1, b'a', 1, b'b']),
        ("something behind its end", &[1, 1, b'a', 0]),
    ] {
        let verdict = line.ask(call("strings", TEXT, parameters).encode().unwrap()).await;
        let refused = matches!(verdict, Verdict::Failed(..) | Verdict::Refused(..));
        assert!(refused, "{what}: {verdict:?}");
    }
    let growth = peak_memory(process).saturating_sub(before);
    assert!(growth < 16 << 20, "memory grew by {growth} bytes");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_value_that_is_much_more_in_memory_than_on_the_wire() {
    let mut arena = Arena::start().await;
    const TEXT: &str = "func(v: list<list<list<u8>>>) -> list<list<list<u8>>>";
    start_echo(&arena, &["nested: func(v: list<list<list<u8>>>) -> list<list<list<u8>>>"]).await;
    let mut line = arena.good_line().await;
    let good = [1, 2, 1, 7, 0];
    let verdict = line.ask(call("nested", TEXT, &good).encode().unwrap()).await;
    assert_eq!(verdict, Verdict::Value(good.to_vec()), "the control");
    let process = arena.stage.host.pid();
    // Empty lists take a byte on the wire and many in memory: as many as are allowed, and more than that.
    for (count, allowed) in [(1 << 20, true), (4 << 20, false)] {
        let before = forget_peak_memory(process);
        let mut parameters = leb128(count);
        parameters.resize(parameters.len() + count, 0);
        let verdict = line.ask(call("nested", TEXT, &parameters).encode().unwrap()).await;
        let growth = peak_memory(process).saturating_sub(before);
        println!("{}; memory grew by {} KiB", short(&verdict), growth >> 10);
        assert_eq!(matches!(verdict, Verdict::Value(_)), allowed, "{}", short(&verdict));
        // The value is there twice while it is given to a component and comes back, and the component has its own memory.
        let bound = if allowed { 2 * MAX_DECODED + (128 << 20) } else { MAX_DECODED };
        assert!(growth < bound, "memory grew by {growth} bytes for {}", parameters.len());
    }
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_many_great_values_at_once() {
    let mut arena = Arena::start().await;
    const TEXT: &str = "func(v: list<u8>) -> list<u8>";
    const CALLS: usize = 40;
    const LENGTH: usize = 3 << 19;
    start_echo(&arena, &["bytes: func(v: list<u8>) -> list<u8>"]).await;
    let mut line = arena.good_line().await;
    let verdict = line.ask(call("bytes", TEXT, &[1, 7]).encode().unwrap()).await;
    assert_eq!(verdict, Verdict::Value(vec![1, 7]), "the control");
    let process = arena.stage.host.pid();
    let before = forget_peak_memory(process);
    // Each is allowed by itself. What all of them take together must have a bound, too.
    let mut parameters = leb128(LENGTH);
    parameters.resize(parameters.len() + LENGTH, 7);
    for _ in 0..CALLS {
        let call = Request { remaining: 300_000, ..call("bytes", TEXT, &parameters) };
        line.send(&line.seal(Kind::Request, call.encode().unwrap())).await;
    }
    // What becomes of each is the host's choice, as long as something does. It is much work for one processor.
    let end = Instant::now() + Duration::from_secs(240);
    let mut ended = 0;
    while ended < CALLS {
        let growth = peak_memory(process).saturating_sub(before) >> 20;
        assert!(Instant::now() < end, "{ended} of {CALLS} calls have ended; memory grew by {growth} MiB");
        let Ok(verdict) = timeout(Duration::from_secs(20), line.verdict(&[])).await else { continue };
        println!("{}; memory grew by {growth} MiB", short(&verdict));
        ended += 1;
    }
    let growth = peak_memory(process).saturating_sub(before);
    // The results that come of them are as great, and the bytes of all are there as well.
    assert!(growth < 3 * ROOM, "{CALLS} calls together made memory grow by {} MiB", growth >> 20);
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_text_nested_without_end() {
    let mut arena = Arena::start().await;
    start_echo(&arena, &["strings: func(v: list<string>) -> list<string>"]).await;
    let client = arena.client_by_certificate(&[VALUES]);
    let own = client.key.public_key();
    let mut line = arena.line(&client).await;
    let wave = |text: &str| -> Vec<u8> { text.as_bytes().to_vec() };
    let ask = async |line: &mut Line, text: &[u8]| {
        let call = Request {
            encoding: Encoding::Wave,
            link_name: "",
            interface: INTERFACE,
            function: "strings",
            ..request(&own, VALUES, text)
        };
        line.ask(call.encode().unwrap()).await
    };
    let verdict = ask(&mut line, &wave("[\"a\"]")).await;
    assert!(matches!(verdict, Verdict::Value(_)), "the control: {verdict:?}");
    let began = Instant::now();
    for text in [
        "[".repeat(1 << 20),
        "(".repeat(1 << 20),
        "some(".repeat(1 << 18),
        format!("({}", "{a:".repeat(1 << 18)),
    ] {
        let verdict = ask(&mut line, &wave(&text)).await;
        assert!(matches!(verdict, Verdict::Failed(..) | Verdict::Refused(..)), "{verdict:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_call_with_other_types() {
    let mut arena = Arena::start().await;
    const TEXT: &str = "func(v: list<string>) -> list<string>";
    start_echo(&arena, &["strings: func(v: list<string>) -> list<string>"]).await;
    let mut line = arena.good_line().await;
    let good = [0];
    let before = arena.refused(411).await;
    for text in ["func(v: list<u8>) -> list<u8>", ""] {
        let verdict = line.ask(call("strings", text, &good).encode().unwrap()).await;
        assert_eq!(verdict.refusal(), 411, "{verdict:?}");
    }
    arena.wait_refused(411, before + 2).await;
    let before = arena.refused(408).await;
    let verdict = line.ask(call("strangers", TEXT, &good).encode().unwrap()).await;
    assert_eq!(verdict.refusal(), 408, "{verdict:?}");
    arena.wait_refused(408, before + 1).await;
    let verdict = line.ask(call("strings", TEXT, &good).encode().unwrap()).await;
    assert_eq!(verdict, Verdict::Value(good.to_vec()), "the control");
    arena.assert_lives().await;
}

/// A number as the value encoding writes it.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A verdict without its content.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Value(value) => format!("a value of {} bytes", value.len()),
        other => format!("{other:?}"),
    }
}
