use std::collections::BTreeMap;

use super::*;
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: u64 = 1_790_000_000;

struct Keys {
    issuer: KeyPair,
    subject: KeyPair,
}

fn keys(subject: KeyKind) -> Keys {
    Keys {
        issuer: KeyPair::generate(KeyKind::Account).unwrap(),
        subject: KeyPair::generate(subject).unwrap(),
    }
}

fn component_claims(keys: &Keys) -> Claims<ComponentMetadata> {
    let metadata = ComponentMetadata { hash: "AB".repeat(32), ..ComponentMetadata::default() };
    Claims::new(&keys.issuer, &keys.subject.public_key(), metadata, NOW).unwrap()
}

/// A token with any header and claims, signed like a good one.
fn token_of(header: &Value, claims: &Value, issuer: &KeyPair) -> String {
    let signed = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.to_string().as_bytes()),
        BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
    );
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes())))
}

fn good_header() -> Value {
    json!({"typ": "jwt", "alg": "Ed25519"})
}

fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

#[test]
fn a_component_token_has_the_fields_of_the_format() {
    let keys = keys(KeyKind::Component);
    let mut claims = component_claims(&keys);
    claims.not_before = Some(NOW);
    claims.expires = Some(NOW + 60);
    claims.metadata = ComponentMetadata {
        name: Some("hello".into()),
        hash: "AB".repeat(32),
        tags: Some(vec!["a".into()]),
        revision: Some(7),
        version: Some("0.1.0".into()),
        call_alias: Some("hi".into()),
    };
    let (header, body) = parts(&claims.encode(&keys.issuer).unwrap());
    assert_eq!(header, good_header());
    assert_eq!(
        body,
        json!({
            "exp": NOW + 60, "nbf": NOW, "iat": NOW, "jti": claims.id,
            "iss": keys.issuer.public_key(), "sub": keys.subject.public_key(),
            "wascap_revision": 3,
            "wascap": {
                "name": "hello", "hash": "AB".repeat(32), "tags": ["a"], "rev": 7, "ver": "0.1.0",
                "call_alias": "hi", "prov": false,
            },
        })
    );
}

#[test]
fn a_provider_token_has_the_fields_of_the_format() {
    let keys = keys(KeyKind::Provider);
    let metadata = ProviderMetadata {
        name: Some("kv".into()),
        vendor: "acme".into(),
        revision: Some(1),
        version: Some("1.0".into()),
        target_hashes: BTreeMap::from([("x86_64-linux".to_owned(), "CD".repeat(32))]),
        config_schema: Some(json!({"type": "object"})),
    };
    let claims = Claims::new(&keys.issuer, &keys.subject.public_key(), metadata, NOW).unwrap();
    let (_, body) = parts(&claims.encode(&keys.issuer).unwrap());
    assert_eq!(
        body["wascap"],
        json!({
            "name": "kv", "vendor": "acme", "rev": 1, "ver": "1.0",
            "target_hashes": {"x86_64-linux": "CD".repeat(32)}, "config_schema": {"type": "object"},
        })
    );
    assert_eq!(body.get("exp"), None);
}

#[test]
fn every_token_has_its_own_id() {
    let keys = keys(KeyKind::Component);
    assert_ne!(component_claims(&keys).id, component_claims(&keys).id);
}

#[test]
fn times_are_checked_to_the_second() {
    let keys = keys(KeyKind::Component);
    let mut claims = component_claims(&keys);
    claims.not_before = Some(NOW);
    claims.expires = Some(NOW + 10);
    let token = claims.encode(&keys.issuer).unwrap();
    let at = |now| Claims::<ComponentMetadata>::decode_verified(&token, now);
    assert!(matches!(at(NOW - 1), Err(Error::NotYetValid { not_before: NOW, now }) if now == NOW - 1));
    assert_eq!(at(NOW).unwrap(), claims);
    assert_eq!(at(NOW + 9).unwrap(), claims);
    let error = at(NOW + 10).unwrap_err();
    assert!(matches!(error, Error::Expired { .. }));
    assert!(error.to_string().contains(&format!("expired at {0} and it is {0}", NOW + 10)), "{error}");
}

#[test]
fn signing_what_could_never_be_verified_is_refused() {
    let keys = keys(KeyKind::Component);
    let other = KeyPair::generate(KeyKind::Account).unwrap();
    let good = component_claims(&keys);
    assert!(matches!(good.encode(&other), Err(Error::IssuerMismatch { .. })));

    let mut backwards = good.clone();
    (backwards.not_before, backwards.expires) = (Some(NOW), Some(NOW));
    assert!(matches!(backwards.encode(&keys.issuer), Err(Error::NeverValid { .. })));

    let mut wrong_subject = good;
    wrong_subject.subject = other.public_key();
    assert!(matches!(wrong_subject.encode(&keys.issuer), Err(Error::WrongSubject { .. })));

    let user = KeyPair::generate(KeyKind::User).unwrap();
    let by_user = Claims::new(&user, &keys.subject.public_key(), ComponentMetadata::default(), NOW).unwrap();
    assert!(matches!(by_user.encode(&user), Err(Error::WrongIssuer { .. })));
}

#[test]
fn each_way_to_be_wrong_has_its_error() {
    let keys = keys(KeyKind::Component);
    let other = KeyPair::generate(KeyKind::Account).unwrap();
    let token = component_claims(&keys).encode(&keys.issuer).unwrap();
    let (header, claims) = parts(&token);
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        token_of(&header, &claims, &keys.issuer)
    };
    let check = |token: &str| Claims::<ComponentMetadata>::decode_verified(token, NOW).unwrap_err();

    let forged = token_of(&header, &claims, &other);
    assert!(
        matches!(check(&forged), Error::BadSignature { public_key } if public_key == keys.issuer.public_key())
    );
    assert!(matches!(check(&with("iss", other.public_key().into())), Error::BadSignature { .. }));
    assert!(matches!(check(&with("iss", keys.subject.public_key().into())), Error::WrongIssuer { .. }));
    assert!(matches!(check(&with("iss", "".into())), Error::WrongIssuer { .. }));
    assert!(matches!(check(&with("sub", "test.wasm".into())), Error::WrongSubject { .. }));
    assert!(matches!(
        check(&with("sub", other.public_key().into())),
        Error::WrongSubject { expected: KeyKind::Component, .. }
    ));

    let none = json!({"typ": "jwt", "alg": "none"});
    for (malformed, reason) in [
        ("".to_owned(), "three parts"),
        ("a.b".to_owned(), "three parts"),
        (format!("{token}.x"), "three parts"),
        (token_of(&none, &claims, &keys.issuer), "algorithm `none`"),
        (with("wascap", Value::Null), "its claims"),
        (with("wascap", json!({})), "hash"),
        (with("iat", "yesterday".into()), "its claims"),
        (token.replacen('.', "=.", 1), "its header"),
    ] {
        let error = check(&malformed);
        assert!(matches!(error, Error::MalformedToken { .. }), "{malformed}: {error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn unknown_fields_are_tolerated_and_old_tokens_have_no_revision() {
    let keys = keys(KeyKind::Component);
    let (header, mut claims) = parts(&component_claims(&keys).encode(&keys.issuer).unwrap());
    claims["aud"] = "anyone".into();
    claims["wascap"]["caps"] = json!(["wasmcloud:httpserver"]);
    claims.as_object_mut().unwrap().remove("wascap_revision");
    let token = token_of(&header, &claims, &keys.issuer);
    let read = Claims::<ComponentMetadata>::decode_verified(&token, NOW).unwrap();
    assert_eq!(read.format_revision, None);
}

fn component_metadata() -> impl Strategy<Value = ComponentMetadata> {
    use proptest::option::of;
    (
        of(".*"),
        "[0-9A-F]{64}",
        of(proptest::collection::vec(".*", 0..4)),
        of(any::<i32>()),
        of(".*"),
        of(".*"),
    )
        .prop_map(|(name, hash, tags, revision, version, call_alias)| ComponentMetadata {
            name,
            hash,
            tags,
            revision,
            version,
            call_alias,
        })
}

fn provider_metadata() -> impl Strategy<Value = ProviderMetadata> {
    use proptest::option::of;
    (of(".*"), ".*", of(any::<i32>()), of(".*"), proptest::collection::btree_map(".*", "[0-9A-F]{64}", 0..4))
        .prop_map(|(name, vendor, revision, version, target_hashes)| ProviderMetadata {
            name,
            vendor,
            revision,
            version,
            target_hashes,
            config_schema: Some(json!({"a": [1, null, {"b": "c"}]})),
        })
}

proptest! {
    #[test]
    fn component_claims_survive_the_token(metadata in component_metadata(), life in 1..u64::from(u32::MAX)) {
        let keys = keys(KeyKind::Component);
        let mut claims = Claims::new(&keys.issuer, &keys.subject.public_key(), metadata, NOW).unwrap();
        (claims.not_before, claims.expires) = (Some(NOW), Some(NOW + life));
        let token = claims.encode(&keys.issuer).unwrap();
        prop_assert_eq!(&Claims::decode_unverified(&token).unwrap(), &claims);
        prop_assert_eq!(&Claims::decode_verified(&token, NOW).unwrap(), &claims);
    }

    #[test]
    fn provider_claims_survive_the_token(metadata in provider_metadata()) {
        let keys = keys(KeyKind::Provider);
        let claims = Claims::new(&keys.issuer, &keys.subject.public_key(), metadata, NOW).unwrap();
        let token = claims.encode(&keys.issuer).unwrap();
        prop_assert_eq!(&Claims::decode_verified(&token, NOW).unwrap(), &claims);
    }

    #[test]
    fn one_changed_character_is_noticed(place: proptest::sample::Index, letter in "[A-Za-z0-9._=-]") {
        let keys = keys(KeyKind::Component);
        let mut token = component_claims(&keys).encode(&keys.issuer).unwrap();
        let place = place.index(token.len());
        prop_assume!(token[place..=place] != letter);
        token.replace_range(place..=place, &letter);
        prop_assert!(Claims::<ComponentMetadata>::decode_verified(&token, NOW).is_err());
    }

    #[test]
    fn any_text_is_read_without_panic(text in ".*", parts in proptest::collection::vec("[A-Za-z0-9_-]*", 3)) {
        for text in [text, parts.join(".")] {
            let _ = Claims::<ComponentMetadata>::decode_unverified(&text);
            prop_assert!(Claims::<ProviderMetadata>::decode_verified(&text, NOW).is_err());
        }
    }

    #[test]
    fn any_signed_json_is_read_without_panic(body: Vec<u8>) {
        let keys = keys(KeyKind::Component);
        let signed = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(good_header().to_string().as_bytes()),
            BASE64URL_NOPAD.encode(&body)
        );
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&keys.issuer.sign(signed.as_bytes())));
        prop_assert!(Claims::<ComponentMetadata>::decode_verified(&token, NOW).is_err());
    }
}
