//! Offers: as they come, and with the caller's signature under whatever they say.

#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use wattle_fuzz::{NOW, WALL, World};
use wattle_seal::{Error, Limits, Packet, Refusal, Responder};

const LIMITS: Limits = Limits { unconfirmed: 8, lifetime: 10_000, offers: 16, chains: 2 };

static WORLD: LazyLock<World> = LazyLock::new(World::new);
static RESPONDER: LazyLock<Mutex<Responder>> = LazyLock::new(|| Mutex::new(Responder::new(LIMITS)));

fn accept(offer: &[u8]) -> Result<Vec<u8>, Error> {
    let world = &*WORLD;
    let mut responder = RESPONDER.lock().expect("no panic before");
    let answer = responder.accept(&world.target, &world.trust(), offer, NOW, WALL, &SystemRandom::new());
    assert!(responder.unconfirmed() <= LIMITS.unconfirmed);
    answer
}

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    let _ = Packet::classify(data);
    let _ = accept(data);
    let mut offer = [&[0, 0x80], data].concat();
    let signature = world.caller_key.sign(&[b"wattle.seal.v1 offer\0", &offer[..]].concat());
    offer.extend_from_slice(&signature);
    match accept(&offer) {
        Ok(answer) => assert_eq!(Packet::classify(&answer).expect("an answer"), Packet::Answer),
        Err(error) => {
            let refusal = Refusal::sign(&world.target, &offer, &error, WALL);
            let target = world.initiator().target().clone();
            let read = Refusal::verify(&refusal, &offer, &target).expect("a good refusal");
            assert_eq!(read.code, error.code());
        }
    }
});
