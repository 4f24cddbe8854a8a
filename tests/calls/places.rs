//! Where a call goes: here where it can, otherwise to a host that is there.

use wattle_tests::{Contract, DEADLINE, Fleet, component, eventually, sayer};

const WORDS: &str = "acme:calls/words";

fn texts() -> Contract {
    Contract::of(&["text: func(v: string) -> string"])
}

/// A relay on the first of so many hosts, linked to an echo on each of the others.
async fn relay_and_echoes(hosts: usize) -> Fleet {
    let fleet = Fleet::start(hosts).await;
    fleet.run(0, "relay", &texts().relay(), &[]).await;
    fleet.link("relay", "echo", "acme:calls/echo").await;
    for host in 1..hosts {
        fleet.run(host, "echo", &texts().echo(), &[]).await;
    }
    fleet
}

async fn ask(fleet: &Fleet, text: &str) {
    let answer = fleet.ask("relay", "acme:calls/relay.text", &[&format!("\"{text}\"")]).await;
    assert_eq!(answer, format!("\"{text}\""));
}

#[tokio::test]
async fn calls_go_on_when_one_of_two_targets_is_stopped() {
    let fleet = relay_and_echoes(3).await;
    ask(&fleet, "with both").await;
    for number in 0..3 {
        // In turn: now here, now there, never both.
        let (stopped, runs) = (1 + number % 2, 2 - number % 2);
        fleet.stop(stopped, "echo").await;
        for _ in 0..3 {
            ask(&fleet, &format!("with host {runs}")).await;
        }
        fleet.run(stopped, "echo", &texts().echo(), &[]).await;
    }
    fleet.stop(1, "echo").await;
    fleet.stop(2, "echo").await;
    let call = fleet.call("relay", "acme:calls/relay.text", &["\"with none\""]).await;
    call.failed(&["echo"]);
}

#[tokio::test]
async fn what_runs_here_is_called_here() {
    let fleet = relay_and_echoes(2).await;
    let counted = async |place: &str| {
        let labels = ["target=\"echo\"", "outcome=\"ok\"", &format!("place=\"{place}\"")];
        fleet.metric(0, "wattle_calls_total", &labels).await as u64
    };
    ask(&fleet, "there").await;
    assert_eq!((counted("local").await, counted("remote").await), (0, 1));
    fleet.run(0, "echo", &texts().echo(), &[]).await;
    ask(&fleet, "here").await;
    ask(&fleet, "here").await;
    assert_eq!((counted("local").await, counted("remote").await), (2, 1));
    fleet.stop(0, "echo").await;
    ask(&fleet, "there again").await;
    assert_eq!((counted("local").await, counted("remote").await), (2, 2));
}

#[tokio::test]
async fn a_host_that_comes_is_used_and_one_that_is_killed_is_not() {
    let mut fleet = Fleet::start(2).await;
    fleet.run_guest(0, "asker", "asker", &[]).await;
    fleet.link("asker", "words", WORDS).await;
    fleet.run(1, "words", &sayer(WORDS, "first"), &[]).await;
    let ask = async |fleet: &Fleet| fleet.ask("asker", "acme:calls/asker.ask", &[]).await;
    assert_eq!(ask(&fleet).await, "\"first\"");
    fleet.join(|options| options).await;
    fleet.run(2, "words", &sayer(WORDS, "second"), &[]).await;
    fleet.hosts[1].kill9();
    for _ in 0..3 {
        assert_eq!(ask(&fleet).await, "\"second\"");
    }
    fleet.hosts[1].start_again().await;
    fleet.hosts[2].kill9();
    for _ in 0..3 {
        assert_eq!(ask(&fleet).await, "\"first\"");
    }
}

/// So many rounds keep a component busy for about a second.
const LONG: &str = "1500000000";

/// A component that counts to a number. Two builds differ in `mark` alone, which is nothing that it says.
fn counter(mark: u32) -> Vec<u8> {
    let wit = "package acme:slow;
        interface count { to: func(rounds: u32) -> u32; }
        world counter { export count; }";
    let body = format!(
        r#"(func (export "acme:slow/count#to") (param $rounds i32) (result i32)
            (local $done i32)
            (drop (i32.const {mark}))
            (loop $again
                (local.set $done (i32.add (local.get $done) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $done) (local.get $rounds))))
            (local.get $done))"#
    );
    component(wit, "counter", "", &body)
}

/// A component that has another one count.
fn asks_counter() -> Vec<u8> {
    let wit = "package acme:slow;
        interface count { to: func(rounds: u32) -> u32; }
        interface ask { to: func(rounds: u32) -> u32; }
        world asker { import count; export ask; }";
    let import = r#"(import "acme:slow/count" "to" (func $to (param i32) (result i32)))"#;
    let body = r#"(func (export "acme:slow/ask#to") (param $rounds i32) (result i32)
        (call $to (local.get $rounds)))"#;
    component(wit, "asker", import, body)
}

/// Waits until a host has taken so many calls.
async fn taken(fleet: &Fleet, host: usize, calls: f64) {
    eventually(&format!("host {host} to take {calls} calls"), DEADLINE, || async {
        (fleet.metric(host, "wattle_seat_calls_served_total", &[]).await >= calls).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_update_fails_no_call_that_waits_for_its_turn() {
    let fleet = Fleet::start(1).await;
    fleet.run(0, "counter", &counter(1), &["--count", "1"]).await;
    let count = || fleet.ask("counter", "acme:slow/count.to", &[LONG]);
    let update = async {
        // One runs, two wait.
        taken(&fleet, 0, 3.0).await;
        fleet.update(0, "counter", &counter(2)).await;
    };
    let (first, second, third, ()) = tokio::join!(count(), count(), count(), update);
    assert_eq!([first, second, third], [LONG; 3]);
}

#[tokio::test]
async fn who_can_not_be_reached_is_no_reason_to_fail_a_call_that_can_wait_here() {
    let mut fleet = Fleet::start(2).await;
    let ask = async |fleet: &Fleet, rounds: &str| fleet.ask("asker", "acme:slow/ask.to", &[rounds]).await;
    fleet.run(0, "asker", &asks_counter(), &[]).await;
    fleet.link("asker", "counter", "acme:slow/count").await;
    fleet.run(1, "counter", &counter(1), &["--count", "1"]).await;
    assert_eq!(ask(&fleet, "1").await, "1");
    // Its host knows the other one by now, and has one place of its own.
    fleet.run(0, "counter", &counter(1), &["--count", "1"]).await;
    let before = fleet.metric(0, "wattle_seat_calls_served_total", &[]).await;
    let mut other = fleet.hosts.remove(1);
    let second = async {
        taken(&fleet, 0, before + 1.0).await;
        other.kill9();
        ask(&fleet, "2").await
    };
    let (first, second) = tokio::join!(ask(&fleet, LONG), second);
    assert_eq!((first.as_str(), second.as_str()), (LONG, "2"));
}
