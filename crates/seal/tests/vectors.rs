//! The test vectors of `docs/protocol.md`: everything random or from a clock is fixed, so every byte is.
//!
//! The keys of the session are derived here a second time, straight from the specification. After a change of the
//! protocol, `WATTLE_WRITE_VECTORS=1 cargo test -p wattle-seal --test vectors` writes the file anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
#![allow(
    deprecated,
    reason = "the only fixed numbers that ring takes for random ones are in a module it may remove"
)]

use std::cell::UnsafeCell;
use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::test::rand::FixedSliceSequenceRandom;
use serde_json::{Value, json};
use wattle_identity::{Certificate, Grant, Ids, KeyKind, KeyPair, Revocation, verify_chain};
use wattle_seal::message::{Cancel, Encoding, End, Frame, Outcome, Ping, Reason, Refused, Reply, Request};
use wattle_seal::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vectors.json");
const LATTICE: &str = "default";
const WALL: Wall = Wall::from_secs(1_790_000_000);

/// Seeds for tests only: each is the SHA-256 of `wattle test vector` and its name.
const CLUSTER: &str = "SCAK4NT2YKAG6GLODFKBBPHYYAODFQALUM7YRADZ43SED6NVOZLBAFPEAY";
const CALLER: &str = "SNAEBLIAIMWSHS5VGJ35K3UYPA7VUJBBIHNAGJBTCH37YPE3VIQGWLPKK4";
const TARGET: &str = "SNAMKV3WSR7IVH74L7ATZBQC6UYYQJD366T4OM7QD6CG2HSPGOLBSGOTVE";
const PROCESS: &str = "SUAPNKORS2TORWMXMCH2RD75XBD6UFYMFRXWBJNNPUDKLFHUAF5PBWQZ4A";
const CLIENT: &str = "SUAN4LBUJ6LNUFRJ5237CCESEW3JQXTH7SSFOSIJLRJB4F55HKYVEA74QY";

fn key(seed: &str, kind: KeyKind) -> KeyPair {
    let key = KeyPair::from_seed(seed).unwrap();
    assert_eq!(key.kind(), kind);
    key
}

fn hex(bytes: &[u8]) -> Value {
    HEXLOWER.encode(bytes).into()
}

fn unhex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// Bytes that count up from one, so that a field out of place is seen at once.
fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|place| from.wrapping_add(u8::try_from(place).unwrap()))
}

fn fixed<'a>(parts: &'a [&'a [u8]]) -> FixedSliceSequenceRandom<'a> {
    FixedSliceSequenceRandom { bytes: parts, current: UnsafeCell::new(0) }
}

fn certificate(issuer: &KeyPair, subject: &KeyPair, grant: Grant, id: &str) -> String {
    let mut certificate = Certificate::new(issuer, &subject.public_key(), grant, WALL.as_secs()).unwrap();
    certificate.id = id.to_owned();
    certificate.encode(issuer).unwrap()
}

/// All members: their keys, and their certificates.
struct Members {
    cluster: KeyPair,
    issuers: Vec<String>,
    revoked: BTreeSet<String>,
    caller: Local,
    target: Local,
    tokens: Value,
}

fn members() -> Members {
    let cluster = key(CLUSTER, KeyKind::Cluster);
    let (caller, target) = (key(CALLER, KeyKind::Host), key(TARGET, KeyKind::Host));
    let (process, client) = (key(PROCESS, KeyKind::User), key(CLIENT, KeyKind::User));
    let issuers = vec![cluster.public_key()];
    let revoked = BTreeSet::new();
    let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };

    let caller_token = certificate(&cluster, &caller, Grant::host(LATTICE), "CALLER");
    let target_token = certificate(&cluster, &target, Grant::host(LATTICE), "TARGET");
    let process_token = certificate(&target, &process, Grant::provider(LATTICE, "kv"), "PROCESS");
    let client_token =
        certificate(&cluster, &client, Grant::client(LATTICE, Ids::only(["echo", "kv"])), "CLIENT");
    let chain = [&process_token, &target_token];
    verify_chain(&chain, &issuers, LATTICE, WALL.as_secs(), &revoked).unwrap();
    verify_chain(&[&client_token], &issuers, LATTICE, WALL.as_secs(), &revoked).unwrap();
    let mut revocation = Revocation::new(&cluster, LATTICE, vec!["CLIENT".into()], WALL.as_secs()).unwrap();
    revocation.id = "REVOCATION".into();
    let revocation = revocation.encode(&cluster).unwrap();
    Revocation::verify(&revocation, &issuers, LATTICE).unwrap();

    let tokens = json!({
        "lattice": LATTICE,
        "now": WALL.as_secs(),
        "seeds": { "cluster": CLUSTER, "caller": CALLER, "target": TARGET, "process": PROCESS, "client": CLIENT },
        "keys": {
            "cluster": cluster.public_key(), "caller": caller.public_key(), "target": target.public_key(),
            "process": process.public_key(), "client": client.public_key(),
        },
        "caller": caller_token, "target": target_token, "process": process_token, "client": client_token,
        "revocation": revocation,
    });
    let local = |key, token, instance: &str| {
        Local::new(key, &[token], instance.parse().unwrap(), LATTICE, &trust, WALL).unwrap()
    };
    let caller = local(caller, caller_token, "000102030405060708090a0b0c0d0e0f");
    let target = local(target, target_token, "101112131415161718191a1b1c1d1e1f");
    Members { cluster, issuers, revoked, caller, target, tokens }
}

/// The session's secrets, from the specification alone.
fn secrets(private: &[u8; 32], offer: &[u8], answer: &[u8]) -> Value {
    let unsigned = &answer[..answer.len() - 64];
    let mut hashed = b"wattle.seal.v1 transcript\0".to_vec();
    for part in [offer, unsigned] {
        hashed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        hashed.extend_from_slice(part);
    }
    let transcript = digest(&SHA256, &hashed);
    let private = EphemeralPrivateKey::generate(&X25519, &fixed(&[private])).unwrap();
    let theirs = UnparsedPublicKey::new(&X25519, &answer[53..85]);
    let (shared, prk) = agree_ephemeral(private, &theirs, |shared| {
        (shared.to_vec(), Salt::new(HKDF_SHA256, transcript.as_ref()).extract(shared))
    })
    .unwrap();
    let expand = |label: &[u8]| {
        let mut out = [0; 32];
        prk.expand(&[label], HKDF_SHA256).unwrap().fill(&mut out).unwrap();
        hex(&out)
    };
    json!({
        "shared_secret": hex(&shared),
        "transcript": hex(transcript.as_ref()),
        "caller_to_target": expand(b"wattle.seal.v1 caller to target"),
        "target_to_caller": expand(b"wattle.seal.v1 target to caller"),
    })
}

/// Opens a message with a key, knowing nothing but the specification; gives what was sealed.
fn open_by_hand(key: &Value, message: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &unhex(key)).unwrap());
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&message[18..26]);
    let mut sealed = message[26..].to_vec();
    let opened =
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(&message[..26]), &mut sealed);
    opened.unwrap().to_vec()
}

fn messages() -> Vec<(Kind, bool, Plaintext)> {
    let request = Request {
        call: 1,
        remaining: 30_000,
        depth: 1,
        state_revision: 42,
        encoding: Encoding::Values,
        types: counting(0xc0),
        streams: 1,
        source: "gateway",
        target: "echo",
        link_name: "default",
        interface: "example:echo/echo@1.0.0",
        function: "say",
        trace_parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        trace_state: "a=1",
        parameters: b"\x05hello",
    };
    let frame = Frame { call: 1, stream: 2, sequence: 3, end: End::Complete, credit: 65_536, data: b"data" };
    let failed = Outcome::Failed { code: 7, message: "it trapped" };
    let busy = Refused { call: 2, reason: Reason::Busy, message: "1000 calls wait" };
    vec![
        (Kind::Request, true, request.encode().unwrap()),
        (
            Kind::Reply,
            false,
            Reply { call: 1, outcome: Outcome::Value { streams: 2, value: b"\x05hello" } }.encode(),
        ),
        (Kind::Reply, false, Reply { call: 1, outcome: failed }.encode()),
        (Kind::Frame, true, frame.encode().unwrap()),
        (Kind::Ping, true, Ping { token: 258 }.encode()),
        (Kind::Pong, false, Ping { token: 258 }.encode()),
        (Kind::Cancel, true, Cancel { call: 1 }.encode()),
        (Kind::Refusal, false, busy.encode()),
    ]
}

fn compute() -> Value {
    let Members { issuers, revoked, caller, target, tokens, .. } = members();
    let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };
    let (caller_private, nonce) = (counting::<32>(0x40), counting::<32>(0x60));
    let (target_private, session) = (counting::<32>(0x80), counting::<16>(0xa0));
    let (at_caller, at_target) = (Monotonic::from_millis(1_000), Monotonic::from_millis(700_000));

    let address = Address { member: target.member().key().to_owned(), instance: target.instance() };
    let initiator =
        Initiator::start(&caller, address.clone(), at_caller, WALL, &fixed(&[&caller_private, &nonce]))
            .unwrap();
    let offer = initiator.offer().to_vec();
    let mut responder = Responder::new(Limits::default());
    let answer = responder
        .accept(&target, &trust, &offer, at_target, WALL, &fixed(&[&target_private, &session]))
        .unwrap();
    let Response::Answer(read) = initiator.read(&answer, &trust, at_caller.plus(40), WALL).unwrap() else {
        panic!("refused")
    };
    let near = initiator.finish(read).unwrap();
    let secrets = secrets(&caller_private, &offer, &answer);

    let mut far: Option<Session> = None;
    let mut sealed = Vec::new();
    for (kind, to_target, plaintext) in messages() {
        let content = hex(plaintext.as_bytes());
        // 60 ms after the answer on each side.
        let (sealer, key, sealed_at) = if to_target {
            (&near, &secrets["caller_to_target"], at_caller.plus(100))
        } else {
            (far.as_ref().unwrap(), &secrets["target_to_caller"], at_target.plus(60))
        };
        let message = sealer.seal(kind, plaintext, sealed_at).unwrap();
        let inside = open_by_hand(key, &message);
        assert_eq!(inside[..4], 60u32.to_be_bytes());
        assert_eq!(hex(&inside[4..]), content);
        sealed.push(json!({
            "kind": kind.to_string(), "direction": if to_target { "caller to target" } else { "target to caller" },
            "plaintext": content, "sealed_at": 60, "message": hex(&message),
        }));
        let mut arrived = message;
        if !to_target {
            near.open(&mut arrived, at_caller.plus(100), 1000).unwrap();
        } else if let Some(far) = &far {
            far.open(&mut arrived, at_target.plus(100), 1000).unwrap();
        } else {
            far = Some(responder.confirm(&mut arrived, at_target.plus(100), 1000).unwrap().0);
        }
    }

    let refused = unhex(&sealed[0]["message"]);
    let reason = Error::UnknownSession { session: near.id() };
    let refusal = Refusal::sign(&target, &refused, &reason, WALL);
    Refusal::verify(&refusal, &refused, &address).unwrap();
    json!({
        "certificates": tokens,
        "handshake": {
            "caller_instance": caller.instance().to_string(), "target_instance": target.instance().to_string(),
            "caller_private_key": hex(&caller_private), "nonce": hex(&nonce), "offer": hex(&offer),
            "target_private_key": hex(&target_private), "session": hex(&session), "answer": hex(&answer),
            "secrets": secrets,
        },
        "messages": sealed,
        "unknown_session": { "of": "messages[0].message", "refusal": hex(&refusal) },
    })
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let computed = compute();
    if std::env::var_os("WATTLE_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(computed, written);
}

#[test]
fn the_revocation_revokes() {
    let Members { cluster, issuers, tokens, .. } = members();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    assert_eq!(cluster.public_key(), tokens["keys"]["cluster"]);
    let revocation = Revocation::verify(&text("revocation"), &issuers, LATTICE).unwrap();
    let revoked = revocation.revoked.into_iter().collect();
    let refused = verify_chain(&[text("client")], &issuers, LATTICE, WALL.as_secs(), &revoked);
    assert!(matches!(refused, Err(wattle_identity::Error::Revoked { id, .. }) if id == "CLIENT"));
}
