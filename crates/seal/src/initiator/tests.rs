use super::*;
use crate::handshake::MAX_HANDSHAKE_LEN;
use crate::session::SESSION_MILLIS;
use crate::testing::*;
use crate::{Kind, Limits, Responder};
use wattle_identity::{Grant, Ids, KeyKind, KeyPair};

fn answered(world: &World, caller: &Local, target: &Local) -> (Initiator, Vec<u8>) {
    let initiator = world.offer(caller, target);
    let answer = world.accept(&mut Responder::new(Limits::default()), target, initiator.offer()).unwrap();
    (initiator, answer)
}

/// An answer to an offer that `local` signs, whatever it says.
fn forged(local: &Local, offer: &[u8], version: u8, features: Features) -> Vec<u8> {
    let key = Ephemeral::generate(&random()).unwrap();
    AnswerPacket::encode(local, offer, version, features, SessionId([7; 16]), &key.public).0
}

#[test]
fn both_sides_have_the_same_session() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let (near, far) = world.session(&caller, &target);
    assert_eq!((near.id(), near.version(), near.features()), (far.id(), far.version(), far.features()));
    assert_eq!(near.peer_address(), address(&target));
    assert_eq!(far.peer_address(), address(&caller));
    assert_eq!(near.peer(), target.member());
    assert_eq!(far.peer(), caller.member());
    for (from, to) in [(&near, &far), (&far, &near)] {
        let mut message = from.seal(Kind::Frame, text("hello"), NOW).unwrap();
        let opened = to.open(&mut message, NOW, AGE).unwrap();
        assert_eq!((opened.kind, opened.age, &*opened.plaintext), (Kind::Frame, 0, &b"hello"[..]));
    }
}

#[test]
fn providers_and_clients_call_too() {
    let world = World::new();
    let host = world.host();
    let key = KeyPair::generate(KeyKind::User).unwrap();
    let client = world.member(key, Grant::client(LATTICE, Ids::only(["echo"])), LONG);
    let (_near, far) = world.session(&client, &host);
    assert!(far.peer().may_call("echo") && !far.peer().may_call("other"));

    let process = KeyPair::generate(KeyKind::User).unwrap();
    let grant = Grant::provider(LATTICE, "kv");
    let host_key = KeyPair::generate(KeyKind::Host).unwrap();
    let host_token = world.certify(&host_key, Grant::host(LATTICE), LONG);
    let member =
        verify_chain(&[&host_token], &world.issuers, LATTICE, WALL.as_secs(), &world.revoked).unwrap();
    let token = member.certify_provider(&host_key, &process.public_key(), grant, WALL.as_secs()).unwrap();
    let instance = InstanceId::random(&random()).unwrap();
    let chain = [token, host_token];
    let provider = Local::new(process, &chain, instance, LATTICE, &world.trust(), WALL).unwrap();
    let (near, far) = world.session(&provider, &host);
    assert_eq!(far.peer().host(), Some(host_key.public_key().as_str()));
    assert!(far.peer().may_speak_for("kv") && !far.peer().may_speak_for("echo"));
    drop(near);
    let (near, _far) = world.session(&host, &provider);
    assert!(near.peer().may_answer_for("kv"));
}

#[test]
fn a_member_is_set_up_with_what_belongs_together() {
    let world = World::new();
    let (key, other) = (KeyPair::generate(KeyKind::Host).unwrap(), KeyPair::generate(KeyKind::Host).unwrap());
    let chain = [world.certify(&key, Grant::host(LATTICE), LONG)];
    let instance = InstanceId::random(&random()).unwrap();
    let local = |key, lattice| Local::new(key, &chain, instance, lattice, &world.trust(), WALL);
    assert!(matches!(local(other, LATTICE), Err(Error::WrongKey { .. })));
    assert!(matches!(local(key.clone(), "b"), Err(Error::Certificate(IdentityError::WrongLattice { .. }))));
    let shown = format!("{:?}", local(key.clone(), LATTICE).unwrap());
    assert!(!shown.contains(key.seed().as_str()));

    let text = instance.to_string();
    assert_eq!(text.parse::<InstanceId>().unwrap(), instance);
    for bad in ["", &text[1..], &text.to_uppercase().replace(char::is_numeric, "A"), "g0"] {
        assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
    }
}

#[test]
fn every_damaged_answer_is_refused_and_the_good_one_still_counts() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let (initiator, answer) = answered(&world, &caller, &target);
    for packet in damaged(&answer) {
        assert!(initiator.read(&packet, &world.trust(), NOW, WALL).is_err());
    }
    let answer = world.read(&initiator, &answer).unwrap();
    assert_eq!(answer.peer(), target.member());
    initiator.finish(answer).unwrap();
}

#[test]
fn a_third_party_cannot_answer() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let initiator = world.offer(&caller, &target);

    // Another member of the lattice that saw the offer, in the name of the target's instance.
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let chain = [world.certify(&key, Grant::host(LATTICE), LONG)];
    let third = Local::new(key, &chain, target.instance(), LATTICE, &world.trust(), WALL).unwrap();
    let answer = forged(&third, initiator.offer(), 1, Features::NONE);
    assert!(matches!(world.read(&initiator, &answer), Err(Error::WrongMember { .. })));

    // Another process of the same member.
    let twin = Local { key: target.key.clone(), chain: target.chain.clone(), ..world.host() };
    let answer = forged(&twin, initiator.offer(), 1, Features::NONE);
    assert!(matches!(world.read(&initiator, &answer), Err(Error::WrongInstance { .. })));

    // The target's chain, with another's signature.
    let liar = Local { key: third.key, ..target.clone() };
    let answer = forged(&liar, initiator.offer(), 1, Features::NONE);
    assert!(matches!(world.read(&initiator, &answer), Err(Error::BadSignature { .. })));

    // The target's own answer to another offer.
    let (other, answer) = answered(&world, &caller, &target);
    assert!(matches!(world.read(&initiator, &answer), Err(Error::BadSignature { .. })));
    let answer = world.read(&other, &answer).unwrap();
    assert!(matches!(initiator.finish(answer), Err(Error::OtherOffer)));
}

#[test]
fn the_targets_certificate_is_checked() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host_for(100));
    let (initiator, answer) = answered(&world, &caller, &target);
    let late = Wall::from_secs(WALL.as_secs() + 160);
    let refused = initiator.read(&answer, &world.trust(), NOW, late).unwrap_err();
    assert!(matches!(&refused, Error::Certificate(IdentityError::CertificateExpired { .. })), "{refused:?}");
    let nobody = Trust { cluster_issuers: &[], revoked: &world.revoked };
    let refused = initiator.read(&answer, &nobody, NOW, WALL).unwrap_err();
    assert!(matches!(&refused, Error::Certificate(IdentityError::UntrustedIssuer { .. })), "{refused:?}");
    let refused = Initiator::start(&target, address(&caller), NOW, late, &random()).unwrap_err();
    assert!(matches!(&refused, Error::Certificate(IdentityError::CertificateExpired { .. })), "{refused:?}");
}

#[test]
fn an_answer_that_comes_too_late_is_refused() {
    let world = World::new();
    let (initiator, answer) = answered(&world, &world.host(), &world.host());
    let at = |millis| initiator.read(&answer, &world.trust(), NOW.plus(millis), WALL);
    assert!(matches!(at(MAX_HANDSHAKE_MILLIS + 1), Err(Error::HandshakeTooSlow { took: 5001, limit: 5000 })));
    at(MAX_HANDSHAKE_MILLIS).unwrap();
}

#[test]
fn the_highest_common_version_and_common_features_are_chosen() {
    let world = World::new();
    let range = |lowest, highest| VersionRange::new(lowest, highest).unwrap();
    let caller = world.host().with_protocol(range(1, 3), Features::from_bits(0b0110));
    let target = world.host().with_protocol(range(2, 9), Features::from_bits(0b1011));
    let (near, far) = world.session(&caller, &target);
    for session in [&near, &far] {
        assert_eq!((session.version(), session.features()), (3, Features::from_bits(0b0010)));
    }
    // The version is in each message, and one of another version is refused.
    let mut message = near.seal(Kind::Ping, text(""), NOW).unwrap();
    assert_eq!(message[0], 3);
    message[0] = 2;
    assert!(matches!(far.open(&mut message, NOW, AGE), Err(Error::WrongVersion { expected: 3, found: 2 })));
    message[0] = 3;
    far.open(&mut message, NOW, AGE).unwrap();
}

#[test]
fn a_target_cannot_choose_less_than_both_can_do() {
    let world = World::new();
    let range = VersionRange::new(1, 3).unwrap();
    let features = Features::from_bits(0b11);
    let caller = world.host().with_protocol(range, features);
    let target = world.host().with_protocol(range, features);
    let initiator = world.offer(&caller, &target);
    let read =
        |version, features| world.read(&initiator, &forged(&target, initiator.offer(), version, features));
    for version in [0, 1, 2, 4, 255] {
        assert!(matches!(read(version, features), Err(Error::WrongChoice { what: "version" })));
    }
    for bits in [0, 1, 2, 7] {
        assert!(matches!(read(3, Features::from_bits(bits)), Err(Error::WrongChoice { what: "features" })));
    }
    read(3, features).unwrap();
    let elsewhere = target.with_protocol(VersionRange::new(4, 5).unwrap(), features);
    let answer = forged(&elsewhere, initiator.offer(), 4, features);
    assert!(matches!(world.read(&initiator, &answer), Err(Error::NoCommonVersion { .. })));
}

#[test]
fn a_key_without_a_secret_is_refused() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let initiator = world.offer(&caller, &target);
    // The point of order 1, with which every private key gives the same "secret".
    let (answer, _) =
        AnswerPacket::encode(&target, initiator.offer(), 1, Features::NONE, SessionId([7; 16]), &[0; 32]);
    let answer = world.read(&initiator, &answer).unwrap();
    assert!(matches!(initiator.finish(answer), Err(Error::KeyAgreement { .. })));
}

#[test]
fn a_session_ends_with_the_first_certificate_or_after_its_time() {
    let world = World::new();
    let end = |caller, target| {
        let (near, far) = world.session(&world.host_for(caller), &world.host_for(target));
        assert_eq!(near.ends_at(), far.ends_at());
        near.ends_at().since(NOW)
    };
    assert_eq!(end(LONG, LONG), SESSION_MILLIS);
    assert_eq!(end(100, LONG), 160_000);
    assert_eq!(end(LONG, 100), 160_000);
    assert_eq!(end(20, 100), 80_000);
}

#[test]
fn packets_that_are_too_long_are_not_looked_at() {
    let world = World::new();
    let initiator = world.offer(&world.host(), &world.host());
    let mut long = vec![0; MAX_HANDSHAKE_LEN + 1];
    long[1] = 0x81;
    let refused = initiator.read(&long, &world.trust(), NOW, WALL).unwrap_err();
    assert!(matches!(refused, Error::MalformedHandshake { problem: "is too long", .. }));
}

#[test]
fn offers_are_never_alike_and_debug_shows_no_secret() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let (one, other) = (world.offer(&caller, &target), world.offer(&caller, &target));
    assert_ne!(one.offer(), other.offer());
    let shown = format!("{one:?}");
    assert!(shown.starts_with("Initiator { target: Address") && shown.ends_with(".. }"), "{shown}");
}
