use std::collections::BTreeSet;

use super::*;
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: u64 = 1_790_000_000;
const LATTICE: &str = "default";

/// A cluster key, a host that it certified, and a provider that the host certified.
struct World {
    cluster: KeyPair,
    host: KeyPair,
    process: KeyPair,
    client: KeyPair,
}

fn world() -> World {
    let key = |kind| KeyPair::generate(kind).unwrap();
    World {
        cluster: key(KeyKind::Cluster),
        host: key(KeyKind::Host),
        process: key(KeyKind::User),
        client: key(KeyKind::User),
    }
}

impl World {
    fn issuers(&self) -> Vec<String> {
        vec![self.cluster.public_key()]
    }

    fn host_certificate(&self, grant: Grant) -> Certificate {
        Certificate::new(&self.cluster, &self.host.public_key(), grant, NOW).unwrap()
    }

    fn host_token(&self) -> String {
        self.host_certificate(Grant::host(LATTICE)).encode(&self.cluster).unwrap()
    }

    /// A certificate for the process, signed by the host, as it is before it is signed.
    fn process_certificate(&self, id: &str) -> Certificate {
        let grant = Grant::provider(LATTICE, id);
        Certificate::new(&self.host, &self.process.public_key(), grant, NOW).unwrap()
    }

    fn process_token(&self, id: &str) -> String {
        self.process_certificate(id).encode(&self.host).unwrap()
    }

    fn client_certificate(&self, may_call: Ids) -> Certificate {
        let grant = Grant::client(LATTICE, may_call);
        Certificate::new(&self.cluster, &self.client.public_key(), grant, NOW).unwrap()
    }

    fn verify(&self, chain: &[&str]) -> Result<Member, Error> {
        self.verify_at(chain, NOW)
    }

    fn verify_at(&self, chain: &[&str], now: u64) -> Result<Member, Error> {
        verify_chain(chain, &self.issuers(), LATTICE, now, &BTreeSet::new())
    }
}

fn parts(token: &str) -> Vec<Vec<u8>> {
    token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).collect()
}

fn body(token: &str) -> Value {
    serde_json::from_slice(&parts(token)[1]).unwrap()
}

/// Signs any JSON like a good certificate, past the checks that `encode` makes.
fn sign_raw(body: &Value, issuer: &KeyPair) -> String {
    token::encode(body, issuer).unwrap()
}

#[test]
fn a_host_certificate_has_the_documented_fields() {
    let world = world();
    let certificate = world.host_certificate(Grant::host(LATTICE));
    let token = certificate.encode(&world.cluster).unwrap();
    assert_eq!(parts(&token)[0], br#"{"typ":"jwt","alg":"Ed25519"}"#);
    assert_eq!(
        body(&token),
        json!({
            "exp": NOW + 30 * 86_400, "iat": NOW, "nbf": NOW, "jti": certificate.id,
            "iss": world.cluster.public_key(), "sub": world.host.public_key(),
            "member": { "role": "host", "lattice": "default", "answers_for": "all", "speaks_for": "all" },
        })
    );
    let member = world.verify(&[&token]).unwrap();
    assert_eq!(member.key(), world.host.public_key());
    assert_eq!((member.role(), member.lattice(), member.host()), (Role::Host, LATTICE, None));
    assert_eq!(member.cluster_issuer(), world.cluster.public_key());
    assert_eq!(member.expires(), NOW + DEFAULT_LIFE);
    assert_eq!(member.certificate(), &certificate);
    assert!(member.may_answer_for("echo") && member.may_speak_for("echo") && member.may_call("echo"));
    assert!(!member.may_spy("echo"));
    assert_eq!(certificate.renew_at(), NOW + 20 * 86_400);
}

#[test]
fn an_edge_host_can_be_limited() {
    let world = world();
    let grant =
        Grant { answers_for: Ids::only(["a", "b"]), speaks_for: Ids::only(["b"]), ..Grant::host(LATTICE) };
    let token = world.host_certificate(grant).encode(&world.cluster).unwrap();
    assert_eq!(body(&token)["member"]["answers_for"], json!(["a", "b"]));
    let member = world.verify(&[&token]).unwrap();
    assert!(member.may_answer_for("a") && !member.may_answer_for("c"));
    assert!(member.may_speak_for("b") && !member.may_speak_for("a"));
    assert!(member.may_speak_for(&world.host.public_key()));
}

#[test]
fn a_client_calls_what_its_certificate_lists() {
    let world = world();
    let mut certificate = world.client_certificate(Ids::only(["echo"]));
    certificate.grant.may_spy = Ids::only(["kv"]);
    let token = certificate.encode(&world.cluster).unwrap();
    let member = world.verify(&[&token]).unwrap();
    assert!(member.may_call("echo") && !member.may_call("kv"));
    assert!(member.may_spy("kv") && !member.may_spy("echo"));
    assert!(!member.may_answer_for("echo") && !member.may_speak_for("echo"));
    assert!(member.may_speak_for(&world.client.public_key()));
}

#[test]
fn a_host_certifies_its_providers() {
    let world = world();
    let host_token = world.host_token();
    let host = world.verify(&[&host_token]).unwrap();
    let archive = KeyPair::generate(KeyKind::Provider).unwrap().public_key();
    let grant = Grant { artifact: Some(archive.clone()), ..Grant::provider(LATTICE, "kv") };
    // Late in the host's life, so that 30 days would be too long.
    let now = NOW + 86_400;
    let token = host.certify_provider(&world.host, &world.process.public_key(), grant, now).unwrap();
    let member = world.verify_at(&[&token, &host_token], now).unwrap();
    assert_eq!(member.key(), world.process.public_key());
    assert_eq!(member.host(), Some(world.host.public_key().as_str()));
    assert_eq!(member.cluster_issuer(), world.cluster.public_key());
    assert_eq!(member.expires(), host.expires());
    assert_eq!(member.certificate().grant.artifact.as_ref(), Some(&archive));
    assert!(member.may_answer_for("kv") && member.may_speak_for("kv") && member.may_call("echo"));
    assert!(!member.may_answer_for("echo") && !member.may_speak_for("echo"));
}

#[test]
fn only_a_host_certifies_with_its_own_key_and_within_its_limits() {
    let world = world();
    let grant =
        Grant { answers_for: Ids::only(["kv", "db"]), speaks_for: Ids::only(["kv"]), ..Grant::host(LATTICE) };
    let host = world.host_certificate(grant).encode(&world.cluster).unwrap();
    let host = world.verify(&[&host]).unwrap();
    let process = world.process.public_key();
    let certify = |key, grant, now| host.certify_provider(key, &process, grant, now).unwrap_err();
    let other = KeyPair::generate(KeyKind::Host).unwrap();
    assert!(matches!(certify(&other, Grant::provider(LATTICE, "kv"), NOW), Error::CannotCertify { .. }));
    assert!(matches!(certify(&world.host, Grant::provider("b", "kv"), NOW), Error::WrongLattice { .. }));
    for (id, expected) in [("echo", "answer for"), ("db", "speak for")] {
        let error = certify(&world.host, Grant::provider(LATTICE, id), NOW);
        assert!(matches!(&error, Error::ExceedsIssuer { verb, .. } if *verb == expected), "{error:?}");
    }
    let late = certify(&world.host, Grant::provider(LATTICE, "kv"), host.expires());
    assert!(matches!(late, Error::NeverValid { .. }));

    let client = world.client_certificate(Ids::All).encode(&world.cluster).unwrap();
    let client = world.verify(&[&client]).unwrap();
    let refused = client.certify_provider(&world.client, &process, Grant::provider(LATTICE, "kv"), NOW);
    assert!(matches!(refused, Err(Error::CannotCertify { .. })));
}

#[test]
fn each_bad_chain_has_its_error() {
    let world = world();
    let host = world.host_token();
    let process = world.process_token("kv");
    world.verify(&[&process, &host]).unwrap();

    assert!(matches!(world.verify(&[]), Err(Error::EmptyChain)));
    assert!(matches!(world.verify(&[&process, &host, &host]), Err(Error::ChainTooLong { found: 3 })));
    assert!(matches!(world.verify(&[&process]), Err(Error::MissingIssuer { .. })));
    assert!(matches!(world.verify(&[&host, &host]), Err(Error::BrokenChain { .. })));
    assert!(matches!(world.verify(&[&host, &process]), Err(Error::BrokenChain { .. })));

    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let mut by_stranger = world.host_certificate(Grant::host(LATTICE));
    by_stranger.issuer = stranger.public_key();
    let by_stranger = by_stranger.encode(&stranger).unwrap();
    let refused = world.verify(&[&by_stranger]).unwrap_err();
    assert!(matches!(&refused, Error::UntrustedIssuer { issuer } if *issuer == stranger.public_key()));
    assert!(matches!(world.verify(&[&process, &by_stranger]), Err(Error::UntrustedIssuer { .. })));

    // In the name of the trusted issuer, but signed by another key.
    let forged = sign_raw(&body(&host), &stranger);
    assert!(matches!(world.verify(&[&forged]), Err(Error::BadSignature { .. })));
    assert!(matches!(world.verify(&[&process, &forged]), Err(Error::BadSignature { .. })));
    let forged = sign_raw(&body(&process), &world.process);
    assert!(matches!(world.verify(&[&forged, &host]), Err(Error::BadSignature { .. })));

    let elsewhere = world.host_certificate(Grant::host("other")).encode(&world.cluster).unwrap();
    for chain in [&[elsewhere.as_str()][..], &[&process, &elsewhere]] {
        let refused = world.verify(chain).unwrap_err();
        assert!(matches!(&refused, Error::WrongLattice { found, .. } if found == "other"), "{refused:?}");
    }
}

#[test]
fn a_delegated_certificate_stays_within_its_issuers() {
    let world = world();
    let limited =
        Grant { answers_for: Ids::only(["kv", "db"]), speaks_for: Ids::only(["kv"]), ..Grant::host(LATTICE) };
    let limited = world.host_certificate(limited).encode(&world.cluster).unwrap();
    world.verify(&[&world.process_token("kv"), &limited]).unwrap();
    for id in ["echo", "db"] {
        let refused = world.verify(&[&world.process_token(id), &limited]).unwrap_err();
        assert!(matches!(&refused, Error::ExceedsIssuer { id: named, .. } if named == id), "{refused:?}");
    }

    let mut longer = world.process_certificate("kv");
    longer.expires += 1;
    let longer = longer.encode(&world.host).unwrap();
    let refused = world.verify(&[&longer, &world.host_token()]).unwrap_err();
    assert!(matches!(refused, Error::OutlivesIssuer { .. }), "{refused:?}");
}

#[test]
fn neither_a_provider_nor_a_client_certifies_others() {
    let world = world();
    // A provider's key is a user key, so a certificate by it is refused for its kind already; likewise a client's.
    let mut below = world.process_certificate("kv");
    below.issuer = world.client.public_key();
    assert!(matches!(below.encode(&world.client), Err(Error::WrongCertificateIssuer { .. })));
    let below = sign_raw(&serde_json::to_value(&below).unwrap(), &world.client);
    let client = world.client_certificate(Ids::All).encode(&world.cluster).unwrap();
    assert!(matches!(world.verify(&[&below, &client]), Err(Error::WrongCertificateIssuer { .. })));

    // A host certifies neither hosts nor clients, and so there is no chain of three.
    for (grant, subject) in
        [(Grant::host(LATTICE), &world.host), (Grant::client(LATTICE, Ids::All), &world.client)]
    {
        let other = KeyPair::generate(KeyKind::Host).unwrap();
        let certificate = Certificate::new(&other, &subject.public_key(), grant, NOW).unwrap();
        assert!(matches!(certificate.encode(&other), Err(Error::NotDelegable { .. })));
        let token = sign_raw(&serde_json::to_value(&certificate).unwrap(), &other);
        assert!(matches!(world.verify(&[&token, &world.host_token()]), Err(Error::NotDelegable { .. })));
    }
}

#[test]
fn a_host_whose_issuer_is_a_host_cannot_certify() {
    let world = world();
    let upper = KeyPair::generate(KeyKind::Host).unwrap();
    // Signed past the checks of `encode`: a host that claims to be certified as a provider by another host.
    let mut middle = serde_json::to_value(world.host_certificate(Grant::host(LATTICE))).unwrap();
    middle["iss"] = upper.public_key().into();
    let middle = sign_raw(&middle, &upper);
    let refused = world.verify(&[&world.process_token("kv"), &middle]);
    assert!(matches!(refused, Err(Error::NotDelegable { role: Role::Host, .. })), "{refused:?}");
}

#[test]
fn times_are_checked_with_a_minute_of_tolerance() {
    let world = world();
    let mut certificate = world.host_certificate(Grant::host(LATTICE));
    certificate.expires = NOW + 1000;
    let token = certificate.encode(&world.cluster).unwrap();
    let at = |now| world.verify_at(&[&token], now);
    at(NOW - 60).unwrap();
    at(NOW + 1059).unwrap();
    let early = at(NOW - 61).unwrap_err();
    assert!(matches!(early, Error::CertificateNotYetValid { .. }));
    let late = at(NOW + 1060).unwrap_err();
    assert!(matches!(late, Error::CertificateExpired { .. }));
    for (error, times) in [(early, [NOW, NOW - 61]), (late, [NOW + 1000, NOW + 1060])] {
        let message = error.to_string();
        assert!(times.iter().all(|time| message.contains(&time.to_string())), "{message}");
    }
    // The host's time counts for its providers, too.
    let mut process = world.process_certificate("kv");
    process.expires = NOW + 1000;
    let process = process.encode(&world.host).unwrap();
    let refused = world.verify_at(&[&process, &token], NOW + 1060).unwrap_err();
    assert!(matches!(refused, Error::CertificateExpired { .. }));
}

#[test]
fn a_file_holds_one_certificate_or_two() {
    let world = world();
    let (host, process) = (world.host_token(), world.process_token("p"));
    assert_eq!(read_chain(&format!("\n  {host}\r\n\n")).unwrap(), [host.as_str()]);
    assert_eq!(read_chain(&format!("{process}\n{host}")).unwrap(), [process.as_str(), host.as_str()]);
    assert!(matches!(read_chain(" \n\n"), Err(Error::EmptyChain)));
    assert!(matches!(read_chain(&format!("{host}\n").repeat(3)), Err(Error::ChainTooLong { found: 3 })));
    assert!(matches!(read_chain(&format!("{host}\nnone")), Err(Error::MalformedCertificate { .. })));
}

#[test]
fn a_revoked_certificate_takes_along_what_its_holder_signed() {
    let world = world();
    let certificate = world.host_certificate(Grant::host(LATTICE));
    let host = certificate.encode(&world.cluster).unwrap();
    let process = world.process_token("kv");
    let other = Revocation::new(&world.cluster, LATTICE, vec!["ANOTHER".into()], NOW).unwrap();
    let revocation = Revocation::new(&world.cluster, LATTICE, vec![certificate.id.clone()], NOW).unwrap();
    let token = revocation.encode(&world.cluster).unwrap();
    let read = Revocation::verify(&token, &world.issuers(), LATTICE).unwrap();
    assert_eq!(read, revocation);

    let member = world.verify(&[&process, &host]).unwrap();
    let harmless: BTreeSet<_> = other.revoked.into_iter().collect();
    member.check(&world.issuers(), NOW, &harmless).unwrap();
    let revoked: BTreeSet<_> = read.revoked.into_iter().collect();
    for chain in [&[host.as_str()][..], &[&process, &host]] {
        let refused = verify_chain(chain, &world.issuers(), LATTICE, NOW, &revoked);
        assert!(matches!(refused, Err(Error::Revoked { id, .. }) if id == certificate.id));
    }
    assert!(matches!(member.check(&world.issuers(), NOW, &revoked), Err(Error::Revoked { .. })));
    assert!(matches!(member.check(&[], NOW, &harmless), Err(Error::UntrustedIssuer { .. })));
    let late = NOW + DEFAULT_LIFE + CLOCK_TOLERANCE;
    assert!(matches!(member.check(&world.issuers(), late, &harmless), Err(Error::CertificateExpired { .. })));
}

#[test]
fn each_bad_revocation_has_its_error() {
    let world = world();
    let good = Revocation::new(&world.cluster, LATTICE, vec!["A".into()], NOW).unwrap();
    let token = good.encode(&world.cluster).unwrap();
    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let verify = |token: &str| Revocation::verify(token, &world.issuers(), LATTICE).unwrap_err();

    assert!(matches!(good.encode(&stranger), Err(Error::IssuerMismatch { .. })));
    let by_host = Revocation::new(&world.host, LATTICE, vec![], NOW).unwrap();
    assert!(matches!(by_host.encode(&world.host), Err(Error::WrongCertificateIssuer { .. })));
    let by_host = sign_raw(&serde_json::to_value(by_host).unwrap(), &world.host);
    assert!(matches!(verify(&by_host), Error::WrongCertificateIssuer { .. }));
    assert!(matches!(verify(&sign_raw(&body(&token), &stranger)), Error::BadSignature { .. }));
    let by_stranger = Revocation::new(&stranger, LATTICE, vec![], NOW).unwrap().encode(&stranger).unwrap();
    assert!(matches!(verify(&by_stranger), Error::UntrustedIssuer { .. }));
    let elsewhere = Revocation::new(&world.cluster, "other", vec![], NOW).unwrap();
    assert!(matches!(verify(&elsewhere.encode(&world.cluster).unwrap()), Error::WrongLattice { .. }));
    // A certificate is no revocation, nor the other way round, though the same key signs both.
    assert!(matches!(verify(&world.host_token()), Error::MalformedRevocation { .. }));
    assert!(matches!(world.verify(&[&token]), Err(Error::MalformedCertificate { .. })));
    assert!(matches!(verify(&"x".repeat(MAX_REVOCATION_LEN + 1)), Error::MalformedRevocation { .. }));

    let full = Revocation { revoked: vec![random_id().unwrap(); MAX_REVOKED], ..good.clone() };
    let full = full.encode(&world.cluster).unwrap();
    Revocation::verify(&full, &world.issuers(), LATTICE).unwrap();
    for revoked in [vec!["A".into(); MAX_REVOKED + 1], vec!["a.b".into()]] {
        let bad = Revocation { revoked, ..good.clone() };
        assert!(matches!(bad.encode(&world.cluster), Err(Error::MalformedRevocation { .. })));
    }
}

#[test]
fn what_a_role_cannot_have_is_refused_on_both_sides() {
    let world = world();
    let archive = KeyPair::generate(KeyKind::Provider).unwrap().public_key();
    let host = Grant::host(LATTICE);
    let provider = Grant::provider(LATTICE, "kv");
    let client = Grant::client(LATTICE, Ids::All);
    let wrong_grants = [
        (&world.host, Grant { may_call: Ids::only(["a"]), ..host.clone() }),
        (&world.host, Grant { may_spy: Ids::All, ..host.clone() }),
        (&world.host, Grant { artifact: Some(archive.clone()), ..host.clone() }),
        (&world.process, Grant { answers_for: Ids::All, ..provider.clone() }),
        (&world.process, Grant { speaks_for: Ids::All, ..provider.clone() }),
        (&world.process, Grant { may_call: Ids::All, ..provider.clone() }),
        (&world.client, Grant { answers_for: Ids::only(["a"]), ..client.clone() }),
        (&world.client, Grant { speaks_for: Ids::only(["a"]), ..client.clone() }),
        (&world.client, Grant { artifact: Some(archive), ..client.clone() }),
    ];
    for (subject, grant) in wrong_grants {
        let certificate = Certificate::new(&world.cluster, &subject.public_key(), grant, NOW).unwrap();
        assert!(
            matches!(certificate.encode(&world.cluster), Err(Error::WrongGrant { .. })),
            "{certificate:?}"
        );
        let token = sign_raw(&serde_json::to_value(&certificate).unwrap(), &world.cluster);
        assert!(matches!(world.verify(&[&token]), Err(Error::WrongGrant { .. })));
    }
    for (subject, grant) in [(&world.process, host), (&world.host, provider), (&world.cluster, client)] {
        let certificate = Certificate::new(&world.cluster, &subject.public_key(), grant, NOW).unwrap();
        assert!(matches!(certificate.encode(&world.cluster), Err(Error::WrongMemberKey { .. })));
        let token = sign_raw(&serde_json::to_value(&certificate).unwrap(), &world.cluster);
        assert!(matches!(world.verify(&[&token]), Err(Error::WrongMemberKey { .. })));
    }
}

#[test]
fn malformed_certificates_are_explained() {
    let world = world();
    let good = body(&world.host_token());
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        match path.strip_prefix("member.") {
            Some(field) => body["member"][field] = value,
            None => body[path] = value,
        }
        sign_raw(&body, &world.cluster)
    };
    let mut deep = json!("x");
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let ids = |count: usize| json!((0..count).map(|n| format!("id{n}")).collect::<Vec<_>>());
    world.verify(&[&with("member.answers_for", ids(MAX_IDS))]).unwrap();
    for (token, reason) in [
        (String::new(), "three parts"),
        ("x".repeat(MAX_CERTIFICATE_LEN + 1), "more than 8192"),
        (with("extra", json!(1)), "unknown field `extra`"),
        (with("member.only_on_mondays", json!(true)), "unknown field `only_on_mondays`"),
        (with("member.role", json!("king")), "unknown variant"),
        (with("member.answers_for", json!("some")), "expected `all`"),
        (with("member.answers_for", json!(["a", "a"])), "twice"),
        (with("member.answers_for", json!(["a", "b.c"])), "`b.c`"),
        (with("member.answers_for", json!([deep])), "its claims"),
        (with("member.answers_for", ids(MAX_IDS + 1)), "more than 128"),
        (with("member.lattice", json!("a.b")), "its lattice `a.b`"),
        (with("member.lattice", json!("")), "its lattice"),
        (with("jti", json!("")), "its id"),
        (with("jti", json!("A".repeat(201))), "its id"),
        (with("exp", json!(-1)), "its claims"),
        (with("exp", Value::Null), "its claims"),
        (with("nbf", json!(1.5)), "its claims"),
    ] {
        let error = world.verify(&[&token]).unwrap_err();
        assert!(matches!(error, Error::MalformedCertificate { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let provider = Grant { artifact: Some(world.host.public_key()), ..Grant::provider(LATTICE, "kv") };
    let provider = Certificate::new(&world.cluster, &world.process.public_key(), provider, NOW).unwrap();
    assert!(matches!(provider.encode(&world.cluster), Err(Error::MalformedCertificate { .. })));
    let mut backwards = world.host_certificate(Grant::host(LATTICE));
    backwards.expires = backwards.not_before;
    assert!(matches!(backwards.encode(&world.cluster), Err(Error::NeverValid { .. })));
    let other = KeyPair::generate(KeyKind::Cluster).unwrap();
    assert!(matches!(backwards.encode(&other), Err(Error::IssuerMismatch { .. })));
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    let world = world();
    let host = world.host_token();
    let process = world.process_token("kv");
    let read = |bytes: &[u8], position: usize| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let chain = if position == 0 { [text, &host] } else { [&process, text] };
        let outcome = world.verify(&chain);
        assert!(outcome.is_err(), "accepted: {text}");
    };
    for (position, token) in [&process, &host].into_iter().enumerate() {
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            for bit in 0..8 {
                bytes[place] ^= 1 << bit;
                read(&bytes, position);
                bytes[place] ^= 1 << bit;
            }
            read(&bytes[..place], position);
        }
        read(format!("{token}A").as_bytes(), position);
    }
    world.verify(&[&process, &host]).unwrap();
}

fn ids() -> impl Strategy<Value = Ids> {
    prop_oneof![
        Just(Ids::All),
        proptest::collection::btree_set("[a-zA-Z0-9_-]{1,20}", 0..8).prop_map(Ids::Only)
    ]
}

proptest! {
    #[test]
    fn a_hosts_certificate_survives_the_token(
        answers_for in ids(), speaks_for in ids(), life in 1..u64::from(u32::MAX), id in "[a-zA-Z0-9_-]{1,20}",
    ) {
        let world = world();
        let grant = Grant { answers_for, speaks_for, ..Grant::host(LATTICE) };
        let mut certificate = world.host_certificate(grant.clone());
        certificate.expires = NOW + life;
        let token = certificate.encode(&world.cluster).unwrap();
        prop_assert_eq!(&Certificate::decode_unverified(&token).unwrap(), &certificate);
        let member = world.verify(&[&token]).unwrap();
        prop_assert_eq!(member.certificate(), &certificate);
        prop_assert_eq!(member.may_answer_for(&id), grant.answers_for.contains(&id));
        prop_assert_eq!(member.may_speak_for(&id), grant.speaks_for.contains(&id));
    }

    #[test]
    fn a_provider_can_never_do_more_than_its_host(
        host_answers in ids(), host_speaks in ids(), answers_for in ids(), speaks_for in ids(),
    ) {
        let world = world();
        let host = Grant { answers_for: host_answers.clone(), speaks_for: host_speaks.clone(), ..Grant::host(LATTICE) };
        let host = world.host_certificate(host).encode(&world.cluster).unwrap();
        let mut process = world.process_certificate("kv");
        process.grant.answers_for = answers_for.clone();
        process.grant.speaks_for = speaks_for.clone();
        let token = sign_raw(&serde_json::to_value(&process).unwrap(), &world.host);
        let within = |ids: &Ids, limit: &Ids| match ids {
            Ids::All => false,
            Ids::Only(ids) => ids.iter().all(|id| limit.contains(id)),
        };
        let allowed = within(&answers_for, &host_answers)
            && within(&speaks_for, &host_answers)
            && within(&speaks_for, &host_speaks);
        let outcome = world.verify(&[&token, &host]);
        prop_assert_eq!(outcome.is_ok(), allowed, "{:?}", outcome);
    }

    #[test]
    fn any_text_is_read_without_panic(text in ".*", parts in proptest::collection::vec("[A-Za-z0-9_-]*", 3)) {
        for text in [text, parts.join(".")] {
            prop_assert!(Certificate::decode_unverified(&text).is_err());
            prop_assert!(Revocation::verify(&text, &[], LATTICE).is_err());
        }
    }

    #[test]
    fn any_signed_bytes_are_read_without_panic(body: Vec<u8>) {
        let world = world();
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"jwt","alg":"Ed25519"}"#);
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(&body));
        let signature = BASE64URL_NOPAD.encode(&world.cluster.sign(signed.as_bytes()));
        let token = format!("{signed}.{signature}");
        prop_assert!(world.verify(&[&token]).is_err());
        prop_assert!(Revocation::verify(&token, &world.issuers(), LATTICE).is_err());
    }
}
