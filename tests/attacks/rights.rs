//! Members that take more than their certificates and the links give them.

use wattle_identity::{Grant, Ids};
use wattle_seal::message::{MAX_DEPTH, Request};

use crate::kit::{
    Arena, FRONT, HELLO, Insider, Verdict, call_number, host_grant, http_get, patched, request,
};

/// The place of the depth in a request.
const DEPTH_AT: usize = 12;

/// Somebody's request is refused with this code, which is counted, and the session goes on.
async fn assert_refused(arena: &Arena, insider: &Insider, request: Request<'_>, code: u16) -> String {
    let mut line = arena.line(insider).await;
    let before = arena.refused(code).await;
    let request = Request { call: call_number(), ..request };
    let verdict = line.ask(request.encode().unwrap()).await;
    assert_eq!(verdict.refusal(), code, "{verdict:?}");
    arena.wait_refused(code, before + 1).await;
    assert!(line.ping().await.is_empty(), "one call, one answer");
    format!("{verdict:?}")
}

/// Somebody's request is carried out.
async fn assert_taken(arena: &Arena, insider: &Insider, request: Request<'_>) {
    let request = Request { call: call_number(), ..request };
    let verdict = arena.line(insider).await.ask(request.encode().unwrap()).await;
    assert_eq!(verdict.status(), 200, "{verdict:?}");
}

#[tokio::test]
async fn attack_source_that_the_sender_may_not_speak_for() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let page = http_get("http://hello/");
    let right = arena.insider(host_grant(&lattice, &[], &[FRONT]));
    let issuer = arena.host_by_certificate();
    let wrong = [
        // A host, a provider's process and a client that may speak for others, or for nobody.
        arena.insider(host_grant(&lattice, &[FRONT], &["somebody"])),
        Insider::provider(&issuer, Grant::provider(&lattice, "somebody"), |_| {}),
        arena.client_by_certificate(&[HELLO]),
    ];
    for insider in &wrong {
        assert_refused(&arena, insider, request(FRONT, HELLO, &page), 405).await;
    }
    // Nor may a client speak for a host by the host's key, or for another client.
    let host = arena.target.member.clone();
    assert_refused(&arena, &wrong[2], request(&host, HELLO, &page), 405).await;
    assert_taken(&arena, &right, request(FRONT, HELLO, &page)).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_target_that_the_client_may_not_call() {
    let mut arena = Arena::start().await;
    let page = http_get("http://hello/");
    let (right, wrong) = (arena.client_by_certificate(&[HELLO]), arena.client_by_certificate(&["another"]));
    let nothing = arena.insider(Grant::client(arena.lattice(), Ids::none()));
    for insider in [&wrong, &nothing] {
        let own = insider.key.public_key();
        let call = Request { link_name: "", ..request(&own, HELLO, &page) };
        assert_refused(&arena, insider, call, 406).await;
    }
    let own = right.key.public_key();
    let call = Request { link_name: "", ..request(&own, HELLO, &page) };
    assert_taken(&arena, &right, call).await;
    arena.assert_lives().await;
}

/// A call to watch the calls of [`HELLO`].
fn watch(own: &str) -> Request<'_> {
    Request { link_name: "", interface: "wattle:lattice/spy", function: "watch", ..request(own, HELLO, &[]) }
}

#[tokio::test]
async fn attack_calls_watched_without_permission() {
    let mut arena = Arena::start().await;
    let page = http_get("http://hello/");
    let spy = |targets: &[&str]| Grant {
        may_spy: Ids::only(targets.iter().copied()),
        ..Grant::client(arena.lattice(), Ids::none())
    };
    let (right, wrong) = (arena.insider(spy(&[HELLO])), arena.insider(spy(&["another"])));
    let caller = arena.client_by_certificate(&[HELLO]);
    // Who may watch something else, who may call but not watch, and a host, for which links are.
    for insider in [&wrong, &caller, &arena.host_by_certificate()] {
        let own = insider.key.public_key();
        assert_refused(&arena, insider, watch(&own), 406).await;
    }
    // Who may watch may not call, by whatever name it calls.
    let own = right.key.public_key();
    for interface in ["wasi:http/incoming-handler@0.2.0", "wattle:lattice/spy@1.0.0", "wattle:lattice/spying"]
    {
        let call = Request { link_name: "", interface, ..request(&own, HELLO, &page) };
        assert_refused(&arena, &right, call, 406).await;
    }
    // Nor as somebody else.
    assert_refused(&arena, &right, watch(FRONT), 405).await;
    let verdict = arena.line(&right).await.ask(watch(&own).encode().unwrap()).await;
    assert_eq!(verdict, Verdict::Value(vec![]), "the control");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_caller_without_a_link() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let page = http_get("http://hello/");
    let good = request(FRONT, HELLO, &page);
    // Nobody's link, another name, another interface, and a link of which only the interface's name is right.
    for wrong in [
        request("stranger", HELLO, &page),
        Request { link_name: "other", ..good },
        Request { link_name: "", ..good },
        Request { interface: "wasi:keyvalue/store@0.2.0", ..good },
        Request { interface: "acme:http/incoming-handler@0.2.0", ..good },
        Request { interface: "", ..good },
    ] {
        let said = assert_refused(&arena, &insider, wrong, 407).await;
        assert!(said.contains(wrong.source) && said.contains(HELLO), "{said}");
    }
    assert_taken(&arena, &insider, good).await;
    // A link that is taken away is no link any more, for a session that there is, too.
    let mut line = arena.good_line().await;
    arena.stage.cli.run(["link", "del", FRONT, "wasi", "http"]).await.ok();
    let page = http_get("http://hello/");
    let verdict = line.ask(request(FRONT, HELLO, &page).encode().unwrap()).await;
    assert_eq!(verdict.refusal(), 407);
    let link = ["link", "put", FRONT, HELLO, "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link).await.ok();
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_target_that_does_not_run_here() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let page = http_get("http://nowhere/");
    let link = ["link", "put", FRONT, "nowhere", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "nowhere"])).await.ok();
    let call = Request { link_name: "nowhere", ..request(FRONT, "nowhere", &page) };
    assert_refused(&arena, &insider, call, 404).await;
    assert_taken(&arena, &insider, request(FRONT, HELLO, &http_get("http://hello/"))).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_state_that_nobody_has_seen() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let page = http_get("http://hello/");
    let good = request(FRONT, HELLO, &page);
    // A caller without a link says that it saw one in a state yet to come: that is waited for, but not for long.
    let wrong = Request { state_revision: u64::MAX, ..request("stranger", HELLO, &page) };
    let began = std::time::Instant::now();
    assert_refused(&arena, &insider, wrong, 403).await;
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_taken(&arena, &insider, Request { state_revision: u64::MAX, ..good }).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_depth_above_the_limit() {
    let mut arena = Arena::start().await;
    let mut line = arena.line(&arena.host_by_certificate()).await;
    let page = http_get("http://hello/");
    for depth in [MAX_DEPTH + 1, 200, 255] {
        let before = arena.refused(303).await;
        let deep = patched(&request(FRONT, HELLO, &page), |bytes| bytes[DEPTH_AT] = depth);
        assert_eq!(line.ask(deep).await.refusal(), 303, "depth {depth}");
        arena.wait_refused(303, before + 1).await;
    }
    let deepest = Request { depth: MAX_DEPTH, ..request(FRONT, HELLO, &page) };
    assert_eq!(line.ask(deepest.encode().unwrap()).await.status(), 200);
    arena.assert_lives().await;
}
