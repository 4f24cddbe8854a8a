//! Words about certificates by those who have no say.

use async_nats::jetstream;
use async_nats::jetstream::kv::Store;
use wattle_identity::{KeyKind, KeyPair, Revocation};
use wattle_protocol::state::{lattice_bucket, revocation_key};
use wattle_tests::{DEADLINE, eventually};

use crate::kit::{Arena, FRONT, HELLO, Offer, SILENCE, assert_good, http_get, request, wall};

/// The state of the lattice, which whoever has the NATS permissions can write.
async fn state(arena: &Arena) -> Store {
    let context = jetstream::new(arena.client.clone());
    context.get_key_value(lattice_bucket(arena.lattice())).await.unwrap()
}

#[tokio::test]
async fn attack_certificate_that_was_revoked() {
    let mut arena = Arena::start().await;
    let (insider, other) = (arena.host_by_certificate(), arena.host_by_certificate());
    let mut line = arena.line(&insider).await;
    let mut others = arena.line(&other).await;
    assert_good(&mut line).await;
    assert_good(&mut others).await;
    let offer = |arena: &Arena| Offer::new(&insider, arena.lattice(), &arena.target).packet();
    arena.assert_offer_taken(&offer(&arena)).await;

    let state = state(&arena).await;
    let ids = vec![insider.certificate().id];
    let revocation = Revocation::new(&arena.cluster, arena.lattice(), ids, wall().as_secs())
        .unwrap()
        .encode(&arena.cluster);
    state.put(revocation_key(&arena.cluster.public_key()), revocation.unwrap().into()).await.unwrap();
    // Its sessions end, and it gets no more.
    let page = http_get("http://hello/");
    eventually("the revoked member's session to end", DEADLINE, || async {
        (arena.refused(137).await > 0 || !arena.exchange(&offer(&arena)).await.starts_with(&[0, 129]))
            .then_some(())
    })
    .await;
    let packet = line.seal(wattle_seal::Kind::Request, request(FRONT, HELLO, &page).encode().unwrap());
    assert_eq!(line.submit(&packet).await.refusal(), 209);
    arena.assert_offer_refused(&offer(&arena), 137).await;
    assert_good(&mut others).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_revocation_forged() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let mut line = arena.line(&insider).await;
    assert_good(&mut line).await;
    let state = state(&arena).await;
    let (stranger, host) = (KeyPair::generate(KeyKind::Cluster).unwrap(), insider.key.clone());
    let ids = || vec![insider.certificate().id];
    let now = wall().as_secs();
    let forged = Revocation::new(&stranger, arena.lattice(), ids(), now).unwrap().encode(&stranger).unwrap();
    let mut named = Revocation::new(&arena.cluster, arena.lattice(), ids(), now).unwrap();
    named.issuer = stranger.public_key();
    let mut stolen = named.encode(&stranger).unwrap();
    let elsewhere =
        Revocation::new(&arena.cluster, "elsewhere", ids(), now).unwrap().encode(&arena.cluster).unwrap();
    let good =
        Revocation::new(&arena.cluster, arena.lattice(), ids(), now).unwrap().encode(&arena.cluster).unwrap();
    // The good one with the signature of another.
    let cut = stolen.rfind('.').unwrap();
    stolen.replace_range(..cut, &good[..good.rfind('.').unwrap()]);
    for (what, issuer, token) in [
        ("a key that is not trusted", stranger.public_key(), forged.clone()),
        ("a key that is not trusted, under a trusted one's name", arena.cluster.public_key(), forged),
        ("a signature of another", arena.cluster.public_key(), stolen),
        ("another lattice", arena.cluster.public_key(), elsewhere),
        ("a host's key", host.public_key(), "no.token.atall".to_owned()),
        ("garbage", arena.cluster.public_key(), "\u{0}\u{1}".to_owned()),
    ] {
        state.put(revocation_key(&issuer), token.into()).await.unwrap();
        tokio::time::sleep(SILENCE).await;
        println!("{what}");
        assert_good(&mut line).await;
        arena.assert_offer_taken(&Offer::new(&insider, arena.lattice(), &arena.target).packet()).await;
    }
    arena.assert_lives().await;
    // The control: what the cluster key signs.
    state.put(revocation_key(&arena.cluster.public_key()), good.into()).await.unwrap();
    let offer = || Offer::new(&insider, arena.lattice(), &arena.target).packet();
    eventually("the revocation to count", DEADLINE, || async {
        arena.exchange(&offer()).await.starts_with(&[0, 130]).then_some(())
    })
    .await;
    arena.assert_offer_refused(&offer(), 137).await;
}
