//! Components that call each other with values, in one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wattle_runtime::{CallContext, CallError, ComponentLimits, LoadError, MAX_DEPTH, Served, TraceContext};

use support::{DEADLINE, Links, assert_all_ended, context, guest, limits, runtime, serve, soon};

/// Answers calls, in all kinds of ways.
const TOOLS: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $count (mut i32) (i32.const 0))
        (global $free (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8))))
        (func (export "reset") (param i32) (global.set $free (i32.const 1024)))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "count") (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (global.get $count))
        (func (export "spin") (loop $again (br $again)))
        (func (export "trap") unreachable)
        (func (export "grow") (drop (memory.grow (i32.const 200))))
        (func (export "exhaust") (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable))))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (alias core export $i "reset" (core func $reset))
    (func $echo (param "v" (list string)) (result (list string))
        (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) (post-return $reset)))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (func $count (result u32) (canon lift (core func $i "count")))
    (func $spin (canon lift (core func $i "spin")))
    (func $trap (canon lift (core func $i "trap")))
    (func $grow (canon lift (core func $i "grow")))
    (func $exhaust (canon lift (core func $i "exhaust")))
    (func $later async (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (instance $tools
        (export "echo" (func $echo)) (export "add" (func $add)) (export "count" (func $count))
        (export "spin" (func $spin)) (export "trap" (func $trap)) (export "grow" (func $grow))
        (export "exhaust" (func $exhaust)) (export "later" (func $later)))
    (export "test:tools/tools@1.2.0" (instance $tools))
)"#;

/// Passes calls on to whoever is linked.
const RELAY: &str = r#"(component
    (import "test:tools/tools@1.0.3" (instance $tools
        (export "echo" (func (param "v" (list string)) (result (list string))))
        (export "add" (func (param "a" u32) (param "b" u32) (result u32)))
        (export "spin" (func))
        (export "trap" (func))
        (export "later" (func async (param "a" u32) (param "b" u32) (result u32)))))
    (import "test:relay/again" (instance $again (export "again" (func (result u32)))))
    (core module $libc
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8)))))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core func $echo (canon lower (func $tools "echo") (memory $memory) (realloc $realloc)))
    (core func $add (canon lower (func $tools "add")))
    (core func $spin (canon lower (func $tools "spin")))
    (core func $trap (canon lower (func $tools "trap")))
    (core func $later (canon lower (func $tools "later")))
    (core func $again (canon lower (func $again "again")))
    (core module $m
        (import "tools" "echo" (func $echo (param i32 i32 i32)))
        (import "tools" "add" (func $add (param i32 i32) (result i32)))
        (import "tools" "spin" (func $spin))
        (import "tools" "trap" (func $trap))
        (import "tools" "later" (func $later (param i32 i32) (result i32)))
        (import "tools" "again" (func $again (result i32)))
        (func (export "echo") (param i32 i32) (result i32)
            (call $echo (local.get 0) (local.get 1) (i32.const 16))
            (i32.const 16))
        (func (export "sum") (param i32) (result i32)
            (local $sum i32)
            (block $done (loop $next
                (br_if $done (i32.eqz (local.get 0)))
                (local.set $sum (call $add (local.get $sum) (i32.const 2)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br $next)))
            (local.get $sum))
        (func (export "later") (param i32 i32) (result i32) (call $later (local.get 0) (local.get 1)))
        (func (export "spin") (call $spin))
        (func (export "trap") (call $trap))
        (func (export "again") (result i32) (i32.add (call $again) (i32.const 1))))
    (core instance $i (instantiate $m (with "tools" (instance
        (export "echo" (func $echo)) (export "add" (func $add)) (export "spin" (func $spin))
        (export "trap" (func $trap)) (export "later" (func $later)) (export "again" (func $again))))))
    (func (export "echo") (param "v" (list string)) (result (list string))
        (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))
    (func (export "sum") (param "n" u32) (result u32) (canon lift (core func $i "sum")))
    (func (export "spin") (canon lift (core func $i "spin")))
    (func (export "trap") (canon lift (core func $i "trap")))
    (func (export "later") async (param "a" u32) (param "b" u32) (result u32)
        (canon lift (core func $i "later")))
    (func $again (result u32) (canon lift (core func $i "again")))
    (instance $itself (export "again" (func $again)))
    (export "test:relay/again" (instance $itself))
)"#;

async fn serve_wat(id: &str, text: &str, limits: ComponentLimits, links: &Arc<Links>) -> Served {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{id}: {error}"));
    serve(&runtime(), id, bytes.into(), limits, links).await
}

async fn tools(limits: ComponentLimits) -> Served {
    serve_wat("tools", TOOLS, limits, &Arc::default()).await
}

/// The relay, linked to the tools.
async fn relay(relay_limits: ComponentLimits, tools: &Served) -> (Served, Arc<Links>) {
    let links = Arc::new(Links::default());
    links.put("default", "test:tools/tools", tools);
    (serve_wat("relay", RELAY, relay_limits, &links).await, links)
}

async fn call_with(
    served: &Served,
    context: &CallContext,
    function: &str,
    parameters: &str,
) -> Result<String, CallError> {
    let compiled = served.compiled();
    let exported = compiled.exported_functions().iter().find(|exported| **exported.name() == *function);
    let place = soon("a place", served.reserve(context)).await?;
    let called = place.call_wave(exported.unwrap_or_else(|| panic!("no {function}")), parameters);
    soon("the result", called).await.map(|(wave, _)| wave)
}

async fn call(served: &Served, function: &str, parameters: &str) -> Result<String, CallError> {
    call_with(served, &context(), function, parameters).await
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_in_and_out() {
    let tools = tools(limits()).await;
    assert_eq!(call(&tools, "add", "2, 3").await.unwrap(), "5");
    assert_eq!(call(&tools, "echo", r#"["a", "", "ü"]"#).await.unwrap(), r#"["a", "", "ü"]"#);
    assert_eq!(call(&tools, "later", "4, 5").await.unwrap(), "9");
    let error = call(&tools, "add", "2").await.unwrap_err();
    assert!(matches!(error, CallError::BadValue { .. }), "{error}");
    assert_all_ended(&tools).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_found_in_compatible_versions() {
    let tools = tools(limits()).await;
    let compiled = tools.compiled();
    for (interface, there) in [
        ("test:tools/tools@1.2.0", true),
        ("test:tools/tools@1.0.0", true),
        ("test:tools/tools@1.9.9", true),
        ("test:tools/tools@2.0.0", false),
        ("test:tools/tools@1.2.0-rc.1", false),
        ("test:tools/tools", false),
        ("test:tools/other@1.2.0", false),
    ] {
        assert_eq!(compiled.exported_function(interface, "add").is_some(), there, "{interface}");
    }
    assert!(compiled.exported_function("test:tools/tools@1.2.0", "subtract").is_none());
    let (relay, _) = relay(limits(), &tools).await;
    let relay = relay.compiled();
    assert!(relay.exported_function("", "sum").is_some());
    let imported: Vec<_> = relay.imported_functions().iter().map(|function| &**function.name()).collect();
    assert_eq!(imported, ["echo", "add", "spin", "trap", "later", "again"]);
    let unknown = tools.reserve(&context()).await.unwrap();
    let unknown = unknown.call_wave(relay.exported_function("", "sum").unwrap(), "1").await.unwrap_err();
    assert!(matches!(unknown, CallError::NotExported { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_lead_to_other_components() {
    let tools = tools(limits()).await;
    let (relay, links) = relay(limits(), &tools).await;
    assert_eq!(call(&relay, "sum", "5").await.unwrap(), "10");
    assert_eq!(call(&relay, "echo", r#"["round", "trip"]"#).await.unwrap(), r#"["round", "trip"]"#);
    assert_eq!(call(&relay, "later", "40, 2").await.unwrap(), "42");
    let callers = links.callers.lock().unwrap().clone();
    assert!(callers.iter().all(|caller| &*caller.component == "relay" && &*caller.link_name == "default"));
    for served in [&relay, &tools] {
        assert_all_ended(served).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_link_names_what_it_wanted() {
    let links = Arc::new(Links::default());
    let relay = serve_wat("relay", RELAY, limits(), &links).await;
    for function in ["sum", "later"] {
        let error = call(&relay, function, if function == "sum" { "1" } else { "1, 2" }).await.unwrap_err();
        assert!(matches!(error, CallError::Trapped { .. }), "{error}");
        let said = error.to_string();
        let wanted = if function == "sum" { "add" } else { "later" };
        assert!(said.contains(&format!("test:tools/tools@1.0.3.{wanted}")), "{said}");
        assert!(said.contains("no link named default"), "{said}");
    }
    // A component that only might call what isn't linked starts and answers.
    let needs_import = serve(&runtime(), "needs-import", guest("needs-import"), limits(), &links).await;
    let place = needs_import.reserve(&context()).await.unwrap();
    let request = http::Request::get("http://test/").body(http_body_util::Empty::new()).unwrap();
    let error = soon("the answer", place.handle_http(request)).await.unwrap_err();
    assert!(error.to_string().contains("acme:missing/thing@1.2.0.answer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_cross_is_refused_by_name() {
    let resource = r#"(component
        (import "acme:store/buckets@0.2.0" (instance
            (export "bucket" (type $bucket (sub resource)))
            (export "[method]bucket.get" (func (param "self" (borrow $bucket)) (result u32)))))
    )"#;
    let missing = r#"(component (import "wasi:clocks/sundial@0.2.0" (instance (export "now" (func)))))"#;
    let runtime = runtime();
    let error = runtime.load(wat::parse_str(resource).unwrap().into(), "resource").await.unwrap_err();
    assert!(matches!(error, LoadError::CannotCross(_)), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("acme:store/buckets@0.2.0.[method]bucket.get") && said.contains("`bucket`"),
        "{said}"
    );
    let error = runtime.load(wat::parse_str(missing).unwrap().into(), "missing").await.unwrap_err();
    assert!(matches!(error, LoadError::Imports(_)) && error.to_string().contains("sundial"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_cost_one_error_on_both_sides() {
    let tight = ComponentLimits { max_memory_bytes: 8 << 20, ..limits() };
    let tools = tools(tight).await;
    let (relay, _) = relay(limits(), &tools).await;
    let error = call(&tools, "trap", "").await.unwrap_err();
    assert!(matches!(error, CallError::Trapped { .. }), "{error}");
    let error = call(&tools, "exhaust", "").await.unwrap_err();
    assert!(matches!(error, CallError::OutOfMemory { limit, .. } if limit == 8 << 20), "{error}");
    let error = call(&relay, "trap", "").await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("component relay failed: calling test:tools/tools@1.0.3.trap failed"), "{said}");
    assert!(said.contains("component tools failed"), "{said}");
    assert_eq!(call(&relay, "sum", "1").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_time_counts() {
    let short = ComponentLimits { max_execution_time: Duration::from_millis(200), ..limits() };
    let tools = tools(short).await;
    let (relay, _) = relay(limits(), &tools).await;
    // The callee's own limit.
    let error = call(&tools, "spin", "").await.unwrap_err();
    assert!(
        matches!(error, CallError::Timeout { after, .. } if after <= short.max_execution_time),
        "{error}"
    );
    let error = call(&relay, "spin", "").await.unwrap_err();
    assert!(error.to_string().contains("component tools did not answer"), "{error}");
    // The caller's deadline, which the callee is told.
    let slow = tools_with_time().await;
    let (relay, _) = self::relay(limits(), &slow).await;
    let hurried = CallContext::outermost(Instant::now() + Duration::from_millis(200));
    let error = call_with(&relay, &hurried, "spin", "").await.unwrap_err();
    let either = matches!(&error, CallError::Timeout { .. }) || error.to_string().contains("did not answer");
    assert!(either, "{error}");
    for served in [&relay, &slow, &tools] {
        assert_all_ended(served).await;
    }
}

async fn tools_with_time() -> Served {
    tools(limits()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn context_is_handed_on() {
    let tools = tools(limits()).await;
    let (relay, links) = relay(limits(), &tools).await;
    let mut context = context();
    context.depth = 3;
    let mut place = relay.reserve(&context).await.unwrap();
    let trace = TraceContext { parent: "00-1-2-01".into(), state: "a=b".into() };
    place.set_trace(trace.clone());
    let sum = relay.compiled().exported_function("", "sum").unwrap().clone();
    place.call_wave(&sum, "1").await.unwrap();
    let caller = links.callers.lock().unwrap()[0].clone();
    assert_eq!((caller.context.depth, caller.context.trace), (3, trace));
    assert!(caller.context.deadline <= context.deadline);
    context.depth = MAX_DEPTH + 1;
    assert!(matches!(relay.reserve(&context).await, Err(CallError::TooDeep { .. })));
    assert!(matches!(relay.try_reserve(&context), Err(CallError::TooDeep { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_ends_all_instances_at_once() {
    let tools = tools(limits()).await;
    let (relay, _) = relay(limits(), &tools).await;
    let spinning = tokio::spawn({
        let relay = relay.clone();
        async move { call(&relay, "spin", "").await }
    });
    soon("the inner call", async {
        while tools.active_calls() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    spinning.abort();
    assert_all_ended(&relay).await;
    assert_all_ended(&tools).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_calls_itself_is_busy_rather_than_stuck() {
    let narrow = ComponentLimits { max_concurrent_calls: 1, ..limits() };
    let tools = tools(limits()).await;
    let (relay, links) = relay(narrow, &tools).await;
    links.put("default", "test:relay/again", &relay);
    let begin = Instant::now();
    let error = call(&relay, "again", "").await.unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    assert!(begin.elapsed() < DEADLINE / 2, "it did not wait for its deadline");
    // With room for more it goes on until it is too deep.
    relay.set_max_concurrent_calls(MAX_DEPTH.into());
    let error = call(&relay, "again", "").await.unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    relay.set_max_concurrent_calls(2 * u32::from(MAX_DEPTH));
    let error = call(&relay, "again", "").await.unwrap_err();
    assert!(error.to_string().contains("calls have caused one another"), "{error}");
    assert_all_ended(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_taken_at_once_or_waited_for() {
    let narrow = ComponentLimits { max_concurrent_calls: 1, max_queued_calls: 1, ..limits() };
    let tools = tools(narrow).await;
    assert_eq!(tools.load(), 0);
    let place = tools.try_reserve(&context()).unwrap().unwrap();
    assert!(tools.try_reserve(&context()).unwrap().is_none());
    assert_eq!(tools.load(), 900);
    // Nobody inside waits for another call, so a nested call may wait.
    let nested = context().nested();
    let waiting = tokio::spawn({
        let tools = tools.clone();
        async move { tools.reserve(&nested).await }
    });
    soon("the queue", async {
        while tools.load() < 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(tools.reserve(&context()).await, Err(CallError::Busy { .. })));
    drop(place);
    drop(soon("the place", waiting).await.unwrap().unwrap());
    tools.end();
    assert!(matches!(tools.try_reserve(&context()), Err(CallError::Stopping { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_reused_only_where_that_is_wanted() {
    let fresh = tools(limits()).await;
    for _ in 0..3 {
        assert_eq!(call(&fresh, "count", "").await.unwrap(), "1");
    }
    let reused = tools(ComponentLimits { max_instance_reuse: 3, ..limits() }).await;
    for expected in ["1", "2", "3", "1", "2"] {
        assert_eq!(call(&reused, "count", "").await.unwrap(), expected);
    }
    // One that failed is never used again, nor one that grew much.
    assert!(call(&reused, "trap", "").await.is_err());
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
    call(&reused, "grow", "").await.unwrap();
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
    assert_eq!(call(&reused, "count", "").await.unwrap(), "2");
    // One that is in use is never used twice.
    let first = reused.reserve(&context()).await.unwrap();
    let second = reused.reserve(&context()).await.unwrap();
    let count = reused.compiled().exported_functions().iter().find(|f| &**f.name() == "count").unwrap();
    assert_eq!(second.call_wave(count, "").await.unwrap().0, "1");
    assert_eq!(first.call_wave(count, "").await.unwrap().0, "3");
    assert!(reused.drain(DEADLINE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_instance_that_was_given_up_is_gone() {
    let reused = tools(ComponentLimits { max_instance_reuse: 100, ..limits() }).await;
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
    let short = CallContext::outermost(Instant::now() + Duration::from_millis(100));
    let error = call_with(&reused, &short, "spin", "").await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_instances_go_away() {
    let one = wattle_runtime::RuntimeOptions { max_instances: 1, ..Default::default() };
    let runtime = wattle_runtime::Runtime::new(one).unwrap();
    let many = ComponentLimits { max_instance_reuse: 100, ..limits() };
    let bytes = wat::parse_str(TOOLS).unwrap();
    let reused = serve(&runtime, "reused", bytes.clone().into(), many, &Arc::default()).await;
    let other = serve(&runtime, "other", bytes.into(), limits(), &Arc::default()).await;
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
    // Its idle instance has the engine's only room, for a while.
    assert!(other.try_reserve(&context()).unwrap().is_none());
    assert_eq!(call(&other, "count", "").await.unwrap(), "1");
    assert_eq!(call(&reused, "count", "").await.unwrap(), "1");
    reused.end();
    assert_eq!(call(&other, "count", "").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_chosen_for_one_call() {
    let say = |word: &str| {
        format!(
            r#"(component
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "{word}")
                (func (export "say") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (func $say (result string) (canon lift (core func $i "say") (memory $memory)))
            (instance $words (export "say" (func $say)))
            (export "acme:calls/words" (instance $words)))"#
        )
    };
    let links = Arc::new(Links::default());
    for (name, word) in [("default", "home"), ("away", "away")] {
        links.put(name, "acme:calls/words", &serve_wat(word, &say(word), limits(), &Arc::default()).await);
    }
    let reuse = ComponentLimits { max_instance_reuse: 100, ..limits() };
    let asker = serve(&runtime(), "asker", guest("asker"), reuse, &links).await;
    assert_eq!(call(&asker, "ask", "").await.unwrap(), r#""home""#);
    assert_eq!(call(&asker, "ask-by", r#""away""#).await.unwrap(), r#"ok("away")"#);
    assert_eq!(call(&asker, "ask", "").await.unwrap(), r#""home""#, "the choice ended with its call");
    assert_eq!(call(&asker, "ask-by-old", r#""away""#).await.unwrap(), r#""away""#);
    let in_turn = call(&asker, "ask-in-turn", r#""away""#).await.unwrap();
    assert_eq!(in_turn, r#"("home", "away", "home")"#);
    let refused = call(&asker, "ask-by", r#""nowhere""#).await.unwrap();
    assert_eq!(
        refused,
        r#"err("interface `acme:calls/words` does not have an existing link with name `nowhere`")"#
    );
    let error = call(&asker, "ask-by-old", r#""nowhere""#).await.unwrap_err();
    assert!(error.to_string().contains("no link named nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_flow_both_ways_between_instances() {
    let links = Arc::new(Links::default());
    let mill = serve(&runtime(), "mill", guest("mill"), limits(), &links).await;
    links.put("default", "acme:streams/mill", &mill);
    assert_eq!(call(&mill, "later", r#""in time""#).await.unwrap(), r#""(in time)""#);
    assert_eq!(call(&mill, "texts", "100").await.unwrap(), "ok(100)");
    assert_eq!(call(&mill, "numbers", "1000").await.unwrap(), "ok(1000)");
    for through in ["pass", "grind"] {
        assert_eq!(call(&mill, "bytes", &format!(r#""{through}", 1000000"#)).await.unwrap(), "ok(1000000)");
    }
    // What breaks off is never taken for an end.
    let error = call(&mill, "broken", "").await.unwrap_err();
    assert!(matches!(error, CallError::Trapped { .. }), "{error}");
    assert_all_ended(&mill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_its_instance_and_dropping_it_ends_it() {
    let links = Arc::new(Links::default());
    let mill = serve(&runtime(), "mill", guest("mill"), limits(), &links).await;
    let grind = mill.compiled().exported_function("acme:streams/mill", "grind").unwrap().clone();
    let endless = || {
        let bytes = bytes::Bytes::from(vec![1; 1000]);
        let messages = futures::stream::repeat_with(move || Ok(bytes.clone()));
        grind.decode_parameters(bytes::Bytes::from_static(&[0]), vec![Box::pin(messages)]).unwrap()
    };
    let place = mill.reserve(&context()).await.unwrap();
    let result = soon("the stream", place.call(&grind, endless())).await.unwrap();
    let (_, mut streams) = grind.encode_results(result).unwrap();
    let mut stream = streams.pop().unwrap();
    let piece = soon("a piece", futures::StreamExt::next(&mut stream)).await.unwrap().unwrap();
    assert!(!piece.is_empty() && piece.iter().all(|byte| *byte == 2));
    assert_eq!(mill.active_calls(), 1, "its instance goes on");
    drop(stream);
    assert_all_ended(&mill).await;
    // A result that nobody looks at.
    let place = mill.reserve(&context()).await.unwrap();
    drop(soon("the stream", place.call(&grind, endless())).await.unwrap());
    assert_all_ended(&mill).await;
}
