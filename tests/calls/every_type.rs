//! Values of any type go through a relay on one host to an echo on another, and come back as they were.

use futures::StreamExt as _;
use futures::stream::iter;
use wattle_tests::Fleet;

use crate::random::{KINDS, Random, Types};

/// Commands that run at once.
const AT_ONCE: usize = 4;

/// A call: its function, its arguments and its result.
type Case = (String, Vec<String>, String);

/// A relay and an echo of the same random types, and calls for them: every kind of type, as elements of a list, as a
/// part of a value that is too large for a call's core values, and every third in an asynchronous function.
fn cases() -> (Vec<u8>, Vec<u8>, Vec<Case>) {
    let mut random = Random::new();
    let mut types = Types::new(&mut random);
    let mut made = Vec::new();
    for number in 0..2 * KINDS {
        let of = types.of_kind(number);
        let wide = types.wide(&of);
        let (list, whole) = (format!("list<{}>", of.wit()), wide.wit());
        let kind = if number % 3 == 0 { "async func" } else { "func" };
        types.function(&format!("list{number}"), &format!("{kind}(v: {list}) -> {list}"));
        types.function(&format!("whole{number}"), &format!("{kind}(v: {whole}) -> {whole}"));
        made.push((of, wide));
    }
    let (first, last) = (made[1].0.clone(), made[2 * KINDS - 1].0.clone());
    let (a, b) = (format!("list<{}>", first.wit()), format!("list<{}>", last.wit()));
    types.function("swap", &format!("func(a: {a}, b: {b}) -> tuple<{b}, {a}>"));
    for name in ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char"] {
        types.function(&format!("one-{name}"), &format!("func(v: {name}) -> {name}"));
    }
    types.function("text", "func(v: string) -> string");
    types.function("nothing", "func()");
    let contract = types.finish();

    let mut cases = Vec::new();
    for (number, (of, wide)) in made.iter().enumerate() {
        let (list, whole) = (of.values(&mut random), wide.value(&mut random));
        cases.push((format!("list{number}"), vec![list.clone()], list));
        cases.push((format!("whole{number}"), vec![whole.clone()], whole));
    }
    let (a, b) = (first.values(&mut random), last.values(&mut random));
    cases.push(("swap".to_owned(), vec![a.clone(), b.clone()], format!("({b}, {a})")));
    for (function, value) in [
        ("one-bool", "true"),
        ("one-s8", "-128"),
        ("one-u8", "255"),
        ("one-s16", "-32768"),
        ("one-u16", "65535"),
        ("one-s32", "-2147483648"),
        ("one-u32", "4294967295"),
        ("one-s64", "-9223372036854775808"),
        ("one-u64", "18446744073709551615"),
        ("one-f32", "-0.5"),
        ("one-f64", "nan"),
        ("one-char", "'→'"),
        ("text", "\"\""),
    ] {
        cases.push((function.to_owned(), vec![value.to_owned()], value.to_owned()));
    }
    (contract.relay(), contract.echo(), cases)
}

#[tokio::test]
async fn calls_every_type() {
    let (relay, echo, cases) = cases();
    let fleet = &Fleet::start(2).await;
    let places = [("there", 0, 1), ("back", 1, 0), ("home", 0, 0)];
    for (place, relays, echoes) in places {
        let (source, target) = (format!("relay-{place}"), format!("echo-{place}"));
        fleet.run(relays, &source, &relay, &[]).await;
        fleet.run(echoes, &target, &echo, &[]).await;
        fleet.link(&source, &target, "acme:calls/echo").await;
    }
    let calls = places.iter().flat_map(|(place, ..)| cases.iter().map(move |case| (place, case)));
    let wrong: Vec<String> = iter(calls)
        .map(|(place, (function, arguments, expected))| async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let function = format!("acme:calls/relay.{function}");
            let answer = fleet.call(&format!("relay-{place}"), &function, &arguments).await;
            let got = answer.code.filter(|code| *code == 0).map(|_| answer.json());
            let same = got.is_some_and(|got| got["wave"] == **expected && got.get("result").is_some());
            (!same).then(|| format!("{place}, {arguments:?}: {answer}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of {} calls; {}", wrong.len(), 3 * cases.len(), wrong.join("\n\n"));

    fleet.call("relay-there", "acme:calls/relay.nothing", &[]).await.ok();
    let calls = cases.len() as f64;
    for (place, host, label) in [("there", 0, "remote"), ("back", 1, "remote"), ("home", 0, "local")] {
        let labels = [&format!("target=\"echo-{place}\""), "outcome=\"ok\"", &format!("place=\"{label}\"")];
        let counted = fleet.metric(host, "wattle_calls_total", &labels).await;
        assert!(counted >= calls, "{counted} of {calls} calls of echo-{place} were {label}");
    }
}
