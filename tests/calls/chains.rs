//! Calls that come back to where they were, and calls without an end.

use std::time::{Duration, Instant};

use wattle_tests::{Fleet, component};

/// How long a call may take that can't succeed.
const SOON: Duration = Duration::from_secs(10);

/// A component that exports `acme:ring/HERE.go`, which gives the number of calls that a ring of such components makes:
/// each calls the next, until the number that it was given is used up.
fn link_of_a_ring(here: &str, next: &str) -> Vec<u8> {
    let wit = format!(
        "package acme:ring;
        interface {here} {{ go: func(left: u32) -> u32; }}
        {}
        world node {{ import {next}; export {here}; }}",
        if here == next {
            String::new()
        } else {
            format!("interface {next} {{ go: func(left: u32) -> u32; }}")
        }
    );
    let import = format!(r#"(import "acme:ring/{next}" "go" (func $next (param i32) (result i32)))"#);
    let body = format!(
        r#"(func (export "acme:ring/{here}#go") (param $left i32) (result i32)
            (if (result i32) (i32.eqz (local.get $left))
                (then (i32.const 0))
                (else (i32.add (i32.const 1) (call $next (i32.sub (local.get $left) (i32.const 1)))))))"#
    );
    component(&wit, "node", &import, &body)
}

/// A on the first host calls B on the second, which calls A.
async fn ring(flags: &[&str]) -> Fleet {
    let fleet = Fleet::start(2).await;
    fleet.run(0, "a", &link_of_a_ring("a", "b"), flags).await;
    fleet.run(1, "b", &link_of_a_ring("b", "a"), flags).await;
    fleet.link("a", "b", "acme:ring/b").await;
    fleet.link("b", "a", "acme:ring/a").await;
    fleet
}

/// The call fails before long, with one of these words.
async fn assert_ends(fleet: &Fleet, target: &str, words: &[&str]) {
    let start = Instant::now();
    let call = fleet.call(target, &format!("acme:ring/{target}.go"), &["1000"]).await.failed(&[]);
    assert!(start.elapsed() < SOON, "it took {:?}: {call}", start.elapsed());
    assert!(words.iter().any(|word| call.stderr.contains(word)), "{call}");
}

#[tokio::test]
async fn a_calls_b_calls_a() {
    let fleet = ring(&[]).await;
    assert_eq!(fleet.ask("a", "acme:ring/a.go", &["2"]).await, "2");
    assert_eq!(fleet.ask("a", "acme:ring/a.go", &["20"]).await, "20");
    assert_eq!(fleet.ask("b", "acme:ring/b.go", &["21"]).await, "21");
}

#[tokio::test]
async fn a_ring_without_a_free_place_is_no_deadlock() {
    let mut fleet = ring(&["--count", "1"]).await;
    // The one place of each is taken by a call that waits for the other.
    assert_ends(&fleet, "a", &["busy", "as many calls"]).await;
    // And is free again.
    assert_eq!(fleet.ask("a", "acme:ring/a.go", &["1"]).await, "1");
    assert!(fleet.hosts.iter_mut().all(wattle_tests::Host::is_running));
}

#[tokio::test]
async fn a_ring_without_an_end_ends() {
    let mut fleet = ring(&[]).await;
    assert_ends(&fleet, "a", &["32", "depth", "deep"]).await;
    assert_eq!(fleet.ask("a", "acme:ring/a.go", &["5"]).await, "5");
    assert!(fleet.hosts.iter_mut().all(wattle_tests::Host::is_running));
}

#[tokio::test]
async fn recursion_within_a_host_ends() {
    let fleet = Fleet::start(1).await;
    fleet.run(0, "self", &link_of_a_ring("self", "self"), &[]).await;
    fleet.link("self", "self", "acme:ring/self").await;
    assert_eq!(fleet.ask("self", "acme:ring/self.go", &["25"]).await, "25");
    assert_ends(&fleet, "self", &["32", "depth", "deep"]).await;
}
