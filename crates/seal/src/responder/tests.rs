use std::collections::BTreeSet;

use super::*;
use crate::handshake::MAX_HANDSHAKE_LEN;
use crate::testing::*;
use crate::{Features, Initiator, InstanceId, Kind, Refusal, Response, VersionRange};
use proptest::prelude::*;
use wattle_identity::{Error as IdentityError, Grant, KeyKind, KeyPair};

fn responder() -> Responder {
    Responder::new(Limits::default())
}

#[test]
fn every_damaged_offer_is_refused() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let initiator = world.offer(&caller, &target);
    let mut responder = responder();
    for packet in damaged(initiator.offer()) {
        assert!(world.accept(&mut responder, &target, &packet).is_err());
    }
    assert_eq!(responder.unconfirmed(), 0);
    world.accept(&mut responder, &target, initiator.offer()).unwrap();
}

#[test]
fn an_offer_is_good_for_one_process_of_one_member_of_one_lattice() {
    let world = World::new();
    let (caller, target, other) = (world.host(), world.host(), world.host());
    let initiator = world.offer(&caller, &target);
    let refused = world.accept(&mut responder(), &other, initiator.offer()).unwrap_err();
    assert!(matches!(refused, Error::WrongTarget { .. }));

    // The same member, started anew.
    let key = target.key;
    let chain = [world.certify(&key, Grant::host(LATTICE), LONG)];
    let instance = InstanceId::random(&random()).unwrap();
    let again = Local::new(key.clone(), &chain, instance, LATTICE, &world.trust(), WALL).unwrap();
    let refused = world.accept(&mut responder(), &again, initiator.offer()).unwrap_err();
    assert!(matches!(refused, Error::WrongTarget { .. }));

    let elsewhere = world.member(key, Grant::host("other"), LONG);
    let refused = world.accept(&mut responder(), &elsewhere, initiator.offer()).unwrap_err();
    assert!(matches!(refused, Error::WrongLattice { found, .. } if found == LATTICE));
}

#[test]
fn the_callers_certificate_is_checked_each_time() {
    let mut world = World::new();
    let (caller, target) = (world.host_for(100), world.host());
    let mut responder = responder();
    let offer = |wall| Initiator::start(&caller, address(&target), NOW, wall, &random()).unwrap();
    let accept = |responder: &mut Responder, world: &World, offer: &Initiator, wall| {
        responder.accept(&target, &world.trust(), offer.offer(), NOW, wall, &random())
    };
    accept(&mut responder, &world, &offer(WALL), WALL).unwrap();

    // The chain is known by now, and refused nevertheless when it has expired, is revoked, or its issuer distrusted.
    let almost = Wall::from_secs(WALL.as_secs() + 159);
    let late = offer(almost);
    let over = Wall::from_secs(WALL.as_secs() + 160);
    let refused = accept(&mut responder, &world, &late, over).unwrap_err();
    assert!(matches!(refused, Error::Certificate(IdentityError::CertificateExpired { .. })));
    accept(&mut responder, &world, &late, almost).unwrap();

    world.revoked = BTreeSet::from([caller.member().certificate().id.clone()]);
    let refused = accept(&mut responder, &world, &offer(WALL), WALL).unwrap_err();
    assert!(matches!(refused, Error::Certificate(IdentityError::Revoked { .. })));
    world.revoked.clear();
    world.issuers.clear();
    let refused = accept(&mut responder, &world, &offer(WALL), WALL).unwrap_err();
    assert!(matches!(refused, Error::Certificate(IdentityError::UntrustedIssuer { .. })));
}

#[test]
fn a_stranger_is_refused() {
    let (world, others) = (World::new(), World::new());
    let (stranger, target) = (others.host(), world.host());
    let initiator = others.offer(&stranger, &target);
    let refused = world.accept(&mut responder(), &target, initiator.offer()).unwrap_err();
    assert!(matches!(&refused, Error::Certificate(IdentityError::UntrustedIssuer { .. })));
    assert_eq!(refused.code(), 126);

    // A good chain, shown by somebody else.
    let member = world.host();
    let thief = Local { key: stranger.key, ..member };
    let initiator = world.offer(&thief, &target);
    let refused = world.accept(&mut responder(), &target, initiator.offer()).unwrap_err();
    assert!(matches!(refused, Error::BadSignature { .. }));
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    for (skew, good) in [(-3600i64, false), (-61, false), (-60, true), (0, true), (60, true), (61, false)] {
        let theirs = Wall::from_secs(WALL.as_secs().checked_add_signed(3600 + skew).unwrap());
        let ours = Wall::from_secs(WALL.as_secs() + 3600);
        let initiator = Initiator::start(&caller, address(&target), NOW, theirs, &random()).unwrap();
        let mut responder = responder();
        let outcome = responder.accept(&target, &world.trust(), initiator.offer(), NOW, ours, &random());
        match outcome {
            Ok(_) => assert!(good, "{skew}"),
            Err(error) => {
                assert!(!good && matches!(error, Error::ClockSkew { .. }), "{skew}: {error}");
                assert!(error.to_string().contains(&theirs.as_secs().to_string()));
                assert!(error.to_string().contains(&ours.as_secs().to_string()));
            }
        }
    }
}

#[test]
fn without_a_common_version_both_sides_hear_of_both_ranges() {
    let world = World::new();
    let range = |lowest, highest| VersionRange::new(lowest, highest).unwrap();
    let caller = world.host().with_protocol(range(1, 2), Features::NONE);
    let target = world.host().with_protocol(range(3, 4), Features::NONE);
    let initiator = world.offer(&caller, &target);
    let error = world.accept(&mut responder(), &target, initiator.offer()).unwrap_err();
    assert!(error.deserves_refusal());
    let packet = Refusal::sign(&target, initiator.offer(), &error, WALL);
    let response = initiator.read(&packet, &world.trust(), NOW, WALL).unwrap();
    let Response::Refusal(refusal) = response else { panic!("{response:?}") };
    let there = refusal.into_error(&caller, WALL);
    assert!(error.to_string().contains("we speak 3 to 4 and the other member 1 to 2"), "{error}");
    assert!(there.to_string().contains("we speak 1 to 2 and the other member 3 to 4"), "{there}");
    assert_eq!((error.code(), there.code()), (105, 105));
}

#[test]
fn an_offer_is_answered_once() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let mut responder = responder();
    let initiator = world.offer(&caller, &target);
    let first = world.accept(&mut responder, &target, initiator.offer()).unwrap();
    let second = world.accept(&mut responder, &target, initiator.offer()).unwrap();
    assert_eq!(first, second);
    assert_eq!(responder.unconfirmed(), 1);

    let answer = world.read(&initiator, &first).unwrap();
    let offer = initiator.offer().to_vec();
    let near = initiator.finish(answer).unwrap();
    confirm(&mut responder, &near).unwrap();
    assert_eq!(responder.unconfirmed(), 0);
    assert!(matches!(world.accept(&mut responder, &target, &offer), Err(Error::OfferReplayed)));
    let mut message = near.seal(Kind::Ping, text(""), NOW).unwrap();
    assert!(matches!(responder.confirm(&mut message, NOW, AGE), Err(Error::UnknownSession { .. })));
}

#[test]
fn an_unconfirmed_session_is_given_up() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let mut responder = responder();
    let initiator = world.offer(&caller, &target);
    let offer = initiator.offer().to_vec();
    let answer = world.accept(&mut responder, &target, &offer).unwrap();
    let near = world.finish(initiator, &answer);

    let lifetime = Limits::default().lifetime;
    let mut message = near.seal(Kind::Ping, text(""), NOW).unwrap();
    let late = NOW.plus(lifetime + 1);
    assert!(matches!(responder.confirm(&mut message, late, lifetime * 2), Err(Error::UnknownSession { .. })));
    assert_eq!(responder.unconfirmed(), 0);
    // While its time would let it pass, the offer is known as used; after that its time is too old.
    let again = |responder: &mut Responder, secs: u64| {
        let (now, wall) = (NOW.plus(secs * 1000), Wall::from_secs(WALL.as_secs() + secs));
        responder.accept(&target, &world.trust(), &offer, now, wall, &random())
    };
    assert!(matches!(again(&mut responder, 11), Err(Error::OfferReplayed)));
    assert!(matches!(again(&mut responder, 60), Err(Error::OfferReplayed)));
    assert!(matches!(again(&mut responder, 61), Err(Error::ClockSkew { .. })));
}

#[test]
fn what_does_not_open_neither_confirms_nor_harms() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let mut responder = responder();
    let initiator = world.offer(&caller, &target);
    let answer = world.accept(&mut responder, &target, initiator.offer()).unwrap();
    let near = world.finish(initiator, &answer);
    let message = near.seal(Kind::Ping, text("ping"), NOW).unwrap();
    for mut packet in damaged(&message) {
        assert!(responder.confirm(&mut packet, NOW, AGE).is_err());
    }
    assert_eq!(responder.unconfirmed(), 1);
    let mut copy = message.clone();
    let (far, opened) = responder.confirm(&mut copy, NOW, AGE).unwrap();
    assert_eq!(opened.plaintext, b"ping");
    // The message that confirmed the session counts as opened in it.
    let mut again = message;
    assert!(matches!(far.open(&mut again, NOW, AGE), Err(Error::Replayed { counter: 0 })));
}

#[test]
fn a_caller_with_a_bad_key_is_refused() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let offer = Offer::encode(&caller, &address(&target), WALL, &[0; 32], &[1; 32]).unwrap();
    let mut responder = responder();
    assert!(matches!(world.accept(&mut responder, &target, &offer), Err(Error::KeyAgreement { .. })));
    assert_eq!(responder.unconfirmed(), 0);
}

#[test]
fn more_than_two_certificates_are_refused() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let token = world.certify(&caller.key, Grant::host(LATTICE), LONG);
    for (count, code) in [(0, 122), (3, 123), (255, 123)] {
        let chain =
            crate::handshake::Chain::encode(&vec![if count > 9 { "x" } else { &token }; count]).unwrap();
        let liar = Local { chain, ..caller.clone() };
        let initiator = world.offer(&liar, &target);
        let refused = world.accept(&mut responder(), &target, initiator.offer()).unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(!refused.deserves_refusal());
    }
}

/// Few can wait, so that the test is fast.
const FEW: Limits = Limits { unconfirmed: 64, lifetime: 10_000, offers: 256, chains: 4 };

#[test]
fn a_hundred_thousand_offers_stay_within_the_bounds() {
    let world = World::new();
    let (flooder, target) = (world.host(), world.host());
    let mut responder = Responder::new(FEW);
    let mut highest = 0;
    for _ in 0..1000 {
        let initiator = world.offer(&flooder, &target);
        for _ in 0..100 {
            world.accept(&mut responder, &target, initiator.offer()).unwrap();
            highest = highest.max(responder.unconfirmed());
        }
    }
    assert_eq!(highest, FEW.unconfirmed);
}

#[test]
fn a_flood_of_one_member_is_in_nobody_elses_way() {
    let world = World::new();
    let (honest, flooder, target) = (world.host(), world.host(), world.host());
    let mut responder = Responder::new(FEW);

    let established = world.offer(&honest, &target);
    let answer = world.accept(&mut responder, &target, established.offer()).unwrap();
    let near = world.finish(established, &answer);
    let far = confirm(&mut responder, &near).unwrap();

    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let initiator = world.offer(&world.host(), &target);
            let answer = world.accept(&mut responder, &target, initiator.offer()).unwrap();
            (initiator, answer)
        })
        .collect();
    for _ in 0..300 {
        world.accept(&mut responder, &target, world.offer(&flooder, &target).offer()).unwrap();
        assert!(responder.unconfirmed.is_consistent());
    }
    for (initiator, answer) in waiting {
        confirm(&mut responder, &world.finish(initiator, &answer)).unwrap();
    }
    let mut message = near.seal(Kind::Ping, text(""), NOW).unwrap();
    far.open(&mut message, NOW, AGE).unwrap();
}

#[test]
fn known_chains_are_bounded() {
    let world = World::new();
    let target = world.host();
    let mut responder = Responder::new(FEW);
    for _ in 0..20 {
        let key = KeyPair::generate(KeyKind::Host).unwrap();
        let caller = world.member(key, Grant::host(LATTICE), LONG);
        world.accept(&mut responder, &target, world.offer(&caller, &target).offer()).unwrap();
        assert!(responder.chains.len() <= FEW.chains);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, kind in 0x80..0x83u8) {
        let world = World::new();
        let (caller, target) = (world.host(), world.host());
        let packet = [&[0, kind][..], &bytes].concat();
        for packet in [&bytes, &packet] {
            prop_assert!(world.accept(&mut responder(), &target, packet).is_err());
            prop_assert!(world.offer(&caller, &target).read(packet, &world.trust(), NOW, WALL).is_err());
            prop_assert!(responder().confirm(&mut packet.clone(), NOW, AGE).is_err());
        }
    }

    /// Offers of several members at any times, confirmed or not.
    #[test]
    fn the_bounds_hold_whatever_happens(events in proptest::collection::vec((0..3usize, 0..6000u64, any::<bool>()), 1..40)) {
        let world = World::new();
        let (callers, target) = ([world.host(), world.host(), world.host()], world.host());
        let mut responder = Responder::new(Limits { unconfirmed: 4, offers: 6, ..Limits::default() });
        let mut now = NOW;
        for (caller, pause, confirmed) in events {
            now = now.plus(pause);
            let wall = Wall::from_secs(WALL.as_secs() + now.since(NOW) / 1000);
            let initiator =
                Initiator::start(&callers[caller], address(&target), now, wall, &random()).unwrap();
            let answer =
                responder.accept(&target, &world.trust(), initiator.offer(), now, wall, &random()).unwrap();
            prop_assert!(responder.unconfirmed.is_consistent(), "{:?}", responder);
            if confirmed {
                let Response::Answer(answer) = initiator.read(&answer, &world.trust(), now, wall).unwrap() else {
                    panic!("refused")
                };
                let near = initiator.finish(answer).unwrap();
                let mut message = near.seal(Kind::Ping, text(""), now).unwrap();
                responder.confirm(&mut message, now, AGE).unwrap();
                prop_assert!(responder.unconfirmed.is_consistent(), "{:?}", responder);
            }
        }
        let late = now.plus(200_000);
        let mut nothing = [0; 42];
        nothing[..2].copy_from_slice(&[1, 1]);
        prop_assert!(responder.confirm(&mut nothing, late, AGE).is_err());
        prop_assert_eq!(responder.unconfirmed(), 0);
        prop_assert!(responder.unconfirmed.is_consistent(), "{:?}", responder);
    }

    /// Whenever the three packets are sent and arrive, a message never seems younger than it is, and at most by the
    /// length of the handshake older.
    #[test]
    fn ages_are_never_too_low(
        to_target in 0..2500u64, to_caller in 0..2500u64, pause in 0..1000u64, transit in 0..1000u64, back: bool,
    ) {
        let world = World::new();
        let (caller, target) = (world.host(), world.host());
        let mut responder = responder();
        let initiator = world.offer(&caller, &target);
        // The two machines count from different moments.
        let there = |now: Monotonic| now.plus(123_456_789);
        let arrived = NOW.plus(to_target);
        let answer = responder
            .accept(&target, &world.trust(), initiator.offer(), there(arrived), WALL, &random())
            .unwrap();
        let answered = arrived.plus(to_caller);
        let Response::Answer(answer) = initiator.read(&answer, &world.trust(), answered, WALL).unwrap() else {
            panic!("refused")
        };
        let near = initiator.finish(answer).unwrap();
        let sealed = answered.plus(pause);
        let mut message = near.seal(Kind::Request, text("x"), sealed).unwrap();
        let opened = sealed.plus(transit);
        let (far, first) = responder.confirm(&mut message, there(opened), u64::MAX).unwrap();
        let mut age = first.age;
        if back {
            let mut reply = far.seal(Kind::Reply, text("y"), there(opened)).unwrap();
            age = near.open(&mut reply, opened.plus(transit), u64::MAX).unwrap().age;
        }
        prop_assert!(age >= transit && age <= transit + to_target + to_caller, "{} {}", age, transit);
    }
}

#[test]
fn an_offer_fits_what_is_accepted() {
    // The longest chain of two certificates, and the longest names.
    let longest = 2 * (wattle_identity::certificate::MAX_CERTIFICATE_LEN + 2) + 1;
    assert!(100 + 2 * 256 + 16 + longest + 64 <= MAX_HANDSHAKE_LEN);
}
