//! More than anybody could want.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wattle_tests::{DEADLINE, eventually, forget_peak_memory, peak_memory};

use crate::kit::{Arena, FRONT, HELLO, Insider, Offer, assert_good, http_get, metric, request};

const OFFERS: usize = 100_000;

/// By how much the memory of a host may grow while it is flooded.
const MAX_GROWTH: u64 = 64 << 20;

/// The longest that a call over a session that there is may take meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes offers of these members, each of which is good, and sends them as fast as it can.
async fn flood(arena: &Arena, members: &[Insider], count: usize) {
    let subject = arena.subject(&arena.target);
    let client = arena.stage.nats.connect().await;
    let inbox = client.new_inbox();
    for number in 0..count {
        let member = &members[number % members.len()];
        let packet = Bytes::from(Offer::new(member, arena.lattice(), &arena.target).packet());
        client.publish_with_reply(subject.clone(), inbox.clone(), packet).await.unwrap();
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    client.flush().await.unwrap();
}

/// The greatest number of handshakes with the host that waits for its first message, and of those that it counted.
async fn handshakes(arena: &Arena) -> u64 {
    metric(&arena.stage.host, "wattle_seat_handshakes_total", &[]).await
        + metric(&arena.stage.host, "wattle_seat_dropped_total", &[("code", "offer")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_100_000_handshakes() {
    let arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let members: Vec<_> = (0..8).map(|_| arena.host_by_certificate()).collect();
    // Once before, so that what the flood costs is not mixed with what a host takes at first.
    flood(&arena, &members, 2_000).await;
    assert_good(&mut line).await;
    let process = arena.stage.host.pid();
    let before = forget_peak_memory(process);

    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let arena = Arc::new(arena);
    let caller = tokio::spawn({
        let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
        async move {
            let page = http_get("http://hello/");
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let verdict = line.ask(request(FRONT, HELLO, &page).encode().unwrap()).await;
                assert_eq!(verdict.status(), 200, "a call over a session that there was: {verdict:?}");
                longest = longest.max(began.elapsed());
                calls.fetch_add(1, Ordering::Relaxed);
            }
            (line, longest)
        }
    });
    let floods = (0..2).map(|_| {
        let (arena, members) = (Arc::clone(&arena), members.clone());
        tokio::spawn(async move { flood(&arena, &members, OFFERS / 2).await })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.unwrap();
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let (mut line, longest) = caller.await.unwrap();
    assert_good(&mut line).await;
    let growth = peak_memory(process).saturating_sub(before);
    println!(
        "{OFFERS} offers in {took:?}; memory grew by {} KiB; {} calls meanwhile, the longest took {longest:?}; {} handshakes counted",
        growth >> 10,
        calls.load(Ordering::Relaxed),
        handshakes(&arena).await,
    );
    assert!(growth < MAX_GROWTH, "memory grew by {growth} bytes");
    assert!(longest < PATIENCE, "a call took {longest:?}");
    // An honest member gets its session when the flood is over.
    let honest = arena.host_by_certificate();
    let offer = || async {
        let offer = Offer::new(&honest, arena.lattice(), &arena.target).packet();
        let asked = arena.client.request(arena.subject(&arena.target), Bytes::from(offer));
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
        answer.payload.starts_with(&[0, 129]).then_some(())
    };
    eventually("an honest member's handshake after the flood", DEADLINE, offer).await;
    let mut arena = Arc::into_inner(arena).unwrap();
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_flood_of_garbage() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let process = arena.stage.host.pid();
    let before = forget_peak_memory(process);
    let subject = arena.subject(&arena.target);
    let inbox = arena.client.new_inbox();
    // Packets for sessions that nobody knows, each of which could be answered with a signature; and what is nothing.
    for number in 0..50_000_u64 {
        let mut packet = vec![1, 1];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&[7; 60]);
        if number % 2 == 0 {
            packet[0] = 0;
        }
        arena.client.publish_with_reply(subject.clone(), inbox.clone(), packet.into()).await.unwrap();
    }
    arena.client.flush().await.unwrap();
    let began = Instant::now();
    assert_good(&mut line).await;
    assert!(began.elapsed() < PATIENCE, "a call took {:?}", began.elapsed());
    let growth = peak_memory(process).saturating_sub(before);
    assert!(growth < MAX_GROWTH, "memory grew by {growth} bytes");
    arena.assert_lives().await;
}
