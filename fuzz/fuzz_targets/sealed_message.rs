//! Messages of a session: any bytes, and good messages that were changed. The first byte says in which direction, the
//! next three what to change, the rest is the plaintext.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use wattle_fuzz::{NOW, WALL, World};
use wattle_seal::{Error, Kind, Limits, Packet, Plaintext, Responder, Response, Session};

static SESSION: LazyLock<(Session, Session)> = LazyLock::new(session);

/// What a caller sends, and what a target.
const KINDS: [[Kind; 5]; 2] = [
    [Kind::Request, Kind::Frame, Kind::Ping, Kind::Pong, Kind::Cancel],
    [Kind::Reply, Kind::Frame, Kind::Ping, Kind::Pong, Kind::Refusal],
];

fn session() -> (Session, Session) {
    let world = World::new();
    let initiator = world.initiator();
    let mut responder = Responder::new(Limits::default());
    let answer = responder
        .accept(&world.target, &world.trust(), initiator.offer(), NOW, WALL, &SystemRandom::new())
        .expect("a good offer");
    let Ok(Response::Answer(answer)) = initiator.read(&answer, &world.trust(), NOW, WALL) else {
        panic!("a good answer")
    };
    let near = initiator.finish(answer).expect("a good key");
    let mut first = near.seal(Kind::Ping, Plaintext::with_capacity(0), NOW).expect("a good session");
    let (far, _) = responder.confirm(&mut first, NOW, 1000).expect("a good message");
    (near, far)
}

fuzz_target!(|data: &[u8]| {
    let [direction, high, low, change, plaintext @ ..] = data else { return };
    let (near, far) = &*SESSION;
    let (from, to) = if direction & 1 == 0 { (near, far) } else { (far, near) };
    let _ = Packet::classify(data);
    assert!(to.open(&mut data.to_vec(), NOW, 1000).is_err());
    let mut named = data.to_vec();
    if named.len() >= 18 {
        (named[0], named[1]) = (1, named[1] % 7 + 1);
        named[2..18].copy_from_slice(to.id().as_bytes());
        assert!(to.open(&mut named, NOW, 1000).is_err());
    }

    let kind = KINDS[usize::from(direction & 1)][usize::from(direction >> 1) % 5];
    let mut sealed = Plaintext::with_capacity(plaintext.len());
    sealed.extend_from_slice(plaintext);
    let message = from.seal(kind, sealed, NOW).expect("a session that goes on");
    let mut changed = message.clone();
    let place = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
    changed[place] ^= change;
    if *change != 0 {
        assert!(to.open(&mut changed, NOW, 1000).is_err());
        assert!(to.open(&mut message[..place].to_vec(), NOW, 1000).is_err());
    }
    let mut good = message.clone();
    let opened = to.open(&mut good, NOW, 1000).expect("a good message");
    assert_eq!((opened.kind, &*opened.plaintext), (kind, plaintext));
    assert!(matches!(to.open(&mut message.clone(), NOW, 1000), Err(Error::Replayed { .. })));
});
