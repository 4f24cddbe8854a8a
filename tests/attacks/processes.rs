//! Processes that share a key, and processes that call each other.

use std::collections::HashSet;

use futures::future::join_all;
use wattle_identity::{Grant, KeyPair};
use wattle_seal::Kind;
use wattle_tests::{Host, Stage, http};

use crate::kit::{
    Arena, Bus, FRONT, HELLO, Insider, Peer, Verdict, assert_good, find, guest, http_get, request,
};

#[tokio::test]
async fn attack_two_processes_with_one_member_key() {
    let mut arena = Arena::start().await;
    let first = arena.target.clone();
    // The same key on another machine: a copy, by mistake or not. A host with it sees that there is one.
    let mut twin = arena.another_host(|options| options).await;
    twin.kill9();
    let key = |host: &Host| host.data_dir().join("host.nk");
    std::fs::copy(key(&arena.stage.host), key(&twin)).unwrap();
    twin.launch_again();
    assert!(!twin.wait_exit().await.success());
    assert!(twin.log().contains("already runs"), "{}", twin.log());

    // Somebody else does not look. Each process is a target of its own, and takes only what was sealed for it.
    let seed = std::fs::read_to_string(key(&arena.stage.host)).unwrap();
    let key = KeyPair::from_seed(&seed).unwrap();
    let copy = Insider::with_key(key, &arena.cluster, Grant::host(arena.lattice()));
    let copy = Peer::join_as(&arena, copy, &[HELLO]).await;
    let second = copy.insider.address();
    assert_eq!(second.member, first.member);
    let insider = arena.host_by_certificate();
    let (mut one, mut two) = (arena.line_to(&insider, &first).await, arena.line_to(&insider, &second).await);
    assert_good(&mut one).await;
    assert!(two.ping().await.is_empty());
    let page = http_get("http://hello/");
    let for_two = two.seal(Kind::Request, request(FRONT, HELLO, &page).encode().unwrap());
    let before = arena.refused(202).await;
    one.send(&for_two).await;
    assert_eq!(one.verdict(&for_two).await, Verdict::InTheClear(202));
    arena.wait_refused(202, before + 1).await;
    arena.assert_offer_refused(&two.offer.clone(), 103).await;
    // Where it belongs it is taken.
    two.send(&for_two).await;
    let asked = copy.request().await;
    copy.send(&asked.inbox, asked.page("the copy's")).await;
    assert_eq!(two.verdict(&for_two).await.status(), 200);
    assert_good(&mut one).await;
    copy.finder.hush();
    arena.assert_lives().await;
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
