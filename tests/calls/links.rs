//! Which target a component's call goes to is said by links, and said anew at any time.

use serde_json::Value;
use wattle_tests::{Fleet, sayer};

const WORDS: &str = "acme:calls/words";

/// The asker on the first host; on the second one `red` and `blue`, who each say their name. No links yet.
async fn asker() -> Fleet {
    let fleet = Fleet::start(2).await;
    fleet.run_guest(0, "asker", "asker", &[]).await;
    for name in ["red", "blue"] {
        fleet.run(1, name, &sayer(WORDS, name), &[]).await;
    }
    fleet
}

/// What the asker is answered.
async fn ask(fleet: &Fleet, function: &str, arguments: &[&str]) -> String {
    fleet.ask("asker", &format!("acme:calls/asker.{function}"), arguments).await
}

#[tokio::test]
async fn a_component_chooses_among_links_by_name() {
    let fleet = asker().await;
    fleet.link("asker", "red", WORDS).await;
    fleet.link_as("night", "asker", "blue", WORDS).await;
    assert_eq!(ask(&fleet, "ask", &[]).await, "\"red\"");
    assert_eq!(ask(&fleet, "ask-by", &["\"night\""]).await, "ok(\"blue\")");
    assert_eq!(ask(&fleet, "ask-by-old", &["\"night\""]).await, "\"blue\"");
    assert_eq!(ask(&fleet, "ask-in-turn", &["\"night\""]).await, "(\"red\", \"blue\", \"red\")");
    // The choice was that call's.
    assert_eq!(ask(&fleet, "ask", &[]).await, "\"red\"");
}

#[tokio::test]
async fn a_choice_is_no_other_calls() {
    let fleet = asker().await;
    fleet.link("asker", "red", WORDS).await;
    fleet.link_as("night", "asker", "blue", WORDS).await;
    let rounds = (0..8).map(|number| {
        let fleet = &fleet;
        async move {
            if number % 2 == 0 {
                assert_eq!(ask(fleet, "ask", &[]).await, "\"red\"");
            } else {
                assert_eq!(ask(fleet, "ask-in-turn", &["\"night\""]).await, "(\"red\", \"blue\", \"red\")");
            }
        }
    });
    futures::future::join_all(rounds).await;
}

#[tokio::test]
async fn a_name_that_no_link_has_is_refused() {
    let fleet = asker().await;
    fleet.link("asker", "red", WORDS).await;
    let refusal = ask(&fleet, "ask-by", &["\"noon\""]).await;
    assert!(refusal.starts_with("err(") && refusal.contains(WORDS) && refusal.contains("noon"), "{refusal}");
    let call = fleet.call("asker", "acme:calls/asker.ask-by-old", &["\"noon\""]).await;
    call.failed(&[WORDS, "noon"]);
}

#[tokio::test]
async fn a_call_without_a_link_fails_with_the_interfaces_name() {
    let fleet = asker().await;
    let call = fleet.call("asker", "acme:calls/asker.ask", &[]).await;
    call.failed(&[WORDS, "link"]);
    let missing = missing(&fleet).await;
    assert!(missing.contains(WORDS), "the inventory names the missing link: {missing}");
    let shown = fleet.cli.run(["get", "inventory"]).await.ok().stdout;
    assert!(shown.contains(WORDS), "{shown}");

    fleet.link("asker", "red", WORDS).await;
    assert_eq!(ask(&fleet, "ask", &[]).await, "\"red\"");
    let missing = self::missing(&fleet).await;
    assert!(!missing.contains(WORDS), "it is there now: {missing}");
}

/// All that the first host's inventory says of the asker.
async fn missing(fleet: &Fleet) -> String {
    let components = fleet.inventory(0).await["components"].take();
    let found = components.as_array().unwrap().iter().find(|component| component["id"] == "asker").cloned();
    found.as_ref().map(Value::to_string).unwrap()
}

#[tokio::test]
async fn links_change_under_a_running_component() {
    let fleet = asker().await;
    // Each call is made right after its link was put: whoever answers may not have heard of it yet.
    for _ in 0..5 {
        for target in ["red", "blue"] {
            fleet.link("asker", target, WORDS).await;
            assert_eq!(ask(&fleet, "ask", &[]).await, format!("\"{target}\""));
            fleet.unlink("asker", WORDS).await;
            fleet.call("asker", "acme:calls/asker.ask", &[]).await.failed(&[WORDS]);
        }
    }
}
