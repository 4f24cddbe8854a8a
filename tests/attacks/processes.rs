//! Processes that share a key, and processes that call each other.

use std::collections::HashSet;

use futures::future::join_all;
use wattle_identity::{KeyKind, KeyPair};
use wattle_seal::Kind;
use wattle_tests::{DEADLINE, Stage, eventually, http};

use crate::kit::{
    Arena, Bus, FRONT, HELLO, Insider, Verdict, ask, assert_good, find, guest, http_get, request,
};

#[tokio::test]
async fn attack_two_processes_with_one_member_key() {
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let seed = key.seed().to_string();
    let arena = Arena::start_with(|options| options.env("WATTLE_HOST_SEED", &seed)).await;
    // The same key on another machine: a copy, by mistake or not.
    let _twin = arena.another_host(|options| options.env("WATTLE_HOST_SEED", &seed)).await;
    let first = arena.target.clone();
    assert_eq!(first.member, key.public_key());
    let second = eventually("the other process to run the component, too", DEADLINE, || async {
        // A command to the one id reaches either of them.
        let start = ["start", "component", &guest("http-hello"), HELLO, "--host", &first.member];
        let _ = arena.stage.cli.run(start).await;
        let found = ask(&arena.client, arena.lattice(), &arena.issuers, HELLO).await;
        found.into_iter().find(|found| found.instance != first.instance)
    })
    .await;
    assert_eq!(second.member, first.member);

    // Each is a target of its own, and takes only what was sealed for it.
    let insider = arena.host_by_certificate();
    let (mut one, mut two) = (arena.line_to(&insider, &first).await, arena.line_to(&insider, &second).await);
    for line in [&mut one, &mut two] {
        assert_good(line).await;
    }
    let page = http_get("http://hello/");
    let message = one.seal(Kind::Request, request(FRONT, HELLO, &page).encode().unwrap());
    two.send(&message).await;
    assert_eq!(two.verdict(&message).await, Verdict::InTheClear(202));
    assert_eq!(one.submit(&message).await.status(), 200);
    // An offer for the other one is refused as well.
    arena.assert_offer_refused(&two.offer.clone(), 103).await;
    for line in [&mut one, &mut two] {
        assert_good(line).await;
    }
}

#[tokio::test]
async fn attack_two_callers_with_one_member_key() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let twin = Insider { instance: arena.host_by_certificate().instance, ..insider.clone() };
    let (mut one, mut two) = (arena.line(&insider).await, arena.line(&twin).await);
    // The same numbers of calls, sealed under the same counters: they are other sessions, and other keys.
    for _ in 0..3 {
        for line in [&mut one, &mut two] {
            assert_good(line).await;
        }
    }
    let page = http_get("http://hello/");
    let call = request(FRONT, HELLO, &page);
    let packets = [&one, &two].map(|line| line.seal(Kind::Request, call.encode().unwrap()));
    let mut crossed = packets[0].clone();
    crossed[2..18].copy_from_slice(two.session.id().as_bytes());
    let before = arena.refused(204).await;
    two.send(&crossed).await;
    arena.wait_refused(204, before + 1).await;
    assert_eq!(one.submit(&packets[0]).await.status(), 200);
    assert_eq!(two.submit(&packets[1]).await.status(), 200);
    arena.assert_lives().await;
}

/// Whoever sees the bus knows of each sealed message session, direction and counter; no three occur twice.
fn assert_no_counter_twice(bus: &Bus) -> usize {
    let mut seen = HashSet::new();
    for message in bus.all() {
        let Some(head) = message.head() else { continue };
        // What goes to the target goes to the subject of its process; all else to an inbox.
        let to_target = message.subject.starts_with("wattle.rpc.");
        let counter = (*head.session.as_bytes(), to_target, head.counter);
        assert!(
            seen.insert(counter),
            "a counter was used twice under a key: {head:?} on {}",
            message.subject
        );
    }
    seen.len()
}

#[tokio::test]
async fn attack_both_sides_call_each_other_at_once() {
    const CALLS: usize = 200;
    let arena = Arena::start().await;
    let everything = Bus::tap(&arena.stage.nats, ">").await;
    let other = arena.another_host(|options| options).await;
    // A component on each host, and an HTTP server on each that serves the other's.
    let start = ["start", "component", &guest("http-hello"), "afar", "--host", &other.id(), "--count", "50"];
    arena.stage.cli.run(start).await.ok();
    find(&arena.client, arena.lattice(), &arena.issuers, "afar").await;
    let near = arena.stage.expose("afar").await;
    let far = expose_on(&arena.stage, &other.id(), "http-other", HELLO).await;
    for url in [&near, &far] {
        arena.stage.wait_for_page(url, wattle_tests::GREETING).await;
    }
    let from = everything.len();
    for _ in 0..CALLS / 20 {
        let answers = join_all((0..20).flat_map(|_| [http(&near), http(&far)])).await;
        for answer in answers {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    assert!(everything.len() >= from + 4 * CALLS, "the calls did not cross the bus");
    let sealed = assert_no_counter_twice(&everything);
    assert!(sealed >= 4 * CALLS, "only {sealed} sealed messages were seen");
    // Both ways there were sessions: they are directed, so there are at least two.
    let requests: HashSet<_> = everything
        .all()
        .into_iter()
        .filter_map(|seen| Some((seen.head()?, seen.subject)))
        .filter(|(head, _)| head.kind == Kind::Request)
        .map(|(_, subject)| subject)
        .collect();
    assert!(requests.len() >= 2, "only one side called: {requests:?}");
}

/// One more HTTP server, on this host, whose one link leads to this component.
async fn expose_on(stage: &Stage, host: &str, provider: &str, id: &str) -> String {
    let address = wattle_tests::free_address().to_string();
    let config = format!("config-{provider}");
    stage.cli.run(["config", "put", &config, &format!("address={address}")]).await.ok();
    stage.cli.run(["start", "provider", "builtin://http-server", provider, "--host", host]).await.ok();
    let link = ["link", "put", provider, id, "wasi", "http", "--interface", "incoming-handler"];
    stage.cli.run(link.into_iter().chain(["--source-config", &config])).await.ok();
    format!("http://{address}")
}
