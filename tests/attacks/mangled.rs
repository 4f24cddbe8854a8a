//! Packets that were cut or changed on their way, at every byte.

use bytes::Bytes;
use futures::StreamExt as _;
use wattle_protocol::rpc::{Packet, Query, answer_subject, answer_subjects, find_subject, target_hash};
use wattle_seal::Kind;
use wattle_tests::{http, within};

use crate::kit::{
    Arena, FRONT, HELLO, Line, Offer, Peer, Verdict, answer_for, assert_page_is, cut, flipped, http_get,
    random_bytes, request,
};

/// How many packets are sent before the host has to be done with them: fewer than it would drop unseen.
const BATCH: usize = 16;

/// Every damaged form of this packet is refused by the host, without a value for an answer, and is counted.
async fn assert_all_refused(arena: &Arena, packet: &[u8]) {
    let inbox = arena.client.new_inbox();
    let mut answers = arena.client.subscribe(inbox.clone()).await.unwrap();
    let damaged: Vec<_> = flipped(packet).chain(cut(packet)).collect();
    let subject = arena.subject(&arena.target);
    for batch in damaged.chunks(BATCH) {
        let before = arena.refused_in_all().await;
        for packet in batch {
            let packet = Bytes::copy_from_slice(packet);
            arena.client.publish_with_reply(subject.clone(), inbox.clone(), packet).await.unwrap();
        }
        arena.client.flush().await.unwrap();
        arena.wait_refused_in_all(before + batch.len() as u64).await;
    }
    // A signed refusal is all that may come: the damage can make it another version's or another session's.
    while let Ok(Some(answer)) = tokio::time::timeout(crate::kit::SILENCE, answers.next()).await {
        assert_eq!(answer.payload[..2], [0, 130], "a damaged packet was answered: {:?}", answer.payload);
    }
}

#[tokio::test]
async fn attack_offer_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let offer = Offer::new(&arena.host_by_certificate(), arena.lattice(), &arena.target).packet();
    assert_all_refused(&arena, &offer).await;
    arena.assert_offer_taken(&offer).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_first_sealed_message_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let mut line = arena.line(&arena.host_by_certificate()).await;
    assert_message_guarded(&arena, &mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_later_sealed_message_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    assert_message_guarded(&arena, &mut line).await;
    // And what a session does once, it does for each kind of message.
    for kind in [Kind::Frame, Kind::Ping, Kind::Cancel] {
        let message = line.seal(kind, crate::kit::plaintext(&[0; 40]));
        assert_all_refused(&arena, &message).await;
    }
    assert!(line.ping().await.is_empty());
    arena.assert_lives().await;
}

/// No damaged form of a request is taken, and none spoils the session: the request itself is.
async fn assert_message_guarded(arena: &Arena, line: &mut Line) {
    let parameters = http_get("http://hello/");
    let message = line.seal(Kind::Request, request(FRONT, HELLO, &parameters).encode().unwrap());
    assert_all_refused(arena, &message).await;
    let verdict = line.submit(&message).await;
    assert_eq!(verdict.status(), 200);
}

#[tokio::test]
async fn attack_request_with_its_body_stripped_or_swapped() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let parameters = http_get("http://hello/");
    let sealed = |line: &Line| line.seal(Kind::Request, request(FRONT, HELLO, &parameters).encode().unwrap());
    let (first, second) = (sealed(&line), sealed(&line));
    // The head of one with the body of the other, the head alone, a part of the body, two bodies.
    let swapped = [&first[..26], &second[26..]].concat();
    let doubled = [&first[..], &second[26..]].concat();
    for (packet, code) in [
        (&swapped[..], 204),
        (&first[..26], 201),
        (&first[..first.len() - parameters.len()], 204),
        (&doubled[..], 204),
    ] {
        let before = arena.refused(code).await;
        arena.send(packet).await;
        arena.wait_refused(code, before + 1).await;
    }
    for packet in [&second, &first] {
        assert_eq!(line.submit(packet).await.status(), 200);
    }
    // A body that was stripped before it was sealed is its sender's own error, and harms nobody.
    let bare = request(FRONT, HELLO, &[]).encode().unwrap();
    assert!(matches!(line.ask(bare).await, Verdict::Failed(..) | Verdict::Refused(..)));
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_reply_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let page = tokio::spawn(async move { http(&url).await });
    let asked = peer.request().await;
    let reply = asked.page("the real one");
    for packet in flipped(&reply).chain(cut(&reply)) {
        peer.send(&asked.inbox, packet).await;
    }
    assert!(!page.is_finished(), "the call ended with a damaged reply");
    peer.send(&asked.inbox, reply).await;
    assert_page_is(page, "the real one").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_query_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let hash = target_hash(arena.lattice(), HELLO);
    let query = Query { lowest: 1, highest: 1, nonce: random_bytes(), target: hash };
    let inbox = arena.client.new_inbox();
    let mut answers = arena.client.subscribe(answer_subjects(&inbox)).await.unwrap();
    let (subject, reply) = (find_subject(arena.lattice(), hash[0]), answer_subject(&inbox, &query.nonce));
    let packet = query.encode();
    for packet in flipped(&packet).chain(cut(&packet)) {
        // A wider range of versions is a good query, too: it is another one.
        if Query::decode(&packet)
            .is_ok_and(|other| (other.nonce, other.target) == (query.nonce, query.target))
        {
            continue;
        }
        arena.client.publish_with_reply(subject.clone(), reply.clone(), packet.into()).await.unwrap();
    }
    arena.client.publish_with_reply(subject, reply, packet.into()).await.unwrap();
    let answer = within("the answer to the query itself", answers.next()).await.unwrap();
    assert!(matches!(Packet::decode(&answer.payload), Ok(Packet::Answer(_))));
    let more = tokio::time::timeout(crate::kit::SILENCE, answers.next()).await;
    assert!(more.is_err(), "a damaged query was answered: {more:?}");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_discovery_answer_damaged_at_every_byte() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    peer.finder.hush();
    let url = arena.stage.expose("afar").await;
    let from = arena.bus.len();
    let hash = target_hash(arena.lattice(), "afar");
    let page = tokio::spawn(async move { http(&url).await });
    let subject = find_subject(arena.lattice(), hash[0]);
    let asked = arena
        .bus
        .wait_for(from, "a query", |seen| {
            seen.subject == subject && Query::decode(&seen.payload).is_ok_and(|query| query.target == hash)
        })
        .await;
    let query = Query::decode(&asked.payload).unwrap();
    let answer = answer_for(&query, &peer.insider, arena.lattice(), |_| {});
    let reply = asked.reply.unwrap();
    let from = arena.bus.len();
    for packet in flipped(&answer).chain(cut(&answer)) {
        peer.send(&reply, packet).await;
    }
    peer.send(&reply, answer).await;
    let request = peer.request().await;
    peer.send(&request.inbox, request.page("found")).await;
    assert_page_is(page, "found").await;
    // Nobody was asked but who the one good answer names.
    let offers = arena.bus.all().into_iter().skip(from).filter(|seen| seen.payload.starts_with(&[0, 128]));
    for offer in offers {
        assert_eq!(offer.subject, peer.subject, "an offer went where a damaged answer led");
    }
    arena.assert_lives().await;
}
