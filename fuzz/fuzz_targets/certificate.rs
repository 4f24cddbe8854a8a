//! Chains of certificates and revocations: as they come, and with a good signature under whatever they say.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wattle_fuzz::{LATTICE, WALL, World};
use wattle_identity::{KeyPair, Member, Revocation, Role, verify_chain};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fn verify(chain: &[&str]) -> Option<Member> {
    let world = &*WORLD;
    let member = verify_chain(chain, &world.issuers, LATTICE, WALL.as_secs(), &world.revoked).ok()?;
    assert_eq!(member.lattice(), LATTICE);
    assert!(member.certificate().not_before <= WALL.as_secs() + 60);
    assert!(member.expires() > WALL.as_secs() - 60);
    assert_eq!(member.cluster_issuer(), world.cluster.public_key());
    assert!(member.host().is_none() || member.role() == Role::Provider);
    Some(member)
}

fn sign(json: &[u8], key: &KeyPair) -> String {
    let header = base64url(br#"{"typ":"jwt","alg":"Ed25519"}"#);
    let signed = format!("{header}.{}", base64url(json));
    format!("{signed}.{}", base64url(&key.sign(signed.as_bytes())))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    if let Ok(text) = std::str::from_utf8(data) {
        let chain: Vec<_> = text.split('\n').collect();
        verify(&chain);
        let _ = Revocation::verify(text, &world.issuers, LATTICE);
    }
    // One certificate by the cluster key, or one by a host's and, behind a zero, its host's by the cluster key.
    match data.split(|byte| *byte == 0).collect::<Vec<_>>()[..] {
        [own] => {
            let token = sign(own, &world.cluster);
            verify(&[&token]);
            let _ = Revocation::verify(&token, &world.issuers, LATTICE);
        }
        [own, host, ..] => {
            let (own, host) = (sign(own, &world.caller_key), sign(host, &world.cluster));
            if let Some(member) = verify(&[&own, &host]) {
                let host = verify(&[&host]).expect("a host whose provider is good");
                assert!(member.expires() <= host.expires());
                for id in ["kv", "echo"] {
                    assert!(!member.may_answer_for(id) || host.may_answer_for(id));
                    assert!(!member.may_speak_for(id) || host.may_speak_for(id) && host.may_answer_for(id));
                }
            }
        }
        [] => {}
    }
});
