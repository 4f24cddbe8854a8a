//! Values as JSON, for scripts. Records are objects; lists, tuples and flags are arrays; a map is an array of pairs;
//! a variant's case with a value and a result are objects with one member; other cases are strings; `none` is `null`
//! and `some` is its value; numbers that JSON doesn't have are the strings `nan`, `inf` and `-inf`.

use std::fmt::Write;

use wasmtime::component::Val;

pub(super) fn write(val: &Val) -> String {
    let mut out = String::new();
    put(&mut out, val);
    out
}

fn put(out: &mut String, val: &Val) {
    match val {
        Val::Bool(val) => number(out, val),
        Val::U8(val) => number(out, val),
        Val::U16(val) => number(out, val),
        Val::U32(val) => number(out, val),
        Val::U64(val) => number(out, val),
        Val::S8(val) => number(out, val),
        Val::S16(val) => number(out, val),
        Val::S32(val) => number(out, val),
        Val::S64(val) => number(out, val),
        Val::Float32(val) => float(out, f64::from(*val), val),
        Val::Float64(val) => float(out, *val, val),
        Val::Char(val) => string(out, val.encode_utf8(&mut [0; 4])),
        Val::String(val) | Val::Enum(val) | Val::Variant(val, None) => string(out, val),
        Val::List(vals) | Val::FixedLengthList(vals) | Val::Tuple(vals) => array(out, vals, put),
        Val::Map(entries) => array(out, entries, |out, (key, value)| {
            out.push('[');
            put(out, key);
            out.push(',');
            put(out, value);
            out.push(']');
        }),
        Val::Record(fields) => {
            out.push('{');
            for (at, (name, val)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                string(out, name);
                out.push(':');
                put(out, val);
            }
            out.push('}');
        }
        Val::Variant(case, Some(val)) => member(out, case, Some(val)),
        Val::Option(val) => maybe(out, val.as_deref()),
        Val::Result(Ok(val)) => member(out, "ok", val.as_deref()),
        Val::Result(Err(val)) => member(out, "err", val.as_deref()),
        Val::Flags(names) => array(out, names, |out, name| string(out, name)),
        // Functions which have one of these are refused.
        Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => out.push_str("null"),
    }
}

fn number(out: &mut String, number: impl std::fmt::Display) {
    // Writing to a string can't fail.
    let _ = write!(out, "{number}");
}

fn float(out: &mut String, val: f64, shown: impl std::fmt::Display) {
    if val.is_nan() {
        out.push_str("\"nan\"");
    } else if val.is_infinite() {
        out.push_str(if val > 0.0 { "\"inf\"" } else { "\"-inf\"" });
    } else {
        number(out, shown);
    }
}

fn array<T>(out: &mut String, vals: &[T], put: impl Fn(&mut String, &T)) {
    out.push('[');
    for (at, val) in vals.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        put(out, val);
    }
    out.push(']');
}

fn member(out: &mut String, name: &str, val: Option<&Val>) {
    out.push('{');
    string(out, name);
    out.push(':');
    maybe(out, val);
    out.push('}');
}

fn maybe(out: &mut String, val: Option<&Val>) {
    match val {
        Some(val) => put(out, val),
        None => out.push_str("null"),
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Also what a terminal would take for a command.
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
}
