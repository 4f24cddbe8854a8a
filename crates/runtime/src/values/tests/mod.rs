//! Values of any type: encoded, decoded, read and shown; and streams through an engine.

mod any;
mod engine;
mod streams;

use bytes::Bytes;
use proptest::prelude::*;
use wasmtime::component::Val;

use super::codec::Decoder;
use super::{ByteStream, CodecError, FunctionType, Values};

fn function(text: &str) -> FunctionType {
    FunctionType::parse("test:values/all@1.0.0", "f", text).unwrap()
}

fn values(vals: Vec<Val>) -> Values {
    Values { vals, streams: Vec::new() }
}

/// What a value takes, without what the allocator adds.
fn size(val: &Val) -> usize {
    let inside = |vals: &[Val]| vals.iter().map(size).sum::<usize>();
    size_of::<Val>()
        + match val {
            Val::String(text) | Val::Enum(text) | Val::Variant(text, None) => text.capacity(),
            Val::Variant(text, Some(val)) => text.capacity() + size(val),
            Val::List(vals) | Val::FixedLengthList(vals) | Val::Tuple(vals) => {
                inside(vals) + (vals.capacity() - vals.len()) * size_of::<Val>()
            }
            Val::Map(entries) => entries.iter().map(|(key, value)| size(key) + size(value)).sum(),
            Val::Record(fields) => {
                fields.iter().map(|(name, val)| size_of::<String>() + name.capacity() + size(val)).sum()
            }
            Val::Option(Some(val)) | Val::Result(Ok(Some(val)) | Err(Some(val))) => size(val),
            Val::Flags(names) => names.iter().map(|name| size_of::<String>() + name.capacity()).sum(),
            _ => 0,
        }
}

proptest! {
    #[test]
    fn any_value_comes_back(vals in any::parameters()) {
        let (function, vals) = vals;
        let (bytes, streams) = function.encode_parameters(values(vals.clone())).unwrap();
        prop_assert!(streams.is_empty());
        let back = function.decode_parameters(bytes, Vec::new()).unwrap();
        prop_assert_eq!(back.vals, vals);
    }

    #[test]
    fn any_type_can_be_read_from_its_text(vals in any::parameters()) {
        let (function, _) = vals;
        let again = FunctionType::parse("", "", function.text()).unwrap();
        prop_assert_eq!(again.text(), function.text());
        prop_assert_eq!(again.digest(), function.digest());
        prop_assert!(again.parameters().types() == function.parameters().types());
    }

    #[test]
    fn any_value_can_be_read_from_its_text(vals in any::parameters()) {
        let (function, vals) = vals;
        let texts: Vec<_> = vals.iter().map(|val| super::wave::write(val).unwrap()).collect();
        let back = function.parameters_from_wave(&texts.join(", ")).unwrap();
        prop_assert_eq!(back.vals, vals);
    }

    #[test]
    fn encodings_cut_short_or_with_more_are_refused(vals in any::parameters(), at: prop::sample::Index) {
        let (function, vals) = vals;
        let (bytes, _) = function.encode_parameters(values(vals)).unwrap();
        if !bytes.is_empty() {
            let short = bytes.slice(..at.index(bytes.len()));
            let error = function.decode_parameters(short, Vec::new()).unwrap_err();
            prop_assert!(matches!(error, CodecError::Truncated { .. }), "{}", error);
        }
        let more = Bytes::from([bytes.as_ref(), b"!"].concat());
        let error = function.decode_parameters(more, Vec::new()).unwrap_err();
        prop_assert_eq!(error, CodecError::Trailing { bytes: 1 });
    }

    #[test]
    fn garbage_is_refused_or_small(
        vals in any::parameters(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (function, _) = vals;
        let mut decoder = Decoder::new(&bytes);
        for ty in function.parameters().types() {
            match decoder.decode(ty) {
                Ok(val) => prop_assert!(size(&val) <= bytes.len() * 1024 + (64 << 10) + 40),
                Err(_) => return Ok(()),
            }
        }
    }

    #[test]
    fn text_that_is_none_is_refused(vals in any::parameters(), text in "[\\[\\](){}\"':,a-z0-9% -]{0,30}") {
        let (function, _) = vals;
        let _ = function.parameters_from_wave(&text);
        let _ = FunctionType::parse("", "", &text);
    }
}

#[test]
fn known_values_have_known_bytes() {
    let some = |val| Val::Option(Some(Box::new(val)));
    let text = |text: &str| Val::String(text.into());
    let vectors: Vec<(&str, Val, &[u8])> = vec![
        ("bool", Val::Bool(true), &[1]),
        ("u8", Val::U8(200), &[200]),
        ("s8", Val::S8(-1), &[0xff]),
        ("u16", Val::U16(300), &[0xac, 0x02]),
        ("u32", Val::U32(u32::MAX), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("u64", Val::U64(127), &[0x7f]),
        ("s16", Val::S16(-300), &[0xd4, 0x7d]),
        ("s32", Val::S32(64), &[0xc0, 0x00]),
        ("s64", Val::S64(-1), &[0x7f]),
        ("f32", Val::Float32(1.5), &[0, 0, 0xc0, 0x3f]),
        ("f32", Val::Float32(f32::from_bits(0xffff_ffff)), &[0, 0, 0xc0, 0x7f]),
        ("f64", Val::Float64(-2.0), &[0, 0, 0, 0, 0, 0, 0, 0xc0]),
        ("char", Val::Char('€'), &[0xe2, 0x82, 0xac]),
        ("string", text("hé"), &[3, b'h', 0xc3, 0xa9]),
        ("list<u8>", Val::List(vec![Val::U8(7), Val::U8(255)]), &[2, 7, 255]),
        ("list<u16, 2>", Val::FixedLengthList(vec![Val::U16(1), Val::U16(128)]), &[1, 0x80, 0x01]),
        ("map<string, u8>", Val::Map(vec![(text("a"), Val::U8(1))]), &[1, 1, b'a', 1]),
        (
            "record { a: u8, b: string }",
            Val::Record(vec![("a".into(), Val::U8(1)), ("b".into(), text("x"))]),
            &[1, 1, b'x'],
        ),
        ("tuple<u8, bool>", Val::Tuple(vec![Val::U8(1), Val::Bool(false)]), &[1, 0]),
        ("variant { no, yes(u8) }", Val::Variant("no".into(), None), &[0]),
        ("variant { no, yes(u8) }", Val::Variant("yes".into(), Some(Box::new(Val::U8(9)))), &[1, 9]),
        ("enum { a, b, c }", Val::Enum("c".into()), &[2]),
        ("option<u8>", Val::Option(None), &[0]),
        ("option<option<u8>>", some(some(Val::U8(3))), &[1, 1, 3]),
        ("result<u8, string>", Val::Result(Ok(Some(Box::new(Val::U8(4))))), &[0, 4]),
        ("result<u8, string>", Val::Result(Err(Some(Box::new(text("e"))))), &[1, 1, b'e']),
        ("result", Val::Result(Err(None)), &[1]),
        (
            "flags { a, b, c, d, e, f, g, h, i }",
            Val::Flags(vec!["a".into(), "c".into(), "i".into()]),
            &[0b101, 1],
        ),
    ];
    for (ty, val, bytes) in vectors {
        let function = function(&format!("func() -> {ty}"));
        let (encoded, _) = function.encode_results(values(vec![val.clone()])).unwrap();
        assert_eq!(encoded.as_ref(), bytes, "{ty}");
        let back = function.decode_results(Bytes::copy_from_slice(bytes), Vec::new()).unwrap();
        assert_eq!(back.vals, [val], "{ty}");
    }
}

#[test]
fn more_than_256_cases_and_flags_work() {
    let names: Vec<_> = (0..300).map(|at| format!("c{at}")).collect();
    let function = function(&format!("func(e: enum {{ {0} }}, f: flags {{ {0} }})", names.join(", ")));
    let vals = vec![Val::Enum("c299".into()), Val::Flags(vec!["c0".into(), "c299".into()])];
    let (bytes, _) = function.encode_parameters(values(vals.clone())).unwrap();
    assert_eq!(bytes[..2], [0xab, 0x02]);
    assert_eq!(bytes.len(), 2 + 38);
    assert_eq!(function.decode_parameters(bytes, Vec::new()).unwrap().vals, vals);
}

#[test]
fn errors_name_the_place() {
    let function = function("func(order: record { items: list<tuple<u8, bool>> }) -> result<u8>");
    let bytes = |bytes: &'static [u8]| Bytes::from_static(bytes);
    let error = function.decode_parameters(bytes(&[2, 1, 0, 1, 2]), Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter order.items[1].1 can't be decoded: a bool begins with 0 or 1, not with 2"
    );
    let error = function.decode_results(bytes(&[0]), Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the result.ok can't be decoded: the bytes end before the value does, at least 1 more are needed"
    );
    let wrong = Val::Record(vec![("items".into(), Val::List(vec![Val::U8(1)]))]);
    let error = function.encode_parameters(values(vec![wrong])).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "parameter order.items[0] should be tuple<u8, bool>, but is a u8");
    let error = function.encode_results(values(Vec::new())).map(drop).unwrap_err();
    assert_eq!(error, CodecError::Count { what: "results", expected: 1, given: 0 });
}

#[test]
fn lengths_beyond_the_bytes_reserve_nothing() {
    let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);
    for ty in ["list<u8>", "list<string>", "string", "map<u8, u8>", "list<f64>", "list<list<u8>>"] {
        let function = function(&format!("func(a: {ty})"));
        let error = function.decode_parameters(huge.clone(), Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::Truncated { .. }), "{ty}: {error}");
    }
    let function = function("func(a: list<u8, 4294967295>)");
    let error = function.decode_parameters(huge, Vec::new()).unwrap_err();
    assert_eq!(error, CodecError::Truncated { place: "parameter a".into(), missing: 4_294_967_287 });
}

#[test]
fn decoded_memory_is_bounded() {
    // 4 KiB that would take 4 KiB * (32 values of 40 bytes) and more.
    let nested = format!("{}u8{}", "tuple<".repeat(40), ">".repeat(40));
    let function = function(&format!("func(a: list<{nested}>)"));
    let mut bytes = vec![0x80, 0x20];
    bytes.extend([0; 4096]);
    let error = function.decode_parameters(bytes.into(), Vec::new()).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { encoded: 4098, .. }), "{error}");
}

#[test]
fn a_large_list_of_bytes_is_allowed() {
    let function = function("func(a: list<u8>)");
    let mut bytes = Vec::new();
    super::reader::put_bytes(&mut bytes, &vec![7; 1 << 20]);
    let values = function.decode_parameters(bytes.clone().into(), Vec::new()).unwrap();
    let (again, _) = function.encode_parameters(values).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn types_are_bounded() {
    let deep = format!("func(a: {}u8{})", "option<".repeat(70), ">".repeat(70));
    assert!(FunctionType::parse("", "f", &deep).unwrap_err().contains("nested more than 64 deep"));
    let wide = format!("func(a: tuple<{}u8>)", "u8, ".repeat(20_000));
    assert!(FunctionType::parse("", "f", &wide).unwrap_err().contains("more than 20000 types"));
    assert!(FunctionType::parse("", "f", "func(a: stream<list<u16>>)").is_err());
    for text in
        ["func(a: u8", "func(a: list<u8, 0>)", "func(a: list<u8, 03>)", "func() -> result<_>", "func() "]
    {
        assert!(FunctionType::parse("", "f", text).is_err(), "{text}");
    }
}

#[test]
fn text_and_digest_tell_types_apart() {
    let function = function("async func(a: u8, b: list<string>) -> result<_, string>");
    assert!(function.is_async());
    assert_eq!(function.text(), "async func(a: u8, b: list<string>) -> result<_, string>");
    let hash = ring::digest::digest(&ring::digest::SHA256, function.text().as_bytes());
    assert_eq!(function.digest(), hash.as_ref()[..8]);
    assert_eq!(format!("{function:?}"), format!("test:values/all@1.0.0.f: {}", function.text()));
}

#[test]
fn streams_are_the_byte_zero() {
    let function = function("func(a: list<stream<u8>>, b: option<future<string>>)");
    let stream = || -> ByteStream { Box::pin(futures::stream::empty()) };
    let bytes = Bytes::from_static(&[2, 0, 0, 1, 0]);
    let values = function.decode_parameters(bytes.clone(), vec![stream(), stream(), stream()]).unwrap();
    assert!(values.has_streams());
    let (again, streams) = function.encode_parameters(values).unwrap();
    assert_eq!((again.as_ref(), streams.len()), (bytes.as_ref(), 3));
    let error = function.decode_parameters(bytes, vec![stream()]).unwrap_err();
    assert_eq!(error, CodecError::Streams { expected: 3, given: 1 });
    let ready = Bytes::from_static(&[1, 1, 0, 0]);
    let error = function.decode_parameters(ready, vec![stream()]).unwrap_err();
    assert_eq!(error.to_string(), "parameter a[0] can't be decoded: a stream or future is the byte 0, not 1");
}

#[test]
fn people_write_parameters_as_text() {
    let function = function("func(a: string, b: record { x: u8, y: option<u8> }, c: option<char>) -> u8");
    let read = |text| function.parameters_from_wave(text).map(|values| values.vals);
    let record = |y| Val::Record(vec![("x".into(), Val::U8(1)), ("y".into(), Val::Option(y))]);
    let none = Val::Option(None);
    assert_eq!(read(r#""a", {x: 1}"#).unwrap(), [Val::String("a".into()), record(None), none.clone()]);
    let two = Some(Box::new(Val::U8(2)));
    assert_eq!(read(r#""a", {x: 1, y: 2}, none"#).unwrap(), [Val::String("a".into()), record(two), none]);
    let said = |text| read(text).unwrap_err().to_string();
    let expected = "they should be (a: string, b: record { x: u8, y: option<u8> }, c: option<char>)";
    assert_eq!(said(r#""a""#), format!("the parameters can't be read: number 2 is missing; {expected}"));
    let field = "the parameters can't be read: there is no field z in record { x: u8, y: option<u8> }";
    assert_eq!(said(r#""a", {x: 1, z: 2}"#), format!("{field}; {expected}"));
    let number = "the parameters can't be read: 300 is no u8 (invalid value)";
    assert_eq!(said(r#""a", {x: 300}"#), format!("{number}; {expected}"));
    assert!(said(r#""a", {x: 1}, 'c', 4"#).contains("there are 4 of them, but the function has 3"));
    assert!(said(r#""a"#).contains(r#"at "a"#), "{}", said(r#""a"#));
    assert!(said(&"[".repeat(1 << 20)).len() < 300);
    let plain = super::tests::function("func(a: stream<u8>)");
    assert!(matches!(plain.parameters_from_wave("1"), Err(CodecError::NoText { .. })));
}

#[test]
fn people_read_results_as_text() {
    let function = function("func() -> list<variant { a(map<string, f32>), b }>");
    let map = Val::Map(vec![(Val::String("k\"\n\u{1b}".into()), Val::Float32(f32::INFINITY))]);
    let list = Val::List(vec![Val::Variant("a".into(), Some(Box::new(map))), Val::Variant("b".into(), None)]);
    let (wave, json) = function.results_to_text(&values(vec![list])).unwrap();
    assert_eq!(wave, r#"[a([("k\"\n\u{1b}", inf)]), b]"#);
    assert_eq!(json, r#"[{"a":[["k\"\n\u001b","inf"]]},"b"]"#);
    let function = super::tests::function("func()");
    assert_eq!(function.results_to_text(&values(Vec::new())).unwrap(), (String::new(), "null".into()));
}
