//! Signatures in both directions: what the crates `wascap` and `provider-archive` of wasmCloud 1.x sign, wattle accepts,
//! and the other way round.
//!
//! Settings: `WATTLE_BIN`, the wattle program; `GUEST`, a component without claims. The last test also needs a running
//! host that may load files (`NATS_URL`, `LATTICE`, `HOST_ID`); leave it out with `-- --skip runs_on_a_host`.

use std::fs;
use std::path::{Path, PathBuf};

use foreign::expect::{self, Scaled};
use foreign::lattice::Lattice;
use foreign::{setting, within};
use provider_archive::ProviderArchive;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use wascap::jwt::{CapabilityProvider, Claims, Component, validate_token};
use wascap::prelude::KeyPair;
use wascap::wasm::{embed_claims, extract_claims, sign_buffer_with_claims};

const PROGRAM: &[u8] = b"\x7fELF but not really";

struct Keys {
    issuer: KeyPair,
    component: KeyPair,
    provider: KeyPair,
}

impl Keys {
    fn new() -> Self {
        Self {
            issuer: KeyPair::new_account(),
            component: KeyPair::new_module(),
            provider: KeyPair::new_service(),
        }
    }
}

fn guest() -> PathBuf {
    setting("GUEST", "path of a WebAssembly component without claims").into()
}

fn guest_bytes() -> Vec<u8> {
    let path = guest();
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    assert!(extract_claims(&bytes).expect("GUEST is WebAssembly").is_none(), "GUEST must not be signed yet");
    bytes
}

/// The guest, signed by wascap.
fn signed_by_wascap(keys: &Keys) -> Vec<u8> {
    sign_buffer_with_claims(
        "hello".to_owned(),
        guest_bytes(),
        &keys.component,
        &keys.issuer,
        Some(1),
        None,
        vec!["demo".to_owned(), "http".to_owned()],
        false,
        Some(4),
        Some("0.2.0".to_owned()),
        Some("say-hello".to_owned()),
    )
    .expect("wascap signs the guest")
}

/// The same with one custom section more, which changes no behaviour but the hash.
fn changed(mut signed: Vec<u8>) -> Vec<u8> {
    signed.extend_from_slice(&[0, 3, 2, b'h', b'i']);
    signed
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the temporary folder can be written to");
    path
}

/// Writes a key's seed for nobody else to read, as wattle wants it: a seed on a command line shows in the list of
/// processes.
fn write_seed(folder: &TempDir, name: &str, key: &KeyPair) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = write(folder, name, key.seed().expect("the key was made with its seed").as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is our own file");
    path
}

/// Runs wattle with a home of its own; gives its exit code and what it printed.
async fn wattle(home: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let program = setting("WATTLE_BIN", "path of the wattle program");
    let mut command = Command::new(&program);
    command.args(arguments).env("HOME", home.path()).kill_on_drop(true);
    for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(variable);
    }
    let output = within(&format!("wattle {}", arguments.join(" ")), command.output())
        .await
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

async fn wattle_succeeds(home: &TempDir, arguments: &[&str]) {
    let (code, stdout, stderr) = wattle(home, arguments).await;
    assert_eq!(code, 0, "wattle {} said:\n{stdout}{stderr}", arguments.join(" "));
}

/// `wattle claims inspect`: exit code and the JSON object.
async fn inspect(home: &TempDir, file: &Path) -> (i32, Value) {
    let (code, stdout, stderr) = wattle(home, &["claims", "inspect", text(file), "-o", "json"]).await;
    let json = serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}), code {code}:\n{stdout}{stderr}"));
    (code, json)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[tokio::test]
async fn wattle_inspects_what_wascap_signed() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let file = write(&folder, "signed.wasm", &signed_by_wascap(&keys));
    let (code, shown) = inspect(&folder, &file).await;
    assert_eq!(code, 0, "{shown:#}");
    for (field, expected) in [
        ("kind", json!("component")),
        ("issuer", json!(keys.issuer.public_key())),
        ("subject", json!(keys.component.public_key())),
        ("name", json!("hello")),
        ("version", json!("0.2.0")),
        ("revision", json!(4)),
        ("tags", json!(["demo", "http"])),
        ("call_alias", json!("say_hello")),
        ("not_before", Value::Null),
        ("valid", json!(true)),
        ("problem", Value::Null),
    ] {
        assert_eq!(shown[field], expected, "{field} in {shown:#}");
    }
    assert!(!shown["expires"].is_null(), "{shown:#}");
}

#[tokio::test]
async fn wattle_refuses_what_wascap_signed_and_somebody_changed() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let file = write(&folder, "changed.wasm", &changed(signed_by_wascap(&keys)));
    let (code, shown) = inspect(&folder, &file).await;
    assert_eq!((code, &shown["valid"]), (1, &json!(false)), "{shown:#}");
    assert!(shown["problem"].as_str().is_some_and(|problem| problem.contains("changed")), "{shown:#}");
    assert_eq!(shown["issuer"], keys.issuer.public_key(), "an invalid component can be inspected: {shown:#}");
}

#[tokio::test]
async fn wattle_refuses_what_wascap_signed_long_ago() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let claims = Claims::<Component>::with_dates(
        "hello".to_owned(),
        keys.issuer.public_key(),
        keys.component.public_key(),
        None,
        None,
        Some(1_700_000_000),
        false,
        None,
        None,
        None,
    );
    let signed = embed_claims(&guest_bytes(), &claims, &keys.issuer).expect("wascap signs the guest");
    let (code, shown) = inspect(&folder, &write(&folder, "expired.wasm", &signed)).await;
    assert_eq!((code, &shown["valid"]), (1, &json!(false)), "{shown:#}");
    assert!(shown["problem"].as_str().is_some_and(|problem| problem.contains("expired")), "{shown:#}");
}

#[tokio::test]
async fn wascap_reads_what_wattle_signed() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let unsigned = guest();
    let foreign = write(&folder, "foreign.wasm", &signed_by_wascap(&Keys::new()));
    let out = folder.path().join("out.wasm");
    let issuer = write_seed(&folder, "issuer.nk", &keys.issuer);
    let subject = write_seed(&folder, "subject.nk", &keys.component);
    // A component that nobody has signed yet, and one that somebody else has signed before.
    for input in [unsigned, foreign] {
        let arguments = [
            "claims",
            "sign",
            text(&input),
            "--name",
            "hello",
            "--version",
            "1.2.3",
            "--revision",
            "7",
            "--tag",
            "one",
            "--tag",
            "two",
            "--call-alias",
            "Say.Hello",
            "--expires-in-days",
            "1",
            "--issuer",
            text(&issuer),
            "--subject",
            text(&subject),
            "--destination",
            text(&out),
        ];
        wattle_succeeds(&folder, &arguments).await;

        let token = extract_claims(fs::read(&out).unwrap())
            .expect("wascap finds the hash right")
            .expect("wascap finds claims");
        assert_eq!(token.claims.issuer, keys.issuer.public_key());
        assert_eq!(token.claims.subject, keys.component.public_key());
        let metadata = token.claims.metadata.expect("wascap finds metadata");
        assert_eq!(metadata.name.as_deref(), Some("hello"));
        assert_eq!(metadata.ver.as_deref(), Some("1.2.3"));
        assert_eq!(metadata.rev, Some(7));
        assert_eq!(metadata.tags, Some(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(metadata.call_alias.as_deref(), Some("say_hello"));
        assert!(!metadata.provider);
        let validation = validate_token::<Component>(&token.jwt).expect("wascap reads the token");
        assert!(validation.signature_valid && !validation.expired && !validation.cannot_use_yet);
        assert_ne!(validation.expires_human, "never");
        fs::remove_file(&out).unwrap();
    }
}

#[tokio::test]
async fn wattle_inspects_what_provider_archive_wrote() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let mut archive = ProviderArchive::new("store", "acme", Some(2), Some("0.3.0".to_owned()));
    archive.add_library("x86_64-linux", PROGRAM).unwrap();
    archive.add_wit_world(b"world").unwrap();
    for (name, compress) in [("store.par.gz", true), ("store.par", false)] {
        let file = folder.path().join(name);
        archive.write(&file, &keys.issuer, &keys.provider, compress).await.expect("the archive is written");
        let hashes = archive.claims().and_then(|claims| claims.metadata).unwrap().target_hashes;
        let (code, shown) = inspect(&folder, &file).await;
        assert_eq!(code, 0, "{shown:#}");
        for (field, expected) in [
            ("kind", json!("provider")),
            ("issuer", json!(keys.issuer.public_key())),
            ("subject", json!(keys.provider.public_key())),
            ("name", json!("store")),
            ("vendor", json!("acme")),
            ("version", json!("0.3.0")),
            ("revision", json!(2)),
            ("target_hashes", json!(hashes)),
            ("valid", json!(true)),
            ("problem", Value::Null),
        ] {
            assert_eq!(shown[field], expected, "{field} of {name} in {shown:#}");
        }
    }
}

#[tokio::test]
async fn provider_archive_reads_what_wattle_made() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let linux = write(&folder, "linux", PROGRAM);
    let mac = write(&folder, "mac", b"another program");
    let world = write(&folder, "world.wasm", b"world");
    let (linux, mac) = (format!("x86_64-linux={}", text(&linux)), format!("aarch64-macos={}", text(&mac)));
    let issuer = write_seed(&folder, "issuer.nk", &keys.issuer);
    let subject = write_seed(&folder, "subject.nk", &keys.provider);
    for name in ["store.par.gz", "store.par"] {
        let out = folder.path().join(name);
        let arguments = [
            "par",
            "create",
            "--name",
            "store",
            "--vendor",
            "acme",
            "--version",
            "0.3.0",
            "--revision",
            "2",
            "--binary",
            &linux,
            "--binary",
            &mac,
            "--world",
            text(&world),
            "--destination",
            text(&out),
            "--issuer",
            text(&issuer),
            "--subject",
            text(&subject),
        ];
        wattle_succeeds(&folder, &arguments).await;

        let archive =
            ProviderArchive::try_load_file(&out).await.expect("provider-archive finds all hashes right");
        let mut targets = archive.targets();
        targets.sort();
        assert_eq!(targets, ["aarch64-macos", "x86_64-linux"]);
        assert_eq!(archive.target_bytes("x86_64-linux").as_deref(), Some(PROGRAM));
        assert_eq!(archive.wit_world(), Some(b"world".as_slice()));
        let token = archive.claims_token().expect("provider-archive finds claims");
        assert_eq!(token.claims.issuer, keys.issuer.public_key());
        assert_eq!(token.claims.subject, keys.provider.public_key());
        let metadata = token.claims.metadata.expect("provider-archive finds metadata");
        assert_eq!((metadata.name.as_deref(), metadata.vendor.as_str()), (Some("store"), "acme"));
        assert_eq!((metadata.ver.as_deref(), metadata.rev), (Some("0.3.0"), Some(2)));
        assert!(
            validate_token::<CapabilityProvider>(&token.jwt).expect("wascap reads the token").signature_valid
        );

        ProviderArchive::try_load_target_from_file(&out, "x86_64-linux")
            .await
            .expect("one target can be loaded");
    }
}

#[tokio::test]
async fn what_wascap_signed_runs_on_a_host() {
    let (folder, keys) = (TempDir::new().unwrap(), Keys::new());
    let signed = signed_by_wascap(&keys);
    let good = format!("file://{}", text(&write(&folder, "good.wasm", &signed)));
    let bad = format!("file://{}", text(&write(&folder, "bad.wasm", &changed(signed))));
    let none = expect::annotations([]);
    let mut lattice = Lattice::join().await;
    let host = lattice.host.clone();

    let scaled = Scaled { id: "foreign-signed", reference: &good, count: 2, annotations: &none };
    let reply = lattice.client.scale_component(&host, &good, scaled.id, 2, None, vec![], false).await;
    expect::accepted("starting the signed component", reply);
    let data = lattice.event("component_scaled").await;
    assert_eq!(data["claims"]["name"], "hello", "{data:#}");
    assert_eq!(data["claims"]["issuer"], keys.issuer.public_key(), "{data:#}");
    assert_eq!(scaled.check(data, &host), Some(keys.component.public_key()));

    let reply = lattice.client.scale_component(&host, &good, scaled.id, 0, None, vec![], false).await;
    expect::accepted("stopping it", reply);
    Scaled { count: 0, ..scaled }.check(lattice.event("component_scaled").await, &host);

    let scaled = Scaled { id: "foreign-changed", reference: &bad, count: 1, annotations: &none };
    let reply = lattice.client.scale_component(&host, &bad, scaled.id, 1, None, vec![], false).await;
    expect::accepted("starting the changed component", reply);
    let reason = scaled.check_failed(lattice.event("component_scale_failed").await, &host);
    assert!(reason.contains("changed after it was signed"), "{reason}");
}
