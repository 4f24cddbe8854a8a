//! Forged signals that a call was not begun: if one were believed, the call would be made a second time.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use wattle_seal::Kind;
use wattle_tests::{Answer, http_post, within};

use crate::kit::{
    Arena, Arrived, Insider, Peer, RawNats, SILENCE, Seen, assert_page_is, metric, random_bytes,
    unknown_session,
};

/// A call that does harm when it is made twice.
fn post(url: &str) -> JoinHandle<anyhow::Result<Answer>> {
    let url = url.to_owned();
    tokio::spawn(async move { http_post(&url, "once").await })
}

/// The call waits for its one target, which nobody else was asked to replace.
async fn assert_asked_once(peers: &[&Peer], asked: &Arrived, page: &JoinHandle<anyhow::Result<Answer>>) {
    tokio::time::sleep(SILENCE).await;
    for peer in peers {
        if let Some(again) = peer.waiting().await {
            panic!("call {} was made again as {}", asked.call, again.call);
        }
    }
    assert!(!page.is_finished(), "the call ended by a forged signal");
}

#[tokio::test]
async fn attack_unknown_session_forged() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let asked = peer.request().await;

    let stranger = arena.host_by_certificate();
    // Another process of the same member, which knows of no session.
    let twin = Insider { instance: stranger.instance, ..peer.insider.clone() };
    let mut unsigned = peer.unknown_session(&asked.packet);
    let signature = unsigned.len() - 64;
    unsigned[signature..].copy_from_slice(&random_bytes::<64>());
    let mut other_packet = asked.packet.clone();
    other_packet[40] ^= 1;
    let forged = [
        ("signed by another member", unknown_session(&arena.local(&stranger), &asked.packet)),
        ("signed by another process", unknown_session(&arena.local(&twin), &asked.packet)),
        ("not signed", unsigned),
        ("about another packet", peer.unknown_session(&other_packet)),
    ];
    for (what, packet) in forged {
        arena.publish(&asked.inbox, &packet).await;
        println!("{what}");
        assert_asked_once(&[&peer], &asked, &page).await;
    }

    // The control: what the target signs about this very packet is believed, and the call is made in a new session.
    peer.forget_sessions();
    arena.publish(&asked.inbox, &peer.unknown_session(&asked.packet)).await;
    let again = peer.request().await;
    assert_ne!(again.session.id(), asked.session.id());
    peer.send(&again.inbox, again.page("in a new session")).await;
    assert_page_is(page, "in a new session").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_unknown_session_replayed() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let first = peer.request().await;
    peer.forget_sessions();
    let refusal = peer.unknown_session(&first.packet);
    arena.publish(&first.inbox, &refusal).await;
    let second = peer.request().await;
    // The same word again, for the same call: it is about a message that was given up.
    for inbox in [&first.inbox, &second.inbox] {
        arena.publish(inbox, &refusal).await;
    }
    assert_asked_once(&[&peer], &second, &page).await;
    peer.send(&second.inbox, second.page("once")).await;
    assert_page_is(page, "once").await;
    arena.assert_lives().await;
}

/// The peer of these that is asked first, and what for.
async fn first_of(peers: &[Peer; 2]) -> (&Peer, &Peer, Arrived) {
    let [one, two] = peers;
    tokio::select! {
        asked = one.request() => (one, two, asked),
        asked = two.request() => (two, one, asked),
    }
}

#[tokio::test]
async fn attack_no_responders_forged() {
    let mut arena = Arena::start().await;
    let mut raw = RawNats::connect(&arena.stage.nats).await;
    let peers = [Peer::join(&arena, &["afar"]).await, Peer::join(&arena, &["afar"]).await];
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let (asked_one, other, asked) = first_of(&peers).await;
    // Whoever can write to the caller's inbox says that the call reached nobody. The target shows that it is there.
    for _ in 0..5 {
        raw.no_responders(&asked.inbox).await;
        assert_asked_once(&[asked_one, other], &asked, &page).await;
    }
    let untrue =
        metric(&arena.stage.host, "wattle_seat_dropped_total", &[("code", "untrue_no_responders")]).await;
    assert!(untrue > 0, "the forged signals were not counted");
    asked_one.send(&asked.inbox, asked.page("once")).await;
    assert_page_is(page, "once").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_no_responders_forged_by_who_swallows_pings() {
    let mut arena = Arena::start().await;
    let mut raw = RawNats::connect(&arena.stage.nats).await;
    let peers = [Peer::join(&arena, &["afar"]).await, Peer::join(&arena, &["afar"]).await];
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let (asked_one, other, asked) = first_of(&peers).await;
    // Whoever runs the server can make the call fail, and that is all: it is not made a second time, and does not seem
    // to have succeeded.
    asked_one.lose_pongs();
    raw.no_responders(&asked.inbox).await;
    let answer = timeout(Duration::from_secs(10), page).await;
    if let Some(again) = other.waiting().await {
        panic!("call {} may have been carried out, and was made again as {}", asked.call, again.call);
    }
    assert!(asked_one.waiting().await.is_none(), "the call was made again");
    let status = answer.expect("the call ends").unwrap().unwrap().status;
    assert!(status >= 500, "a call without an answer seems to have succeeded: {status}");
    // Its late answer harms nobody, and the next call finds a target.
    arena.publish(&asked.inbox, &asked.page("late")).await;
    let page = post(&url);
    let (peer, _, asked) = first_of(&peers).await;
    peer.send(&asked.inbox, asked.page("next")).await;
    assert_page_is(page, "next").await;
    arena.assert_lives().await;
}

/// Says of a request, and of each ping that the host then sends to see whether that is true, that nobody took it.
async fn forge_of_pings_as_well(arena: &Arena, raw: &mut RawNats, peer: &Peer, asked: &Arrived) {
    let mut from = arena.bus.len();
    raw.no_responders(&asked.inbox).await;
    for _ in 0..3 {
        let subject = peer.subject.clone();
        let is_ping =
            |seen: &Seen| seen.subject == subject && seen.head().is_some_and(|head| head.kind == Kind::Ping);
        let Ok(ping) = timeout(SILENCE, arena.bus.wait_for(from, "a ping", is_ping)).await else { return };
        from = arena.bus.len();
        raw.no_responders(&ping.reply.unwrap()).await;
    }
}

#[tokio::test]
async fn attack_no_responders_forged_of_pings_as_well() {
    let mut arena = Arena::start().await;
    let mut raw = RawNats::connect(&arena.stage.nats).await;
    let peers = [Peer::join(&arena, &["afar"]).await, Peer::join(&arena, &["afar"]).await];
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let (asked_one, other, asked) = first_of(&peers).await;
    // Who sees and forges everything, and holds nothing back, makes no call twice: the target's pongs arrive.
    for _ in 0..3 {
        forge_of_pings_as_well(&arena, &mut raw, asked_one, &asked).await;
        assert_asked_once(&[asked_one, other], &asked, &page).await;
    }
    asked_one.send(&asked.inbox, asked.page("once")).await;
    assert_page_is(page, "once").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_no_responders_by_who_runs_the_server() {
    let mut arena = Arena::start().await;
    let mut raw = RawNats::connect(&arena.stage.nats).await;
    let peers = [Peer::join(&arena, &["afar"]).await, Peer::join(&arena, &["afar"]).await];
    let url = arena.stage.expose("afar").await;
    let page = post(&url);
    let (asked_one, other, asked) = first_of(&peers).await;
    // The documented limit: who delivers the request, forges both signals and holds back all that the target answers,
    // has the call made once more, at another peer. And no more than that.
    asked_one.lose_pongs();
    forge_of_pings_as_well(&arena, &mut raw, asked_one, &asked).await;
    let again = timeout(Duration::from_secs(5), other.request()).await;
    arena.publish(&asked.inbox, &asked.page("late")).await;
    if let Ok(again) = again {
        assert_asked_once(&[asked_one, other], &again, &page).await;
        other.send(&again.inbox, again.page("the other's")).await;
        assert_page_is(page, "the other's").await;
    } else {
        let answer = within("the end of the call", page).await.unwrap().unwrap();
        assert!(answer.status >= 500, "a call without an answer seems to have succeeded: {answer:?}");
    }
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_no_responders_forged_before_the_call() {
    let mut arena = Arena::start().await;
    let mut raw = RawNats::connect(&arena.stage.nats).await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    // It comes before the answer to the offer: nothing was called yet, so whatever the host makes of it, the call is
    // made once or not at all.
    let from = arena.bus.len();
    let subject = peer.subject.clone();
    let page = post(&url);
    let offer = arena
        .bus
        .wait_for(from, "an offer", |seen| seen.subject == subject && seen.payload.starts_with(&[0, 128]))
        .await;
    raw.no_responders(&offer.reply.unwrap()).await;
    let first = timeout(Duration::from_secs(5), peer.request()).await;
    if let Ok(asked) = &first {
        assert_asked_once(&[&peer], asked, &page).await;
        peer.send(&asked.inbox, asked.page("once")).await;
        assert_page_is(page, "once").await;
    } else {
        assert!(page.await.unwrap().unwrap().status >= 500);
    }
    arena.assert_lives().await;
}
