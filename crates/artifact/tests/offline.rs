//! What the store does when the registry, or its own cache, fails it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod common;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Fixture, Registry, free_address, insecure, push, reference};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wattle_artifact::{Artifact, ArtifactKind, Error, Origin};

const COMPONENT: &[u8] = b"\0asm and so on";
const KIND: ArtifactKind = ArtifactKind::Component;

async fn pushed_and_fetched(registry: &Registry, name: &str) -> (Fixture, Artifact) {
    let fixture = Fixture::plain(&registry.host());
    push(&fixture.store, name, COMPONENT).await;
    let artifact = fixture.store.fetch(&reference(name), KIND, None).await.unwrap();
    (fixture, artifact)
}

#[tokio::test]
async fn registry_down_is_an_error_without_a_pin() {
    let mut registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let (fixture, _) = pushed_and_fetched(&registry, &name).await;
    registry.stop();
    let error = fixture.store.fetch(&reference(&name), KIND, None).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&registry.host()) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn registry_down_is_survived_with_a_pin() {
    let mut registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let (fixture, artifact) = pushed_and_fetched(&registry, &name).await;
    let manifest = artifact.manifest_digest.unwrap();
    // Meanwhile the tag moves on, and this host has that, too.
    push(&fixture.store, &name, b"newer").await;
    fixture.store.fetch(&reference(&name), KIND, None).await.unwrap();
    registry.stop();
    for pin in [&artifact.digest, &manifest] {
        let found = fixture.store.fetch(&reference(&name), KIND, Some(pin)).await.unwrap();
        assert_eq!((found.bytes.as_ref(), found.origin), (COMPONENT, Origin::Cache));
        assert_eq!(found.digest, artifact.digest);
    }
    let by_digest = format!("{name}@{manifest}");
    let found = fixture.store.fetch(&reference(&by_digest), KIND, None).await.unwrap();
    assert_eq!((found.bytes.as_ref(), found.origin), (COMPONENT, Origin::Cache));
}

#[tokio::test]
async fn a_pin_that_is_not_cached_says_both() {
    let address = free_address().to_string();
    let fixture = Fixture::plain(&address);
    let pin = format!("sha256:{}", "1".repeat(64));
    let wanted = reference(&format!("{address}/cart:1"));
    let error = fixture.store.fetch(&wanted, KIND, Some(&pin)).await.unwrap_err();
    assert!(matches!(&error, Error::NotCached { digest, .. } if *digest == pin), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("can't be reached") && text.contains(&pin), "{text}");
    let error = fixture.store.fetch(&wanted, KIND, Some("sha256:short")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidDigest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pin_does_not_hide_an_answer() {
    let registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let (fixture, artifact) = pushed_and_fetched(&registry, &name).await;
    let gone = reference(&format!("{}/cart:2", registry.host()));
    let error = fixture.store.fetch(&gone, KIND, Some(&artifact.digest)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_cache_is_repaired() {
    let mut registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let (fixture, artifact) = pushed_and_fetched(&registry, &name).await;
    let file = fixture.cached_layer(&artifact.digest);
    for damaged in [b"\0asm and so ON".as_slice(), &COMPONENT[..5], b""] {
        fs::write(&file, damaged).unwrap();
        let again = fixture.store.fetch(&reference(&name), KIND, None).await.unwrap();
        assert_eq!((again.bytes.as_ref(), again.origin), (COMPONENT, Origin::Registry));
        assert_eq!(fs::read(&file).unwrap(), COMPONENT);
    }
    // Damaged while the registry is down: not used, whatever is pinned.
    registry.stop();
    fs::write(&file, b"rubbish").unwrap();
    let error = fixture.store.fetch(&reference(&name), KIND, Some(&artifact.digest)).await.unwrap_err();
    assert!(matches!(error, Error::NotCached { .. }), "{error:?}");
}

#[tokio::test]
async fn cache_outlives_the_store() {
    let registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    let (first, _) = pushed_and_fetched(&registry, &name).await;
    let second = Fixture::adjusted(&[(&registry.host(), insecure())], |options| {
        options.cache_dir = first.cache.path().to_owned();
    });
    let artifact = second.store.fetch(&reference(&name), KIND, None).await.unwrap();
    assert_eq!(artifact.origin, Origin::Cache);
}

#[tokio::test]
async fn one_download_serves_all_who_ask() {
    let registry = Registry::start();
    let name = format!("{}/cart:1", registry.host());
    push(&Fixture::plain(&registry.host()).store, &name, COMPONENT).await;
    let counter = Counter::start(registry.host()).await;
    let fixture = Fixture::plain(&counter.host);
    let wanted = reference(&format!("{}/cart:1", counter.host));
    let asked = (0..20).map(|_| fixture.store.fetch(&wanted, KIND, None));
    for artifact in futures::future::join_all(asked).await {
        assert_eq!(artifact.unwrap().bytes, COMPONENT);
    }
    assert_eq!(counter.layers.load(Ordering::SeqCst), 1);
}

/// Passes a registry's traffic on and counts the requests for layers.
struct Counter {
    host: String,
    layers: Arc<AtomicUsize>,
}

impl Counter {
    async fn start(registry: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let layers = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&layers);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&registry).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&counted)));
            }
        });
        Self { host, layers }
    }
}

async fn pass(client: TcpStream, server: TcpStream, layers: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            // Requests have no bodies here and arrive whole.
            if String::from_utf8_lossy(&buffer[..count]).contains("/blobs/sha256:") {
                layers.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! { () = up => {}, _ = down => {} }
}

/// Answers every request on every connection with the same bytes, or not at all.
async fn impostor(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(answer) = answer else {
                silent.push(stream);
                continue;
            };
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    host
}

#[tokio::test]
async fn servers_that_are_no_registry_are_named_so() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<html>hi</html>";
    let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for answer in [page, nothing] {
        let host = impostor(Some(answer)).await;
        let fixture = Fixture::plain(&host);
        let error = fixture.store.fetch(&reference(&format!("{host}/cart:1")), KIND, None).await.unwrap_err();
        assert!(matches!(&error, Error::NotARegistry { registry, .. } if *registry == host), "{error:?}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_of_its_digest_is_refused() {
    let manifest = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\nconnection: close\r\n\r\n{\"schemaVersion\": 2}";
    let host = impostor(Some(manifest)).await;
    let fixture = Fixture::plain(&host);
    let digest = format!("sha256:{}", "1".repeat(64));
    let error =
        fixture.store.fetch(&reference(&format!("{host}/cart:1@{digest}")), KIND, None).await.unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { expected, .. } if *expected == digest), "{error:?}");
}

/// Answers every request with a body that never ends; counts the bytes that were taken.
async fn endless(head: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).await.unwrap_or_default();
                if buffer[..count].starts_with(b"GET /v2/ ") || buffer[..count].starts_with(b"HEAD ") {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                    return;
                }
                let _ = stream.write_all(head.as_bytes()).await;
                while let Ok(count) = stream.write(&[b' '; 64 << 10]).await {
                    counted.fetch_add(count, Ordering::SeqCst);
                }
            });
        }
    });
    (host, taken)
}

#[tokio::test]
async fn a_manifest_that_never_ends_is_given_up() {
    // The limit, and what the two ends of a connection hold between them.
    const AT_MOST: usize = 32 << 20;
    let forever = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let huge = "HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n";
    let refused = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    let digest = format!("sha256:{}", "1".repeat(64));
    for (head, too_big) in [(forever, true), (huge, true), (refused, false)] {
        let (host, taken) = endless(head).await;
        let fixture = Fixture::plain(&host);
        for name in [format!("{host}/cart:1"), format!("{host}/cart:1@{digest}")] {
            let wanted = reference(&name);
            let fetch = fixture.store.fetch(&wanted, KIND, None);
            let result = tokio::time::timeout(Duration::from_secs(20), fetch).await;
            let error = result.expect("the fetch to end though the manifest does not").unwrap_err();
            assert_eq!(matches!(error, Error::TooBig { .. }), too_big, "{error:?}");
            assert!(!error.to_string().contains("timed out"), "{error}");
        }
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < 2 * AT_MOST, "{taken} bytes were taken for two fetches");
    }
}

#[tokio::test]
async fn failing_registries_are_outages() {
    let failing = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let not_http = "220 mail.example ESMTP\r\n";
    for (answer, unavailable) in [(failing, true), (not_http, false)] {
        let host = impostor(Some(answer)).await;
        let fixture = Fixture::plain(&host);
        let error = fixture.store.fetch(&reference(&format!("{host}/cart:1")), KIND, None).await.unwrap_err();
        assert_eq!(matches!(error, Error::Unavailable { .. }), unavailable, "{error:?}");
        assert!(error.is_outage(), "{error:?}");
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let host = impostor(None).await;
    let patience = Duration::from_millis(300);
    let fixture = Fixture::adjusted(&[(&host, insecure())], |options| options.timeout = patience);
    let wanted = reference(&format!("{host}/cart:1"));
    let fetch = fixture.store.fetch(&wanted, KIND, None);
    let result = tokio::time::timeout(Duration::from_secs(10), fetch).await;
    let error =
        result.unwrap_or_else(|_| panic!("the fetch waited on though the store's timeout is {patience:?}"));
    assert!(matches!(error, Err(Error::Timeout { after, .. }) if after == patience), "{error:?}");
}

#[tokio::test]
async fn files_are_read_only_when_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cart.wasm");
    fs::write(&path, COMPONENT).unwrap();
    let wanted = reference(&format!("file://{}", path.display()));

    let error = Fixture::with(&[]).store.fetch(&wanted, KIND, None).await.unwrap_err();
    assert!(matches!(error, Error::FileLoadDisabled { .. }), "{error:?}");
    assert!(error.to_string().contains("--allow-file-load"), "{error}");

    let allowed = Fixture::adjusted(&[], |options| {
        options.allow_file_load = true;
        options.max_bytes = COMPONENT.len() as u64;
    });
    let artifact = allowed.store.fetch(&wanted, KIND, None).await.unwrap();
    assert_eq!(
        (artifact.bytes.as_ref(), artifact.origin, artifact.manifest_digest),
        (COMPONENT, Origin::File, None)
    );
    fs::write(&path, [COMPONENT, b"!"].concat()).unwrap();
    let error = allowed.store.fetch(&wanted, KIND, None).await.unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }), "{error:?}");
    for path in [folder.path().to_owned(), folder.path().join("missing.wasm")] {
        let missing = reference(&format!("file://{}", path.display()));
        let error = allowed.store.fetch(&missing, KIND, None).await.unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
    }
    let builtin = allowed.store.fetch(&reference("builtin://http-server"), KIND, None).await.unwrap_err();
    assert!(matches!(builtin, Error::Builtin { .. }), "{builtin:?}");
}
