use super::*;
use crate::keys::KeyKind;
use proptest::prelude::*;
use wasm_encoder::{Component, Module, ModuleSection, NestedComponentSection};

const NOW: u64 = 1_790_000_000;

/// Signed with wascap 0.16.2: a component with a module inside, and a core module.
const FOREIGN_COMPONENT: &[u8] = include_bytes!("../../tests/data/component_signed_by_wascap.wasm");
const FOREIGN_MODULE: &[u8] = include_bytes!("../../tests/data/module_signed_by_wascap.wasm");
const FOREIGN_ISSUER: &str = "ACODERUVFFAWZQDSS6SBIACUA5O6SXF7HJ3YTYXBALHZP3P7R4BUO4J2";

fn keys() -> (KeyPair, KeyPair) {
    (KeyPair::generate(KeyKind::Account).unwrap(), KeyPair::generate(KeyKind::Component).unwrap())
}

fn custom<'a>(name: &'a str, data: &'a [u8]) -> CustomSection<'a> {
    CustomSection { name: name.into(), data: data.into() }
}

fn module(sections: &[CustomSection<'_>]) -> Module {
    let mut module = Module::new();
    for section in sections {
        module.section(section);
    }
    module
}

fn component(sections: &[CustomSection<'_>]) -> Component {
    let mut component = Component::new();
    for section in sections {
        component.section(section);
    }
    component
}

/// A component in a component in a component, to this depth.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Component::new();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
    }
    inner.finish()
}

fn signed(bytes: &[u8]) -> Vec<u8> {
    let (issuer, subject) = keys();
    sign(bytes, SignOptions::default(), &issuer, &subject, NOW).unwrap()
}

#[test]
fn claims_say_what_was_asked_for() {
    let (issuer, subject) = keys();
    let options = SignOptions {
        name: Some("hello".into()),
        version: Some("0.2.0".into()),
        revision: Some(4),
        tags: vec!["demo".into(), "http".into()],
        call_alias: Some(" Acme/Hello-World v1.0é".into()),
        not_before: Some(NOW),
        expires: Some(NOW + 60),
    };
    let unsigned = component(&[custom("note", b"text")]).finish();
    let signed = sign(&unsigned, options, &issuer, &subject, NOW).unwrap();
    let Verified { claims, token: checked } = verify(&signed, NOW).unwrap().unwrap();
    assert_eq!(claims.issuer, issuer.public_key());
    assert_eq!(claims.subject, subject.public_key());
    assert_eq!((claims.issued_at, claims.not_before, claims.expires), (NOW, Some(NOW), Some(NOW + 60)));
    assert_eq!(
        claims.metadata,
        ComponentMetadata {
            name: Some("hello".into()),
            hash: sha256_hex_upper(&unsigned),
            tags: Some(vec!["demo".into(), "http".into()]),
            revision: Some(4),
            version: Some("0.2.0".into()),
            call_alias: Some("acme/hello_world_v1_0".into()),
        }
    );
    assert_eq!(token(&signed).unwrap(), Some(checked));
    assert_eq!(strip(&signed).unwrap(), unsigned);
    assert!(matches!(verify(&signed, NOW + 60), Err(Error::Expired { .. })));
}

#[test]
fn a_core_module_can_carry_claims() {
    let unsigned = module(&[custom("note", b"text")]).finish();
    let signed = signed(&unsigned);
    assert!(verify(&signed, NOW).unwrap().is_some());
    assert_eq!(strip(&signed).unwrap(), unsigned);
}

#[test]
fn what_wascap_signed_is_accepted() {
    for (bytes, name) in [(FOREIGN_COMPONENT, "foreign component"), (FOREIGN_MODULE, "foreign module")] {
        let claims = verify(bytes, NOW).unwrap().unwrap().claims;
        assert_eq!(claims.issuer, FOREIGN_ISSUER);
        assert_eq!(claims.metadata.name.as_deref(), Some(name));
        assert_eq!(claims.metadata.tags.as_deref(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
        assert_eq!(claims.metadata.revision, Some(3));
        assert_eq!(claims.metadata.version.as_deref(), Some("0.1.0"));
        assert_eq!(claims.metadata.call_alias.as_deref(), Some("an_alias"));
        assert_eq!(claims.format_revision, Some(FORMAT_REVISION));
    }
}

#[test]
fn what_wascap_signed_and_was_changed_is_refused() {
    let mut changed = FOREIGN_COMPONENT.to_vec();
    let place = changed.windows(4).position(|bytes| bytes == b"note").unwrap();
    changed[place] = b'N';
    let error = verify(&changed, NOW).unwrap_err();
    let Error::Tampered { signed, found } = &error else { panic!("{error:?}") };
    assert_ne!(signed, found);
    assert!(error.to_string().contains(signed.as_str()) && error.to_string().contains(found.as_str()));
}

#[test]
fn claims_of_another_component_do_not_fit() {
    let claims = token(&signed(&component(&[custom("note", b"one")]).finish())).unwrap().unwrap();
    let mut other = component(&[custom("note", b"two")]).finish();
    custom(sections::CLAIMS, claims.as_bytes()).append_to(&mut other);
    assert!(matches!(verify(&other, NOW), Err(Error::Tampered { .. })));
}

#[test]
fn old_claims_without_a_comparable_hash_are_refused() {
    let (issuer, subject) = keys();
    let metadata = ComponentMetadata { hash: "old".into(), ..ComponentMetadata::default() };
    let mut claims = Claims::new(&issuer, &subject.public_key(), metadata, NOW).unwrap();
    for revision in [None, Some(2)] {
        claims.format_revision = revision;
        let mut bytes = component(&[]).finish();
        custom("jwt", claims.encode(&issuer).unwrap().as_bytes()).append_to(&mut bytes);
        assert!(matches!(verify(&bytes, NOW), Err(Error::Unbound)));
    }
}

#[test]
fn the_old_section_name_is_read_and_replaced() {
    let (issuer, subject) = keys();
    let unsigned = component(&[]).finish();
    let claims = token(&signed(&unsigned)).unwrap().unwrap();
    let mut old = unsigned.clone();
    custom("jwt", claims.as_bytes()).append_to(&mut old);
    assert_eq!(verify(&old, NOW).unwrap().unwrap().token, claims);

    let again = sign(&old, SignOptions::default(), &issuer, &subject, NOW).unwrap();
    assert_eq!(verify(&again, NOW).unwrap().unwrap().claims.issuer, issuer.public_key());
    assert_eq!(strip(&again).unwrap(), unsigned);
    assert!(!again.windows(4).any(|bytes| bytes == b"\x03jwt"));
}

#[test]
fn claims_of_an_inner_component_are_not_the_outer_ones() {
    let inner = signed(&module(&[]).finish());
    let inner_module = {
        let claims = token(&inner).unwrap().unwrap();
        module(&[custom(sections::CLAIMS, claims.as_bytes()), custom("note", b"kept")])
    };
    let mut outer = Component::new();
    outer.section(&ModuleSection(&inner_module));
    let outer = outer.finish();
    assert_eq!(token(&outer).unwrap(), None);
    assert_eq!(verify(&outer, NOW).unwrap(), None);

    let mut expected = Component::new();
    expected.section(&ModuleSection(&module(&[custom("note", b"kept")])));
    assert_eq!(strip(&outer).unwrap(), expected.finish());
}

#[test]
fn a_section_that_holds_no_token_is_an_error() {
    let garbage = component(&[custom(sections::CLAIMS, b"not a token")]).finish();
    assert!(matches!(verify(&garbage, NOW), Err(Error::MalformedToken { .. })));
    let no_text = component(&[custom(sections::CLAIMS, &[0xff, 0xfe])]).finish();
    assert!(matches!(token(&no_text), Err(Error::MalformedToken { .. })));
}

#[test]
fn what_is_not_wasm_is_an_error() {
    let whole = component(&[custom("note", b"text")]).finish();
    for bytes in [b"".as_slice(), b"\0asm", b"<html>", b"\0asm\x09\0\0\0", &whole[..whole.len() - 1]] {
        let error = verify(bytes, NOW).unwrap_err();
        assert!(matches!(error, Error::MalformedWasm { .. }), "{bytes:?}: {error:?}");
        assert!(error.to_string().starts_with("not a WebAssembly component or module: "), "{error}");
        assert!(sign(bytes, SignOptions::default(), &keys().0, &keys().1, NOW).is_err());
        assert!(strip(bytes).is_err());
    }
}

#[test]
fn a_second_claims_section_is_refused_and_signing_anew_removes_it() {
    let mut component = Component::new();
    component.section(&CustomSection { name: "jwt".into(), data: b"x".as_slice().into() });
    component.section(&CustomSection { name: "wasmcloud_jwt".into(), data: b"y".as_slice().into() });
    let bytes = component.finish();
    let error = verify(&bytes, NOW).unwrap_err();
    assert!(error.to_string().contains("two sections with claims"), "{error}");
    assert!(token(&bytes).is_err());
    assert!(verify(&signed(&bytes), NOW).unwrap().is_some());
}

#[test]
fn nesting_is_limited() {
    assert_eq!(token(&nested(16)).unwrap(), None);
    let error = token(&nested(17)).unwrap_err();
    assert!(error.to_string().contains("nested too deep"), "{error}");
}

#[test]
fn only_accounts_sign_and_only_components_are_signed() {
    let (issuer, subject) = keys();
    let bytes = component(&[]).finish();
    let swapped = sign(&bytes, SignOptions::default(), &subject, &issuer, NOW);
    assert!(matches!(swapped, Err(Error::WrongIssuer { .. })));
    let of_itself = sign(&bytes, SignOptions::default(), &issuer, &issuer, NOW);
    assert!(matches!(of_itself, Err(Error::WrongSubject { expected: KeyKind::Component, .. })));
}

/// Components with sections of any name and content, some of them claims sections, with modules and components inside.
fn components() -> impl Strategy<Value = Vec<u8>> {
    fn any_sections() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let name = prop_oneof!["[a-z]{0,4}", Just("jwt".to_owned()), Just("wasmcloud_jwt".to_owned())];
        proptest::collection::vec((name, proptest::collection::vec(any::<u8>(), 0..200)), 0..4)
    }
    (any_sections(), any_sections(), any_sections(), any::<bool>()).prop_map(|(outer, inner, tail, deep)| {
        fn borrow(sections: &[(String, Vec<u8>)]) -> Vec<CustomSection<'_>> {
            sections.iter().map(|(name, data)| custom(name, data)).collect()
        }
        let mut built = component(&borrow(&outer));
        if deep {
            let mut middle = component(&borrow(&tail));
            middle.section(&ModuleSection(&module(&borrow(&inner))));
            built.section(&NestedComponentSection(&middle));
        } else {
            built.section(&ModuleSection(&module(&borrow(&inner))));
        }
        for section in borrow(&tail) {
            built.section(&section);
        }
        built.finish()
    })
}

proptest! {
    #[test]
    fn a_signed_component_verifies_and_strips_to_what_it_was(bytes in components()) {
        let stripped = strip(&bytes).unwrap();
        prop_assert_eq!(strip(&stripped).unwrap(), stripped.as_slice());
        let once = signed(&bytes);
        prop_assert!(verify(&once, NOW).unwrap().is_some());
        prop_assert_eq!(strip(&once).unwrap(), stripped.as_slice());
        let twice = signed(&once);
        prop_assert!(verify(&twice, NOW).unwrap().is_some());
        prop_assert_eq!(strip(&twice).unwrap(), stripped);
    }

    #[test]
    fn one_changed_bit_is_noticed(bytes in components(), bit: proptest::sample::Index) {
        let mut changed = signed(&bytes);
        let bit = bit.index(changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        // A change in the claims section's name leaves an unsigned component.
        prop_assert!(!matches!(verify(&changed, NOW), Ok(Some(_))));
    }

    #[test]
    fn a_cut_component_never_verifies(bytes in components(), end: proptest::sample::Index) {
        let signed = signed(&bytes);
        let cut = &signed[..end.index(signed.len())];
        prop_assert!(!matches!(verify(cut, NOW), Ok(Some(_))));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, component: bool) {
        let mut all = if component { Component::HEADER } else { Module::HEADER }.to_vec();
        all.extend_from_slice(&bytes);
        for bytes in [&bytes, &all] {
            let _ = token(bytes);
            let _ = strip(bytes);
            prop_assert!(!matches!(verify(bytes, NOW), Ok(Some(_))));
        }
    }
}
