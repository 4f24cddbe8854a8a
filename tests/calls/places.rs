//! Where a call goes: here where it can, otherwise to a host that is there.

use wattle_tests::{Contract, Fleet, sayer};

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
