//! The attacker's kit: what somebody can do who has a NATS client, the protocol's specification, and perhaps a key that
//! a lattice trusts. Nothing in here asks a host for help.

mod arena;
mod bus;
mod certificates;
mod damage;
mod discovery;
mod line;
mod offer;
mod peer;
mod raw;

use std::sync::OnceLock;
use std::time::Instant;

use ring::rand::SystemRandom;
use wattle_seal::{Monotonic, Plaintext, Wall};

pub(crate) use arena::{
    Arena, FRONT, HELLO, SILENCE, assert_good, assert_page_is, guest, metric, refused_by, wait_refused_by,
};
pub(crate) use bus::{Bus, Seen};
pub(crate) use certificates::{Insider, host_grant, json_certificate};
pub(crate) use damage::{cut, flipped};
pub(crate) use discovery::{announcement_of, answer_for, ask, find};
pub(crate) use line::{Line, Verdict, call_number, http_get, http_response, patched, request, streamed_post};
pub(crate) use offer::{Offer, refusal_code};
pub(crate) use peer::{Arrived, Peer, unknown_session};
pub(crate) use raw::RawNats;

/// The kit's own clock that never goes back.
pub(crate) fn now() -> Monotonic {
    static START: OnceLock<Instant> = OnceLock::new();
    let millis = START.get_or_init(Instant::now).elapsed().as_millis();
    // Not from 0, so that what happened before can be named.
    Monotonic::from_millis(1_000_000 + u64::try_from(millis).unwrap())
}

/// The time of the day.
pub(crate) fn wall() -> Wall {
    Wall::from_secs(wattle_tests::now())
}

/// Random numbers.
pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

/// Any bytes to be sealed, whether they make sense or not.
pub(crate) fn plaintext(bytes: &[u8]) -> Plaintext {
    let mut plaintext = Plaintext::with_capacity(bytes.len());
    plaintext.extend_from_slice(bytes);
    plaintext
}

/// Random bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; N];
    random().fill(&mut bytes).unwrap();
    bytes
}
