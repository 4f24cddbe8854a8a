//! Streams and futures into a store, through a component, and out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use wasmtime::component::{Component, Func, Instance, Linker, Val};
use wasmtime::{AsContextMut, Store};

use super::engine::engine;
use crate::call::Readers;
use crate::values::{ByteStream, FunctionType, Life, StreamBroken, StreamHost, Values};

struct Data(Life);

impl StreamHost for Data {
    fn life(&self) -> &Life {
        &self.0
    }
}

const LIMIT: Duration = Duration::from_secs(20);

/// A component that gives back the stream or future which it was given.
fn passes_on(kind: &str, element: &str) -> String {
    format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "f") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "s" ({kind} {element})) (result ({kind} {element}))
                (canon lift (core func $i "f")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}

/// A component that makes a stream of bytes, and ends it when it is told so.
const MAKES: &str = r#"(component
    (type $s (stream u8))
    (core module $lib
        (memory (export "memory") 1))
    (core instance $lib (instantiate $lib))
    (core func $new (canon stream.new $s))
    (core func $drop (canon stream.drop-writable $s))
    (core func $write (canon stream.write $s async (memory (core memory $lib "memory"))))
    (core module $m
        (import "" "new" (func $new (result i64)))
        (import "" "drop" (func $drop (param i32)))
        (import "" "write" (func $write (param i32 i32 i32) (result i32)))
        (global $writer (mut i32) (i32.const 0))
        (func (export "make") (result i32)
            (local $both i64)
            (local.set $both (call $new))
            (global.set $writer (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))
            (i32.wrap_i64 (local.get $both)))
        (func (export "write") (result i32) (call $write (global.get $writer) (i32.const 0) (i32.const 5)))
        (func (export "end") (call $drop (global.get $writer))))
    (core instance $i (instantiate $m (with "" (instance
        (export "new" (func $new)) (export "drop" (func $drop)) (export "write" (func $write))))))
    (func (export "make") (result $s) (canon lift (core func $i "make")))
    (func (export "write") (result u32) (canon lift (core func $i "write")))
    (func (export "end") (canon lift (core func $i "end"))))"#;

struct Running {
    store: Store<Data>,
    instance: Instance,
}

impl Running {
    async fn new(wat: &str) -> Self {
        let engine = engine();
        let component = Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let mut store = Store::new(&engine, Data(Life::default()));
        let instance = Linker::new(&engine).instantiate_async(&mut store, &component).await.unwrap();
        Self { store, instance }
    }

    fn function(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    async fn call(&mut self, name: &str, params: &[Val], results: usize) -> Vec<Val> {
        let function = self.function(name);
        let mut vals = vec![Val::Bool(false); results];
        function.call_async(&mut self.store, params, &mut vals).await.unwrap();
        vals
    }

    /// Puts a stream in, calls `f` and takes its result out.
    async fn pass_on(&mut self, ty: &str, stream: ByteStream) -> ByteStream {
        let function = super::function(&format!("func(s: {ty}) -> {ty}"));
        let values = Values { vals: vec![super::super::placeholder()], streams: vec![stream] };
        let params = values.put_parameters(self.store.as_context_mut(), &function).unwrap();
        let results = self.call("f", &params, 1).await;
        self.take(&function, results)
    }

    fn take(&mut self, function: &FunctionType, results: Vec<Val>) -> ByteStream {
        let mut values = Values::take_results(self.store.as_context_mut(), function, results).unwrap();
        values.streams.remove(0)
    }

    /// Lets the store work until `done`; the store's own failure is told.
    async fn run<T>(&mut self, done: impl Future<Output = T>) -> wasmtime::Result<T> {
        let run = self.store.run_concurrent(async |_| done.await);
        tokio::time::timeout(LIMIT, run).await.expect("the store does not get done")
    }
}

fn messages(messages: &[&[u8]]) -> ByteStream {
    let messages: Vec<_> = messages.iter().map(|message| Ok(Bytes::copy_from_slice(message))).collect();
    Box::pin(futures::stream::iter(messages))
}

async fn collect(mut stream: ByteStream) -> Result<Vec<u8>, StreamBroken> {
    let mut all = Vec::new();
    while let Some(message) = stream.next().await {
        let message = message?;
        assert!(!message.is_empty() && message.len() <= 64 << 10);
        all.extend_from_slice(&message);
    }
    Ok(all)
}

#[tokio::test]
async fn elements_pass_through_a_store() {
    let long = "x".repeat(200_000);
    let mut long_text = Vec::new();
    crate::values::reader::put_bytes(&mut long_text, long.as_bytes());
    let many: Vec<u8> = (0..50_000u32).flat_map(|number| [(number % 128) as u8]).collect();
    let cases: Vec<(&str, &str, Vec<&[u8]>)> = vec![
        ("u8", "stream<u8>", vec![b"hello ", b"", b"world"]),
        ("u8", "stream<u8>", vec![&many, &many]),
        ("u64", "stream<u64>", vec![&many]),
        ("string", "stream<string>", vec![b"\x01a\x02b", b"c", b"\x00"]),
        ("string", "stream<string>", vec![&long_text[..7], &long_text[7..]]),
        ("(tuple string (list u8))", "stream<tuple<string, list<u8>>>", vec![b"\x01k\x02\x01", b"\x02"]),
        ("(result u32 (error string))", "stream<result<u32, string>>", vec![b"\x00\x05\x01\x01e"]),
        ("", "stream", vec![b"\x00\x00", b"\x00"]),
        ("bool", "stream<bool>", vec![]),
    ];
    for (element, ty, input) in cases {
        let mut running = Running::new(&passes_on("stream", element)).await;
        let output = running.pass_on(ty, messages(&input)).await;
        let output = running.run(collect(output)).await.unwrap().unwrap();
        assert!(output == input.concat(), "{ty}: {} bytes", output.len());
    }
}

#[tokio::test]
async fn futures_pass_through_a_store() {
    for (element, ty, input) in [
        ("string", "future<string>", vec![b"\x05he".as_slice(), b"llo"]),
        ("(option u32)", "future<option<u32>>", vec![b"\x01\x07"]),
        ("", "future", vec![b"\x00"]),
        ("(result)", "future<result>", vec![b"\x01"]),
    ] {
        let mut running = Running::new(&passes_on("future", element)).await;
        let output = running.pass_on(ty, messages(&input)).await;
        let output = running.run(collect(output)).await.unwrap().unwrap();
        assert_eq!(output, input.concat(), "{ty}");
    }
}

#[tokio::test]
async fn a_broken_or_damaged_stream_fails_the_store() {
    let broken = || -> ByteStream {
        let part = futures::stream::iter([Ok(Bytes::from_static(b"\x01a"))]);
        Box::pin(part.chain(futures::stream::iter([Err(StreamBroken::new("the wire was cut"))])))
    };
    let cases: Vec<(&str, &str, &str, ByteStream, &str)> = vec![
        ("stream", "u8", "stream<u8>", broken(), "the stream broke off: the wire was cut"),
        ("stream", "string", "stream<string>", broken(), "the stream broke off: the wire was cut"),
        (
            "stream",
            "string",
            "stream<string>",
            messages(&[b"\x01a\x05b"]),
            "stream<string>: 2 bytes too many",
        ),
        (
            "stream",
            "bool",
            "stream<bool>",
            messages(&[b"\x01\x02"]),
            "stream<bool>: an element can't be decoded",
        ),
        (
            "stream",
            "string",
            "stream<string>",
            messages(&[b"\xff\xff\xff\xff\x0f"]),
            "longer than 8388608 bytes",
        ),
        ("future", "string", "future<string>", messages(&[b"\x05a"]), "it ended without a value"),
        ("future", "string", "future<string>", messages(&[b"\x00\x00"]), "future<string>: 1 bytes too many"),
    ];
    for (kind, element, ty, input, reason) in cases {
        let mut running = Running::new(&passes_on(kind, element)).await;
        let output = running.pass_on(ty, input).await;
        let error = running.run(collect(output)).await.unwrap_err();
        assert!(format!("{error:#}").contains(reason), "{ty}: {error:#}");
    }
}

#[tokio::test]
async fn dropping_the_reader_drops_the_writer() {
    for (element, ty) in [("u8", "stream<u8>"), ("string", "stream<string>")] {
        let mut running = Running::new(&passes_on("stream", element)).await;
        let (mut sender, receiver) = mpsc::channel::<Result<Bytes, StreamBroken>>(0);
        let mut output = running.pass_on(ty, Box::pin(receiver)).await;
        let sent = async move {
            sender.send(Ok(Bytes::from_static(b"\x01a"))).await.unwrap();
            assert_eq!(output.next().await.unwrap().unwrap(), b"\x01a".as_slice());
            drop(output);
            // One message may be under way when the reader goes.
            while sender.send(Ok(Bytes::from_static(b"\x01b"))).await.is_ok() {}
        };
        running.run(sent).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_read_ahead() {
    let mut running = Running::new(&passes_on("stream", "u8")).await;
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let endless = futures::stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from_static(&[7; 1000]))
    });
    let mut output = running.pass_on("stream<u8>", Box::pin(endless)).await;
    let reading = async {
        for _ in 0..10 {
            output.next().await.unwrap().unwrap();
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    running.run(reading).await.unwrap();
    let pulled = pulled.load(Ordering::Relaxed);
    assert!((10..=13).contains(&pulled), "{pulled} messages were pulled for 10 that were read");
}

#[tokio::test]
async fn a_component_ends_its_stream_by_dropping_it() {
    let mut running = Running::new(MAKES).await;
    let function = super::function("func() -> stream<u8>");
    let made = running.call("make", &[], 1).await;
    let mut stream = running.take(&function, made);
    assert_eq!(running.call("write", &[], 1).await, [Val::U32(5 << 4)], "5 elements were taken");
    assert_eq!(running.run(stream.next()).await.unwrap(), Some(Ok(Bytes::from_static(&[0; 5]))));
    running.call("end", &[], 0).await;
    assert_eq!(running.run(stream.next()).await.unwrap(), None);
    drop(running);
    assert_eq!(stream.next().await, None, "it had ended before");
}

#[tokio::test]
async fn a_component_waits_for_whoever_reads_its_stream() {
    let mut running = Running::new(MAKES).await;
    let function = super::function("func() -> stream<u8>");
    let made = running.call("make", &[], 1).await;
    let mut stream = running.take(&function, made);
    assert_eq!(running.call("write", &[], 1).await, [Val::U32(5 << 4)]);
    assert_eq!(running.call("write", &[], 1).await, [Val::U32(u32::MAX)], "the first message is still there");
    assert!(running.run(stream.next()).await.unwrap().is_some());
    assert!(running.run(stream.next()).await.unwrap().is_some());
    let error = running.function("write").call_async(&mut running.store, &[], &mut [Val::Bool(false)]).await;
    assert!(error.is_err(), "its first write's end was not taken");
    drop(running);
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_store_that_goes_breaks_its_streams() {
    let mut running = Running::new(MAKES).await;
    let function = super::function("func() -> stream<u8>");
    let made = running.call("make", &[], 1).await;
    let mut stream = running.take(&function, made);
    drop(running);
    let broken = tokio::time::timeout(LIMIT, stream.next()).await.unwrap();
    assert_eq!(broken, Some(Err(StreamBroken::new("the component that writes it is gone"))));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_keeps_alive_what_it_comes_from() {
    for (read_all, left_early) in [(true, false), (false, true)] {
        let (readers, mut gone) = Readers::new();
        let mut values = Values { vals: Vec::new(), streams: vec![messages(&[b"a"]), messages(&[b"b"])] };
        values.keep_alive(&readers);
        drop(readers);
        let last = values.streams.pop().unwrap();
        if read_all {
            assert_eq!(collect(last).await.unwrap(), b"b");
        } else {
            drop(last);
        }
        assert!(gone.try_recv().is_err(), "one still reads");
        assert_eq!(collect(values.streams.pop().unwrap()).await.unwrap(), b"a");
        assert_eq!(gone.try_recv(), Ok(left_early));
    }
}
