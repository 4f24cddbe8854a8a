//! Answers and refusals of an offer: as they come, and with the target's signature under whatever they say.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wattle_fuzz::{NOW, WALL, World, answer_signature};
use wattle_seal::{Address, Features, Initiator, Response};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    let initiator = world.initiator();
    read(&initiator, data);

    let mut answer = [&[0, 0x81], data].concat();
    let signature = answer_signature(&world.target_key, initiator.offer(), &answer);
    answer.extend_from_slice(&signature);
    read(&initiator, &answer);

    let mut refusal = [&[0, 0x82], data].concat();
    let signature = world.target_key.sign(&[b"wattle.seal.v1 refusal\0", &refusal[..]].concat());
    refusal.extend_from_slice(&signature);
    read(&initiator, &refusal);

    if let Ok(Response::Answer(answer)) = initiator.read(&answer, &world.trust(), NOW, WALL) {
        let target: Address = initiator.target().clone();
        if let Ok(session) = initiator.finish(answer) {
            assert_eq!((session.version(), session.features()), (1, Features::NONE));
            assert_eq!(session.peer_address(), target);
        }
    }
});

fn read(initiator: &Initiator, packet: &[u8]) {
    if let Ok(Response::Answer(answer)) = initiator.read(packet, &WORLD.trust(), NOW, WALL) {
        assert_eq!(answer.peer().key(), WORLD.target.member().key());
    }
}
