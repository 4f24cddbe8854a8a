//! Certificates that don't hold what they say, or say what they must not.

use serde_json::json;
use wattle_identity::{Grant, Ids, KeyKind, KeyPair};

use crate::kit::{Arena, Insider, Offer, host_grant, json_certificate, wall};

const DAY: u64 = 24 * 60 * 60;

/// An offer with this chain is refused with this code, and one with that of `good` is answered; both are signed by the
/// member that they name.
async fn assert_refused(arena: &mut Arena, good: &Insider, bad: &Insider, code: u16) {
    let offer = |insider| Offer::new(insider, arena.lattice(), &arena.target).packet();
    let (good, bad) = (offer(good), offer(bad));
    arena.assert_offer_taken(&good).await;
    arena.assert_offer_refused(&bad, code).await;
    arena.assert_lives().await;
}

/// A host's key and a certificate that a cluster key signed, which says whatever it says.
fn host(arena: &Arena, edit: impl FnOnce(&mut wattle_identity::Certificate)) -> Insider {
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    Insider::edited(key, &arena.cluster, Grant::host(arena.lattice()), edit)
}

#[tokio::test]
async fn attack_certificate_of_an_unknown_issuer() {
    let mut arena = Arena::start().await;
    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let good = arena.host_by_certificate();
    let bad = Insider::with_key(good.key.clone(), &stranger, Grant::host(arena.lattice()));
    assert_refused(&mut arena, &good, &bad, 126).await;
}

#[tokio::test]
async fn attack_certificate_of_an_unknown_issuer_that_names_the_good_one() {
    let mut arena = Arena::start().await;
    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let good = arena.host_by_certificate();
    let now = wall().as_secs();
    let statements = json!({
        "exp": now + DAY, "iat": now, "nbf": now, "iss": arena.cluster.public_key(), "jti": "FORGED",
        "sub": good.key.public_key(),
        "member": { "role": "host", "lattice": arena.lattice(), "answers_for": "all", "speaks_for": "all" },
    });
    let control = Insider { chain: vec![json_certificate(&statements, &arena.cluster)], ..good.clone() };
    let bad = Insider { chain: vec![json_certificate(&statements, &stranger)], ..good };
    assert_refused(&mut arena, &control, &bad, 138).await;
}

#[tokio::test]
async fn attack_certificate_that_expired() {
    let mut arena = Arena::start().await;
    let now = wall().as_secs();
    // The tolerance of a minute is the control.
    let good = host(&arena, |certificate| {
        (certificate.not_before, certificate.expires) = (now - DAY, now - 5);
    });
    let bad = host(&arena, |certificate| {
        (certificate.not_before, certificate.expires) = (now - DAY, now - 61);
    });
    assert_refused(&mut arena, &good, &bad, 135).await;
}

#[tokio::test]
async fn attack_certificate_that_is_not_yet_valid() {
    let mut arena = Arena::start().await;
    let now = wall().as_secs();
    let good = host(&arena, |certificate| certificate.not_before = now + 30);
    let bad = host(&arena, |certificate| certificate.not_before = now + 300);
    assert_refused(&mut arena, &good, &bad, 136).await;
}

#[tokio::test]
async fn attack_certificate_for_another_lattice() {
    let mut arena = Arena::start().await;
    let good = arena.host_by_certificate();
    let bad = Insider::with_key(good.key.clone(), &arena.cluster, Grant::host("elsewhere"));
    assert_refused(&mut arena, &good, &bad, 131).await;
}

#[tokio::test]
async fn attack_certificate_that_exceeds_its_issuers() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let issuer = arena.insider(host_grant(&lattice, &["kv", "db"], &["kv"]));
    let good = Insider::provider(&issuer, Grant::provider(&lattice, "kv"), |_| {});
    for grant in [
        Grant::provider(&lattice, "hello"),
        // The host may answer for it, but not speak for it.
        Grant::provider(&lattice, "db"),
        Grant { answers_for: Ids::only(["kv", "hello"]), ..Grant::provider(&lattice, "kv") },
    ] {
        let bad = Insider::provider(&issuer, grant, |_| {});
        assert_refused(&mut arena, &good, &bad, 132).await;
    }
}

#[tokio::test]
async fn attack_certificate_that_outlives_its_issuers() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let now = wall().as_secs();
    let issuer = host(&arena, |certificate| certificate.expires = now + DAY);
    let grant = Grant::provider(&lattice, "kv");
    let good = Insider::provider(&issuer, grant.clone(), |certificate| certificate.expires = now + DAY);
    let bad = Insider::provider(&issuer, grant, |certificate| certificate.expires = now + DAY + 1);
    assert_refused(&mut arena, &good, &bad, 133).await;
}

#[tokio::test]
async fn attack_chain_of_three() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let issuer = arena.host_by_certificate();
    let good = Insider::provider(&issuer, Grant::provider(&lattice, "kv"), |_| {});
    // One that the provider's process certified: no tool makes it, and nobody reads so far.
    let key = KeyPair::generate(KeyKind::User).unwrap();
    let now = wall().as_secs();
    let statements = json!({
        "exp": now + DAY, "iat": now, "nbf": now, "iss": good.key.public_key(), "jti": "THIRD",
        "sub": key.public_key(),
        "member": { "role": "provider", "lattice": lattice, "answers_for": ["kv"], "speaks_for": ["kv"] },
    });
    let mut chain = vec![json_certificate(&statements, &good.key)];
    chain.extend(good.chain.clone());
    let bad = Insider { key, chain, ..good.clone() };
    assert_refused(&mut arena, &good, &bad, 123).await;
    // Nor is it taken without the one in the middle, or without both above it.
    let without_middle = Insider { chain: vec![bad.chain[0].clone(), bad.chain[2].clone()], ..bad.clone() };
    assert_refused(&mut arena, &good, &without_middle, 127).await;
    let alone = Insider { chain: vec![bad.chain[0].clone()], ..bad };
    assert_refused(&mut arena, &good, &alone, 127).await;
}

#[tokio::test]
async fn attack_chain_with_a_certificate_missing_or_swapped() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let (issuer, other) = (arena.host_by_certificate(), arena.host_by_certificate());
    let good = Insider::provider(&issuer, Grant::provider(&lattice, "kv"), |_| {});
    let own = good.chain[0].clone();
    for (chain, code) in [(vec![], 122), (vec![own.clone()], 124), (vec![own, other.chain[0].clone()], 125)] {
        let bad = Insider { chain, ..good.clone() };
        assert_refused(&mut arena, &good, &bad, code).await;
    }
}

#[tokio::test]
async fn attack_certificate_of_an_issuer_that_may_not_issue_it() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let issuer = arena.host_by_certificate();
    let good = Insider::provider(&issuer, Grant::provider(&lattice, "kv"), |_| {});
    let now = wall().as_secs();
    let certificate = |issuer: &KeyPair, subject: &KeyPair, member: serde_json::Value| {
        let statements = json!({
            "exp": now + DAY, "iat": now, "nbf": now, "iss": issuer.public_key(), "jti": "NEW",
            "sub": subject.public_key(), "member": member,
        });
        json_certificate(&statements, issuer)
    };
    let everything = json!({ "role": "host", "lattice": lattice, "answers_for": "all", "speaks_for": "all" });
    let client = json!({ "role": "client", "lattice": lattice, "may_call": ["hello"] });
    let cluster = arena.cluster.clone();
    let (host, user) = (KeyPair::generate(KeyKind::Host).unwrap(), KeyPair::generate(KeyKind::User).unwrap());
    for (issued_by, key, member, code) in [
        // A host makes another host, or a client.
        (&issuer.key, &host, &everything, 128),
        (&issuer.key, &user, &client, 128),
        // A client makes itself a host, a host with a client's key, a client with a host's.
        (&user, &host, &everything, 127),
        (&cluster, &user, &everything, 129),
        (&cluster, &host, &client, 129),
    ] {
        let mut chain = vec![certificate(issued_by, key, member.clone())];
        if issued_by.public_key() == issuer.key.public_key() {
            chain.extend(issuer.chain.clone());
        }
        let bad = Insider { key: key.clone(), chain, ..good.clone() };
        assert_refused(&mut arena, &good, &bad, code).await;
    }
}

#[tokio::test]
async fn attack_certificate_with_what_its_role_cannot_have() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let now = wall().as_secs();
    let user = KeyPair::generate(KeyKind::User).unwrap();
    let insider = |arena: &Arena, member: serde_json::Value| {
        let statements = json!({
            "exp": now + DAY, "iat": now, "nbf": now, "iss": arena.cluster.public_key(), "jti": "NEW",
            "sub": user.public_key(), "member": member,
        });
        let chain = vec![json_certificate(&statements, &arena.cluster)];
        Insider { key: user.clone(), chain, ..arena.host_by_certificate() }
    };
    let good = insider(&arena, json!({ "role": "client", "lattice": lattice, "may_call": ["hello"] }));
    for (member, code) in [
        (json!({ "role": "client", "lattice": lattice, "speaks_for": ["front"] }), 130),
        (json!({ "role": "provider", "lattice": lattice, "answers_for": "all" }), 130),
        (json!({ "role": "provider", "lattice": lattice, "may_call": ["hello"] }), 130),
        // A restriction that this version does not know must not be passed over.
        (json!({ "role": "client", "lattice": lattice, "may_call": ["hello"], "only_on": "monday" }), 121),
        (json!({ "role": "king", "lattice": lattice }), 121),
        (json!({ "role": "client", "lattice": "a.b" }), 121),
    ] {
        let bad = insider(&arena, member);
        assert_refused(&mut arena, &good, &bad, code).await;
    }
}
