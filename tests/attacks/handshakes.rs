//! Offers that are not what they seem.

use wattle_identity::{KeyKind, KeyPair};
use wattle_seal::{Address, Features, InstanceId, Kind, Refusal, VersionRange};

use crate::kit::{Arena, FRONT, HELLO, Line, Offer, http_get, random, request, wall};

const HOUR: u64 = 60 * 60;

fn offer(arena: &Arena) -> Offer {
    Offer::new(&arena.host_by_certificate(), arena.lattice(), &arena.target)
}

#[tokio::test]
async fn attack_offer_signed_by_somebody_else() {
    let mut arena = Arena::start().await;
    let good = offer(&arena);
    // Who has the certificate, which everybody sees, does not have its key.
    let thief = KeyPair::generate(KeyKind::Host).unwrap();
    let bad = good.clone().with(|offer| offer.signer = thief);
    arena.assert_offer_refused(&bad.packet(), 106).await;
    // What was signed for another purpose is no signature here.
    let mut unlabelled = good.packet();
    let signed = unlabelled.len() - 64;
    let signature = good.signer.sign(&unlabelled[..signed]);
    unlabelled[signed..].copy_from_slice(&signature);
    arena.assert_offer_refused(&unlabelled, 106).await;
    arena.assert_offer_taken(&good.packet()).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_offer_replayed() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let mut line = arena.line(&insider).await;
    // As long as the session waits for its first message, the same offer gets the same answer, and no other session.
    assert_eq!(arena.exchange(&line.offer.clone()).await, line.answer);
    assert!(line.ping().await.is_empty());
    arena.assert_offer_refused(&line.offer, 107).await;
    assert!(line.ping().await.is_empty(), "the session that came of it is untouched");
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_offer_redirected() {
    let mut arena = Arena::start().await;
    let good = offer(&arena);
    let other_member =
        Address { member: arena.host_by_certificate().key.public_key(), ..arena.target.clone() };
    let other_instance = Address { instance: InstanceId::random(&random()).unwrap(), ..arena.target.clone() };
    for target in [other_member, other_instance] {
        let bad = good.clone().with(|offer| offer.target = target);
        arena.assert_offer_refused(&bad.packet(), 103).await;
    }
    let elsewhere = good.clone().with(|offer| offer.lattice = "elsewhere".to_owned());
    arena.assert_offer_refused(&elsewhere.packet(), 102).await;
    arena.assert_offer_taken(&good.packet()).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_offer_by_a_clock_an_hour_off() {
    let mut arena = Arena::start().await;
    let good = offer(&arena);
    for time in [wall().as_secs() - HOUR, wall().as_secs() + HOUR] {
        let bad = good.clone().with(|offer| offer.time = time).packet();
        arena.assert_offer_refused(&bad, 104).await;
        // Who is told so is told the time, too, so that both can be named.
        let answer = arena.exchange(&bad).await;
        let refusal = Refusal::verify(&answer, &bad, &arena.target).unwrap();
        assert!(refusal.time.as_secs().abs_diff(wall().as_secs()) < 30, "{refusal:?}");
    }
    let slightly = good.with(|offer| offer.time = wall().as_secs() - 30);
    arena.assert_offer_taken(&slightly.packet()).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_offer_of_other_versions() {
    let mut arena = Arena::start().await;
    let good = offer(&arena);
    let bad = good.clone().with(|offer| offer.versions = (200, 255)).packet();
    arena.assert_offer_refused(&bad, 105).await;
    let answer = arena.exchange(&bad).await;
    let refusal = Refusal::verify(&answer, &bad, &arena.target).unwrap();
    assert_eq!(refusal.versions, VersionRange::SUPPORTED);
    for versions in [(0, 1), (2, 1)] {
        let bad = good.clone().with(|offer| offer.versions = versions);
        arena.assert_offer_refused(&bad.packet(), 101).await;
    }
    // A newer member that still speaks version 1 gets that.
    let newer = arena.local(&arena.host_by_certificate());
    let newer = newer.with_protocol(VersionRange::new(1, 9).unwrap(), Features::from_bits(u64::MAX));
    let mut line = Line::open(&arena.client, &newer, &arena.issuers, &arena.target).await;
    assert_eq!((line.session.version(), line.session.features()), (1, Features::NONE));
    assert!(line.ping().await.is_empty());
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_offer_with_a_key_that_gives_no_secret() {
    let mut arena = Arena::start().await;
    let good = offer(&arena);
    // The points of small order that are known to everybody: whoever agreed on them would share no secret.
    let mut one = [0; 32];
    one[0] = 1;
    for key in [[0; 32], one] {
        let bad = good.clone().with_public_key(key);
        arena.assert_offer_refused(&bad.packet(), 111).await;
    }
    arena.assert_offer_taken(&good.packet()).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_handshake_packets_out_of_place() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    // Answers and refusals have nothing to do where offers go.
    for packet in [line.answer.clone(), vec![0, 130], vec![0, 129], vec![0], vec![]] {
        arena.send(&packet).await;
    }
    let long = [&line.offer[..], &vec![0; 17 * 1024]].concat();
    for offer in [&long[..], &[0, 128]] {
        arena.assert_offer_refused(offer, 101).await;
    }
    for unknown in [[0_u8, 1], [0, 131], [0, 255]] {
        arena.send(&[&unknown[..], &[7; 100]].concat()).await;
    }
    assert!(line.ping().await.is_empty());
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_forged() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    // Who sees the whole handshake can't go on in its place: not before the first message, and not after it.
    let mut line = arena.line(&insider).await;
    let own = arena.good_line().await;
    let page = http_get("http://hello/");
    let forged = |line: &Line| {
        let mut packet = own.seal(Kind::Request, request(FRONT, HELLO, &page).encode().unwrap());
        packet[2..18].copy_from_slice(line.session.id().as_bytes());
        packet
    };
    for _ in 0..2 {
        let before = arena.refused(204).await;
        arena.send(&forged(&line)).await;
        arena.wait_refused(204, before + 1).await;
        assert!(line.ping().await.is_empty());
    }
    // The control: the same request by who has the key.
    assert_eq!(line.ask(request(FRONT, HELLO, &page).encode().unwrap()).await.status(), 200);
    arena.assert_lives().await;
}
