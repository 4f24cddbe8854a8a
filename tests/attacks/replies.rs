//! What comes back to a caller from others than the one that it asked.

use std::time::Duration;

use tokio::task::JoinHandle;
use wattle_seal::message::{Cancel, End, Frame, Outcome, Refused, Reply, Request};
use wattle_seal::{Kind, Session};
use wattle_tests::{Answer, http};

use crate::kit::{
    Arena, Arrived, FRONT, Peer, SILENCE, assert_page_is, guest, http_get, now, plaintext, random_bytes,
    request, streamed_post,
};

type Page = JoinHandle<anyhow::Result<Answer>>;

fn get(url: &str) -> Page {
    let url = url.to_owned();
    tokio::spawn(async move { http(&url).await })
}

/// The call still waits, and its reply is taken when it comes.
async fn assert_untouched(peer: &Peer, asked: &Arrived, page: Page) {
    tokio::time::sleep(SILENCE).await;
    assert!(!page.is_finished(), "the call ended by what was not for it: {:?}", page.await);
    peer.send(&asked.inbox, asked.page("the real one")).await;
    assert_page_is(page, "the real one").await;
}

#[tokio::test]
async fn attack_reply_by_a_third_party_who_saw_the_inbox() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let page = get(&url);
    let asked = peer.request().await;

    // All that the bus shows: inbox, session, counters. What lacks is the key.
    let before = arena.refused(204).await;
    let good = asked.page("the real one");
    let mut forged = good.clone();
    forged[30..].copy_from_slice(&vec![7; good.len() - 30]);
    arena.publish(&asked.inbox, &forged).await;
    let elsewhere = arena.good_line().await;
    let mut foreign = elsewhere.seal(Kind::Frame, plaintext(&[0; 64]));
    foreign[1] = Kind::Reply as u8;
    foreign[2..18].copy_from_slice(asked.session.id().as_bytes());
    arena.publish(&asked.inbox, &foreign).await;
    arena.wait_refused(204, before + 2).await;
    // And what is no packet at all.
    for garbage in [&b""[..], b"HTTP/1.1 200 OK", &[0, 129], &[1, 2], &random_bytes::<200>()] {
        arena.publish(&asked.inbox, garbage).await;
    }
    assert_untouched(&peer, &asked, page).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_reply_by_another_member_in_its_own_session() {
    let mut arena = Arena::start().await;
    let (peer, rival) = (Peer::join(&arena, &["afar"]).await, Peer::join(&arena, &["rival"]).await);
    let (url, rivals) = (arena.stage.expose("afar").await, arena.stage.expose("rival").await);
    let (page, other) = (get(&url), get(&rivals));
    let (asked, own) = (peer.request().await, rival.request().await);

    // The host speaks with both, and takes from each what is sealed in its session: but not about the other's call.
    let seal = |session: &Session, kind, content| session.seal(kind, content, now()).unwrap();
    let value = crate::kit::http_response(200, b"the rival's");
    let reply = Reply { call: asked.call, outcome: Outcome::Value { streams: 0, value: &value } };
    let refusal =
        Refused { call: asked.call, reason: wattle_seal::message::Reason::Busy, message: "go away" };
    let frame = Frame { call: asked.call, stream: 1, sequence: 0, end: End::Aborted, credit: 0, data: b"" };
    for packet in [
        seal(&own.session, Kind::Reply, reply.encode()),
        seal(&own.session, Kind::Refusal, refusal.encode()),
        seal(&own.session, Kind::Frame, frame.encode().unwrap()),
    ] {
        for inbox in [&asked.inbox, &own.inbox] {
            rival.send(inbox, packet.clone()).await;
        }
    }
    assert_untouched(&peer, &asked, page).await;
    rival.send(&own.inbox, own.page("the rival's")).await;
    assert_page_is(other, "the rival's").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_messages_that_the_other_side_sends() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let page = get(&url);
    let asked = peer.request().await;
    // What the host itself sealed comes back to it, as it is and as if the target had sealed it.
    let before = arena.refused(212).await;
    arena.publish(&asked.inbox, &asked.packet).await;
    arena.wait_refused(212, before + 1).await;
    let before = arena.refused(204).await;
    let mut reflected = asked.packet.clone();
    reflected[1] = Kind::Reply as u8;
    arena.publish(&asked.inbox, &reflected).await;
    arena.wait_refused(204, before + 1).await;
    assert_untouched(&peer, &asked, page).await;

    // And a target's kinds of messages are nothing that a caller may send.
    let mut line = arena.good_line().await;
    let before = arena.refused(212).await;
    for kind in [Kind::Reply, Kind::Refusal] {
        let mut packet = line.seal(Kind::Ping, plaintext(&[0; 8]));
        packet[1] = kind as u8;
        line.send(&packet).await;
    }
    arena.wait_refused(212, before + 2).await;
    assert!(line.ping().await.is_empty());
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_call_cancelled_or_fed_by_another_member() {
    let mut arena = Arena::start().await;
    arena.stage.start_component(&guest("misbehave"), "echo", &["--count", "10"]).await.ok();
    let link = ["link", "put", FRONT, "echo", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "echo"])).await.ok();
    // Two members, and a second process of the first: each numbers its calls as it likes.
    let owner = arena.host_by_certificate();
    let twin = crate::kit::Insider { instance: arena.host_by_certificate().instance, ..owner.clone() };
    let mut line = arena.line(&owner).await;
    let head = streamed_post("http://echo/echo");
    let call = Request { streams: 1, link_name: "echo", ..request(FRONT, "echo", &head) };
    line.send(&line.seal(Kind::Request, call.encode().unwrap())).await;
    for stranger in [arena.host_by_certificate(), twin] {
        let other = arena.line(&stranger).await;
        other.send(&other.seal(Kind::Cancel, Cancel { call: call.call }.encode())).await;
        for (sequence, end) in [(0, End::Open), (1, End::Aborted)] {
            let data: &[u8] = if end == End::Open { b"\0evil" } else { b"" };
            let frame = Frame { call: call.call, stream: 0, sequence, end, credit: 0, data };
            other.send(&other.seal(Kind::Frame, frame.encode().unwrap())).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (sequence, end, data) in [(0, End::Open, &b"\0good"[..]), (1, End::Complete, b"")] {
        let frame = Frame { call: call.call, stream: 0, sequence, end, credit: 0, data };
        line.send(&line.seal(Kind::Frame, frame.encode().unwrap())).await;
    }
    assert_eq!(line.body(call.call).await.unwrap(), b"good");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_call_number_used_twice() {
    let mut arena = Arena::start().await;
    arena.stage.start_component(&guest("misbehave"), "slow", &["--count", "10"]).await.ok();
    let link = ["link", "put", FRONT, "slow", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "slow"])).await.ok();
    let mut line = arena.good_line().await;
    let head = http_get("http://slow/sleep?ms=1000");
    let call = Request { link_name: "slow", ..request(FRONT, "slow", &head) };
    for _ in 0..2 {
        line.send(&line.seal(Kind::Request, call.encode().unwrap())).await;
    }
    // Under one number there is one call: the other is refused, or not answered at all.
    let first = line.verdict(&[]).await;
    let second = tokio::time::timeout(Duration::from_secs(3), line.verdict(&[])).await;
    let values = [Some(first), second.ok()].into_iter().flatten();
    let values = values.filter(|verdict| matches!(verdict, crate::kit::Verdict::Value(_))).count();
    assert_eq!(values, 1, "one call number was carried out {values} times");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_answer_to_an_offer_by_a_third_party() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let rival = Peer::join(&arena, &["rival"]).await;
    peer.lose_answers(true);
    let url = arena.stage.expose("afar").await;
    let from = arena.bus.len();
    let page = get(&url);
    let subject = peer.subject.clone();
    let is_offer = |seen: &crate::kit::Seen| seen.subject == subject && seen.payload.starts_with(&[0, 128]);
    let offer = arena.bus.wait_for(from, "an offer", is_offer).await;
    let inbox = offer.reply.unwrap();

    // The good answer to another offer, one of another member, and the good one that was changed at every byte.
    let other =
        crate::kit::Offer::new(&arena.host_by_certificate(), arena.lattice(), &peer.insider.address());
    let replayed = peer.answer(&other.packet());
    let other =
        crate::kit::Offer::new(&arena.host_by_certificate(), arena.lattice(), &rival.insider.address());
    let foreign = rival.answer(&other.packet());
    let good = peer.answer(&offer.payload);
    let refusal = |local: &wattle_seal::Local| {
        let wall = crate::kit::wall();
        wattle_seal::Refusal::sign(local, &offer.payload, &wattle_seal::Error::SessionEnded, wall)
    };
    let damaged = crate::kit::flipped(&good).chain(crate::kit::cut(&good));
    for packet in [replayed, foreign, refusal(&rival.local)].into_iter().chain(damaged) {
        arena.publish(&inbox, &packet).await;
    }
    assert!(!page.is_finished(), "the call ended by a forged answer: {:?}", page.await);
    assert!(rival.waiting().await.is_none());
    // The offer is sent again, and its answer comes.
    peer.lose_answers(false);
    let asked = peer.request().await;
    peer.send(&asked.inbox, asked.page("the real one")).await;
    assert_page_is(page, "the real one").await;
    arena.assert_lives().await;
}
