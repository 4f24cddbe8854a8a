//! Push and pull against a real registry: what works, and what each failure looks like.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use common::{Fixture, PASSWORD, Registry, Setup, insecure, oci, push, reference, with_password};
use wattle_artifact::{
    ArtifactKind, Credentials, Error, Origin, Progress, ProviderArchive, PushDetails, Reference,
    RegistrySettings,
};

const COMPONENT: &[u8] = b"\0asm and so on";

#[tokio::test]
async fn component_makes_the_round_trip() {
    let registry = Registry::start();
    let name = format!("{}/shop/cart:1.0", registry.host());
    let author = Fixture::plain(&registry.host());
    let pushed = push(&author.store, &name, COMPONENT).await;
    assert_eq!(pushed.reference, oci(&name));
    assert_eq!(push(&author.store, &name, COMPONENT).await, pushed, "the same again is the same artifact");

    let host = Fixture::plain(&registry.host());
    for (text, origin) in [
        (name.clone(), Origin::Registry),
        (name.clone(), Origin::Cache),
        (format!("oci://{name}"), Origin::Cache),
        (format!("https://{name}@{}", pushed.manifest_digest), Origin::Cache),
    ] {
        let artifact = host.store.fetch(&reference(&text), ArtifactKind::Component, None).await.unwrap();
        assert_eq!(artifact.bytes, COMPONENT);
        assert_eq!(artifact.digest, pushed.digest);
        assert_eq!(artifact.manifest_digest.as_ref(), Some(&pushed.manifest_digest));
        assert_eq!(artifact.origin, origin, "{text}");
    }
}

#[tokio::test]
async fn provider_makes_the_round_trip_with_progress() {
    let registry = Registry::start();
    let name = oci(&format!("{}/providers/store:0.3", registry.host()));
    // Noise (xorshift), which gzip can't shrink, so that it takes several pieces.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let binary = noise.take(125_000).flatten().collect();
    let archive = ProviderArchive {
        claims_jwt: "a.b.c".to_owned(),
        binaries: BTreeMap::from([(wattle_artifact::native_target(), binary)]),
        world: None,
    };
    let bytes = Bytes::from(archive.write(true).unwrap());
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let fixture = Fixture::adjusted(&[(&registry.host(), insecure())], move |options| {
        options.progress = Some(Arc::new(move |progress| sink.lock().unwrap().push(progress)));
    });
    let annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), "store".to_owned())]);
    let kind = ArtifactKind::Provider;
    fixture.store.push_with(&name, kind, bytes.clone(), annotations, &PushDetails::default()).await.unwrap();
    let steps = std::mem::take(&mut *seen.lock().unwrap());
    assert!(steps.len() > 1 && steps.is_sorted_by_key(|step| step.done), "{steps:?}");
    let complete =
        Progress { reference: name.to_string().into(), done: bytes.len() as u64, total: bytes.len() as u64 };
    assert_eq!(steps.last(), Some(&complete));

    let artifact = fixture.store.fetch(&Reference::Oci(name.clone()), kind, None).await.unwrap();
    assert_eq!(seen.lock().unwrap().last(), Some(&complete));
    assert_eq!(ProviderArchive::read(&artifact.bytes).unwrap(), archive);

    let wrong = fixture.store.fetch(&Reference::Oci(name), ArtifactKind::Component, None).await.unwrap_err();
    assert!(matches!(wrong, Error::MediaType { .. }), "{wrong}");
}

#[tokio::test]
async fn repushed_tag_is_noticed() {
    let registry = Registry::start();
    let fixture = Fixture::plain(&registry.host());
    let name = format!("{}/cart:dev", registry.host());
    for version in [b"first".as_slice(), b"second"] {
        push(&fixture.store, &name, version).await;
        let artifact = fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap();
        assert_eq!(artifact.bytes, version);
    }
}

#[tokio::test]
async fn missing_tag_and_repository_are_not_found() {
    let registry = Registry::start();
    let fixture = Fixture::plain(&registry.host());
    push(&fixture.store, &format!("{}/cart:1", registry.host()), COMPONENT).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    for rest in ["cart:2".to_owned(), "nowhere:1".to_owned(), format!("cart@{digest}")] {
        let text = format!("{}/{rest}", registry.host());
        let error = fixture.store.fetch(&reference(&text), ArtifactKind::Component, None).await.unwrap_err();
        assert!(matches!(&error, Error::NotFound { reference, .. } if *reference == text), "{error:?}");
    }
}

#[tokio::test]
async fn passwords_open_and_keep_out() {
    let registry = Registry::start_with(&Setup { password: true, ..Setup::default() });
    let host = registry.host();
    let name = format!("{host}/private/cart:1");
    let right = Fixture::with(&[(&host, with_password(PASSWORD))]);
    push(&right.store, &name, COMPONENT).await;
    right.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap();

    for (settings, login) in [(with_password("wrong"), "alice"), (insecure(), "anonymous")] {
        let fixture = Fixture::with(&[(&host, settings)]);
        let pulled = fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap_err();
        let bytes = Bytes::from_static(COMPONENT);
        let pushed = fixture
            .store
            .push_with(&oci(&name), ArtifactKind::Component, bytes, BTreeMap::new(), &PushDetails::default())
            .await
            .unwrap_err();
        for error in [pulled, pushed] {
            assert!(matches!(&error, Error::Unauthorized { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(login) && text.contains(&host) && !text.contains("wrong"), "{text}");
        }
    }
}

#[tokio::test]
async fn credentials_can_be_merged_while_running() {
    let registry = Registry::start_with(&Setup { password: true, ..Setup::default() });
    let host = registry.host();
    let name = format!("{host}/private/cart:1");
    let fixture = Fixture::with(&[(&host, with_password("wrong"))]);
    fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap_err();
    let right =
        Credentials::Basic { username: common::USER.to_owned(), password: PASSWORD.to_owned().into() };
    fixture.store.registries().merge_credentials([(host, right)]).unwrap();
    push(&fixture.store, &name, COMPONENT).await;
    fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap();
}

#[tokio::test]
async fn docker_configuration_opens() {
    let registry = Registry::start_with(&Setup { password: true, ..Setup::default() });
    let host = registry.host();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let entry = serde_json::json!({"auths": {&host: {"username": common::USER, "password": PASSWORD}}});
    std::fs::write(&file, entry.to_string()).unwrap();
    let fixture = Fixture::adjusted(&[(&host, insecure())], |options| {
        options.registries = options.registries.clone().with_docker_config(Some(file));
    });
    push(&fixture.store, &format!("{host}/private/cart:1"), COMPONENT).await;
}

#[tokio::test]
async fn latest_is_refused_unless_allowed() {
    let registry = Registry::start();
    let host = registry.host();
    let names = [format!("{host}/cart"), format!("{host}/cart:latest")];
    let refusing = Fixture::plain(&host);
    push(&refusing.store, &names[1], COMPONENT).await;
    for name in &names {
        let error = refusing.store.fetch(&reference(name), ArtifactKind::Component, None).await.unwrap_err();
        assert!(matches!(&error, Error::LatestRefused { .. }), "{error:?}");
        assert!(error.to_string().contains("allow_latest"), "{error}");
    }
    let for_registry = Fixture::with(&[(&host, RegistrySettings { allow_latest: true, ..insecure() })]);
    let for_all = Fixture::adjusted(&[(&host, insecure())], |options| options.allow_latest = true);
    for fixture in [for_registry, for_all] {
        for name in &names {
            fixture.store.fetch(&reference(name), ArtifactKind::Component, None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn plain_http_is_spoken_only_to_registries_named_insecure() {
    let registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    push(&Fixture::plain(&registry.host()).store, &name, COMPONENT).await;
    let other = format!("localhost:{}", registry.address.port());
    let fixture = Fixture::with(&[(&other, insecure())]);
    for text in [name.clone(), format!("http://{name}")] {
        let error = fixture.store.fetch(&reference(&text), ArtifactKind::Component, None).await.unwrap_err();
        assert!(matches!(&error, Error::NotTls { .. }), "{error:?}");
        assert!(error.to_string().contains("insecure"), "{error}");
    }
}

#[tokio::test]
async fn own_ca_is_trusted_for_push_and_pull() {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &rcgen::Issuer::from_params(&ca, &ca_key)).unwrap().pem();
    let registry =
        Registry::start_with(&Setup { tls: Some((certificate, key.serialize_pem())), password: true });
    let host = registry.host();
    let name = format!("{host}/cart:1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca_pem).unwrap();

    let secure = RegistrySettings { insecure: false, ..with_password(PASSWORD) };
    let of_registry =
        Fixture::with(&[(&host, RegistrySettings { ca: vec![file.clone()], ..secure.clone() })]);
    let of_all = Fixture::adjusted(&[(&host, secure.clone())], |options| {
        options.registries = options.registries.clone().with_extra_ca(vec![file]);
    });
    for fixture in [of_registry, of_all] {
        push(&fixture.store, &name, COMPONENT).await;
        let artifact = fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap();
        assert_eq!(artifact.origin, Origin::Registry);
    }

    let trusting_nobody = Fixture::with(&[(&host, secure.clone())]);
    let error =
        trusting_nobody.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap_err();
    assert!(matches!(&error, Error::Certificate { .. }), "{error:?}");
    let missing = RegistrySettings { ca: vec![folder.path().join("no.pem")], ..secure };
    let error = Fixture::with(&[(&host, missing)])
        .store
        .fetch(&reference(&name), ArtifactKind::Component, None)
        .await;
    assert!(matches!(error, Err(Error::CaFile { .. })), "{error:?}");
}

#[tokio::test]
async fn tampered_content_is_refused() {
    let registry = Registry::start();
    let fixture = Fixture::plain(&registry.host());
    let name = format!("{}/cart:1", registry.host());
    let pushed = push(&fixture.store, &name, COMPONENT).await;
    registry.tamper(&pushed.digest, b"\0asm and so ON");
    let error = fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { expected, .. } if *expected == pushed.digest),
        "{error:?}"
    );
    assert!(!fixture.cached_layer(&pushed.digest).exists());
}

#[tokio::test]
async fn the_digest_decides_not_the_tag() {
    let registry = Registry::start();
    let fixture = Fixture::plain(&registry.host());
    let name = format!("{}/cart:1", registry.host());
    push(&fixture.store, &name, COMPONENT).await;
    let other = push(&fixture.store, &format!("{}/cart:2", registry.host()), b"other").await;
    let pinned = format!("{name}@{}", other.manifest_digest);
    let artifact = fixture.store.fetch(&reference(&pinned), ArtifactKind::Component, None).await.unwrap();
    assert_eq!(artifact.bytes, b"other".as_slice());
}

/// As older tools pushed them: several layers, and media types of container images.
#[tokio::test]
async fn older_artifacts_are_joined_cached_and_pinned() {
    use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};

    let mut registry = Registry::start();
    let fixture = Fixture::plain(&registry.host());
    let name = format!("{}/old/cart:1", registry.host());
    let client =
        Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }).unwrap();
    let layers = ["first, ", "second"].map(|text| ImageLayer::oci_v1(text.as_bytes(), None));
    let (image, config) = (name.parse().unwrap(), Config::oci_v1("{}", None));
    client.push(&image, &layers, config, &oci_client::secrets::RegistryAuth::Anonymous, None).await.unwrap();

    let fetch = async |pin| fixture.store.fetch(&reference(&name), ArtifactKind::Component, pin).await;
    let fresh = fetch(None).await.unwrap();
    assert_eq!(fresh.bytes, b"first, second".as_slice());
    let again = fetch(None).await.unwrap();
    assert_eq!((again.origin, &again.bytes, &again.digest), (Origin::Cache, &fresh.bytes, &fresh.digest));
    registry.stop();
    let pinned = fetch(Some(&fresh.digest)).await.unwrap();
    assert_eq!((pinned.bytes, pinned.manifest_digest), (fresh.bytes, fresh.manifest_digest));
}

#[tokio::test]
async fn too_big_is_refused_before_it_is_fetched() {
    let registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let author = Fixture::plain(&registry.host());
    push(&author.store, &name, COMPONENT).await;
    let limit = COMPONENT.len() as u64 - 1;
    let fixture = Fixture::adjusted(&[(&registry.host(), insecure())], |options| options.max_bytes = limit);
    let error = fixture.store.fetch(&reference(&name), ArtifactKind::Component, None).await.unwrap_err();
    assert!(matches!(&error, Error::TooBig { limit: found, .. } if *found == limit), "{error:?}");
}
