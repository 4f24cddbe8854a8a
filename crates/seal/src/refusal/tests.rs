use super::*;
use crate::testing::*;
use crate::{Kind, Packet};

fn unknown() -> Error {
    Error::UnknownSession { session: crate::SessionId([3; 16]) }
}

#[test]
fn a_refusal_is_good_for_one_packet_of_one_target() {
    let world = World::new();
    let (caller, target, other) = (world.host(), world.host(), world.host());
    let (near, _) = world.session(&caller, &target);
    let message = near.seal(Kind::Request, text("x"), NOW).unwrap();
    let packet = Refusal::sign(&target, &message, &unknown(), WALL);
    assert_eq!((packet.len(), Packet::classify(&packet).unwrap()), (REFUSAL_LEN, Packet::Refusal));
    let refusal = Refusal::verify(&packet, &message, &near.peer_address()).unwrap();
    assert_eq!((refusal.code, refusal.time), (Error::UNKNOWN_SESSION, WALL));
    let error = refusal.into_error(&caller, WALL);
    assert!(matches!(error, Error::Refused { code: 202, .. }), "{error:?}");

    let second = near.seal(Kind::Request, text("x"), NOW).unwrap();
    let refused = Refusal::verify(&packet, &second, &near.peer_address());
    assert!(matches!(refused, Err(Error::MalformedHandshake { field: "the hash", .. })));
    // By another member, and by another process of the same one.
    let forged = Refusal::sign(&other, &message, &unknown(), WALL);
    assert!(matches!(
        Refusal::verify(&forged, &message, &address(&target)),
        Err(Error::WrongInstance { .. })
    ));
    let mixed = Address { instance: other.instance(), ..address(&target) };
    assert!(matches!(Refusal::verify(&forged, &message, &mixed), Err(Error::BadSignature { .. })));
    for packet in damaged(&packet) {
        assert!(Refusal::verify(&packet, &message, &near.peer_address()).is_err());
    }
}

#[test]
fn a_clock_that_is_off_is_named_on_both_sides() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let initiator = world.offer(&caller, &target);
    let error = Error::ClockSkew { theirs: 10, ours: 20 };
    let packet = Refusal::sign(&target, initiator.offer(), &error, Wall::from_secs(20));
    let refusal = Refusal::verify(&packet, initiator.offer(), &address(&target)).unwrap();
    let there = refusal.into_error(&caller, Wall::from_secs(10));
    assert!(matches!(there, Error::ClockSkew { theirs: 20, ours: 10 }), "{there:?}");
}

#[test]
fn only_those_who_can_help_it_are_told() {
    let certificate = wattle_identity::Error::CertificateExpired { subject: "N".into(), expires: 1, now: 2 };
    for (error, told) in [
        (unknown(), true),
        (Error::SessionEnded, true),
        (Error::ClockSkew { theirs: 1, ours: 2 }, true),
        (Error::Certificate(certificate), true),
        (Error::Certificate(wattle_identity::Error::BadSignature { public_key: "N".into() }), false),
        (Error::NotAuthentic, false),
        (Error::Replayed { counter: 1 }, false),
        (Error::OfferReplayed, false),
        (Error::BadSignature { member: "N".into() }, false),
        (Error::MalformedHandshake { field: "a", problem: "b" }, false),
    ] {
        assert_eq!(error.deserves_refusal(), told, "{error}");
    }
}
