//! Values on the wire are, byte for byte, what wit-bindgen-wrpc writes for the same types.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use wattle_runtime::{
    CallContext, Caller, ComponentLimits, HttpBody, ImportCall, ImportError, Imports, Runtime,
    RuntimeOptions, ServeOptions, Values,
};
use wattle_tests::{DEADLINE, foreign, relay, sha256};

const INTERFACE: &str = "acme:values/values";
const WIT: &str = include_str!("../foreign/wit/values.wit");

/// What `tests/foreign/tests/value_encoding.rs` encodes, in WAVE.
const CALLS: [(&str, &[&str]); 25] = [
    ("nothing", &[]),
    ("bools", &["true", "false"]),
    ("small", &["200", "-100", "0", "127"]),
    ("u16s", &["127", "128", "65535"]),
    ("s16s", &["-1", "32767", "-32768"]),
    ("u32s", &["0", "300", "4294967295"]),
    ("s32s", &["-64", "64", "-2147483648"]),
    ("u64s", &["1", "34359738368", "18446744073709551615"]),
    ("s64s", &["-65", "1099511627776", "-9223372036854775808"]),
    ("f32s", &["1.5", "-0", "inf"]),
    ("f64s", &["0.1", "2.2250738585072014e-308", "-inf"]),
    ("chars", &["'a'", "'ß'", "'語'", "'😀'"]),
    ("strings", &["\"\"", "\"wattle\"", "\"Grüße, 世界\\n\""]),
    ("bytes", &["[]", "[0, 1, 127, 128, 255]"]),
    ("numbers", &["[0, 128, 65535]", "[-1, 9223372036854775807]"]),
    ("texts", &["[\"a\", \"\", \"ccc\"]", "[[], [1, 2, 300]]"]),
    ("options", &["none", "some(7)", "some(\"x\")", "some(none)"]),
    ("results", &["ok(5)", "err(\"no\")", "ok", "err", "err(9)", "ok('z')"]),
    ("tuples", &["(1, \"one\")", "((2, true), ['b', 'é'])"]),
    ("records", &["{x: 3, y: -3, name: some(\"p\")}", "[{x: 0, y: 0}]"]),
    ("variants", &["nothing", "circle(2.5)", POLYGON, "labelled((\"sky\", blue))"]),
    ("enums", &["red", "blue", "c127", "c128"]),
    ("flagged", &["{b}", "{a, i}", "{b, q}", "{f0, f31}"]),
    ("no-flags", &["{}", "{}", "{}", "{}"]),
    ("everything", &[WHOLE, WHOLES]),
];
const POLYGON: &str = "polygon([{x: 1, y: -1}, {x: 2147483647, y: -2147483648, name: some(\"far\")}])";
const WHOLE: &str = "{shapes: [nothing, circle(2.5), polygon([{x: 1, y: -1}, {x: 2147483647, y: -2147483648, \
     name: some(\"far\")}]), labelled((\"sky\", blue))], marks: {a, c}, outcome: ok([9, 8, 7]), nested: some(some(500))}";
const WHOLES: &str = "[{shapes: [nothing, circle(2.5), polygon([{x: 1, y: -1}, {x: 2147483647, y: -2147483648, \
     name: some(\"far\")}]), labelled((\"sky\", blue))], marks: {a, c}, outcome: err(green), nested: some(none)}, \
     {shapes: [nothing, circle(2.5), polygon([{x: 1, y: -1}, {x: 2147483647, y: -2147483648, \
     name: some(\"far\")}]), labelled((\"sky\", blue))], marks: {a, c}, outcome: ok([])}]";

/// Where the component's calls lead: each is answered with nothing, and its parameters are kept as they are encoded.
#[derive(Default)]
struct Encoded(Mutex<BTreeMap<String, String>>);

impl Imports for Encoded {
    fn call(&self, call: ImportCall) -> BoxFuture<'static, Result<Values, ImportError>> {
        let (function, parameters) = (call.function, call.parameters);
        let (bytes, streams) = function.encode_parameters(parameters).unwrap();
        assert!(streams.is_empty());
        self.0.lock().unwrap().insert(function.name().to_string(), HEXLOWER.encode(&bytes));
        // And what is encoded can be read.
        let read = function.decode_parameters(bytes.clone(), Vec::new()).unwrap();
        assert_eq!(function.encode_parameters(read).unwrap().0, bytes);
        let nothing = function.decode_results(Bytes::new(), Vec::new()).unwrap();
        Box::pin(async { Ok(nothing) })
    }

    fn handle_http(
        &self,
        _: Caller,
        _: Request<HttpBody>,
    ) -> BoxFuture<'static, Result<Response<HttpBody>, ImportError>> {
        panic!("nobody asked for HTTP")
    }

    fn has_link(&self, _: &str, _: &str, _: &str) -> bool {
        true
    }
}

/// What the parameters of each function are, once a component has passed them on.
async fn ours() -> BTreeMap<String, String> {
    let component = relay(WIT, "passing");
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let compiled = runtime.load(component.clone().into(), &sha256(&component)).await.unwrap();
    let encoded = Arc::new(Encoded::default());
    let limits = ComponentLimits {
        max_memory_bytes: 64 << 20,
        max_execution_time: DEADLINE,
        max_concurrent_calls: 1,
        max_queued_calls: 1,
        max_instance_reuse: 1,
    };
    let served = compiled.serve(ServeOptions {
        id: "relay".to_owned(),
        limits,
        config: BTreeMap::new(),
        imports: encoded.clone(),
    });
    for (name, arguments) in CALLS {
        let function = compiled.exported_function(INTERFACE, name).unwrap();
        let place = served.reserve(&CallContext::outermost(Instant::now() + DEADLINE)).await.unwrap();
        let result = place.call_wave(function, &arguments.join(", ")).await;
        assert!(result.is_ok(), "{name} {arguments:?}: {result:?}");
    }
    let encoded = encoded.0.lock().unwrap();
    encoded.clone()
}

#[tokio::test]
async fn values_are_encoded_as_wrpc_encodes_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encodings");
    foreign("value_encoding", &[("ENCODINGS", file.display().to_string())]).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let theirs: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(theirs.len(), CALLS.len());
    let ours = ours().await;
    for (name, theirs) in theirs {
        assert_eq!(ours.get(name).map(String::as_str), Some(theirs), "{name}");
    }
}
