//! Encoded parameters of a function, as another member sends them, and the same function called with text.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wattle_runtime::{ByteStream, FunctionType};

/// Functions that have every type between them.
static FUNCTIONS: LazyLock<Vec<FunctionType>> = LazyLock::new(|| {
    [
        "func(a: bool, b: u16, c: u32, d: u64, e: s8, f: s16, g: s32, h: s64, i: f32, j: f64, k: char, l: string)",
        "func(a: list<u8>, b: list<string>, c: list<list<u16>>, d: list<tuple<tuple<tuple<bool>>>>)",
        "func(a: map<string, list<u8>>, b: list<f32, 3>, c: list<flags { a, b, c, d, e, f, g, h, i }>)",
        "func(a: list<record { name: string, kind: enum { x, y }, next: option<option<u8>> }>)",
        "func(a: list<variant { none, one(u8), more(list<result<string, char>>) }>, b: result)",
        "func(a: list<stream<u8>>, b: option<future<string>>, c: stream<tuple<string, u64>>)",
    ]
    .into_iter()
    .map(|text| FunctionType::parse("fuzz:values/all@1.0.0", "f", text).expect("a good type"))
    .collect()
});

fn streams(count: usize) -> Vec<ByteStream> {
    (0..count).map(|_| Box::pin(futures::stream::empty()) as ByteStream).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((head, bytes)) = data.split_first_chunk::<2>() else { return };
    let Some(function) = FUNCTIONS.get(usize::from(head[0])) else {
        // Types that come as text.
        if let Ok(text) = std::str::from_utf8(data)
            && let Ok(function) = FunctionType::parse("", "f", text)
        {
            assert_eq!(function.text(), text);
        }
        return;
    };
    let count = usize::from(head[1]);
    let Ok(values) = function.decode_parameters(Bytes::copy_from_slice(bytes), streams(count)) else { return };
    let (again, given) = function.encode_parameters(values).expect("they are of its types");
    assert_eq!(given.len(), count);
    // Numbers may have come in more bytes than they need, and NaNs in other bits; then it is the second time that counts.
    let values = function.decode_parameters(again.clone(), given).expect("they were encoded");
    let (third, _) = function.encode_parameters(values).expect("they are of its types");
    assert_eq!(again, third);
    assert!(again.len() <= bytes.len());
});
