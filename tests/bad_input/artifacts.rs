//! What is in a registry can't be run, or must not be.

use wattle_tests::{DEADLINE, Keys, Stage, eventually, guest, http, now, sha256, sign_for};

use crate::assert_refused;

const HOUR: u64 = 3600;

/// What the component says, and what somebody else would have it say.
const TEXT: (&str, &str) = ("Hello from Wattle!", "Hello from Mallory");

#[tokio::test]
async fn bad_input_not_wasm() {
    let mut stage = Stage::start().await;
    let reference = stage.registry.put("text", "1.0.0", b"This is not WebAssembly.").await;
    assert_refused(&mut stage, &reference, &["not a WebAssembly component", &reference]).await;
    let empty = stage.registry.put("empty", "1.0.0", b"").await;
    assert_refused(&mut stage, &empty, &["not a WebAssembly component", "empty", &empty]).await;
}

#[tokio::test]
async fn bad_input_not_wasm_is_not_pushed() {
    let stage = Stage::start().await;
    let file = stage.cli.folder().join("text.wasm");
    std::fs::write(&file, "This is not WebAssembly.").unwrap();
    let reference = stage.registry.reference("text:1.0.0");
    let push = ["push", &reference, file.to_str().unwrap(), "--insecure"];
    stage.cli.run(push).await.failed(&["text.wasm", "neither WebAssembly nor"]);
    stage.cli.run(["pull", &reference, "--insecure"]).await.failed(&["does not exist"]);
}

#[tokio::test]
async fn bad_input_core_module() {
    let mut stage = Stage::start().await;
    // The smallest of all: it has a version and nothing else.
    let signed = stage.keys.sign(b"\0asm\x01\0\0\0");
    let reference = stage.registry.put("module", "1.0.0", &signed).await;
    assert_refused(&mut stage, &reference, &["core module", "wasm-tools component new", &reference]).await;

    let file = stage.cli.folder().join("module.wasm");
    std::fs::write(&file, &signed).unwrap();
    let push = ["push", &reference, file.to_str().unwrap(), "--insecure"];
    stage.cli.run(push).await.failed(&["core module", "wasm-tools component new", "module.wasm"]);
}

#[tokio::test]
async fn bad_input_truncated_component() {
    let mut stage = Stage::start().await;
    let signed = stage.keys.sign(&guest("http-hello"));
    for (name, length, cause) in [
        ("half", signed.len() / 2, "a section is cut off"),
        ("almost", signed.len() - 1, "unexpected end-of-file"),
        // After the preamble comes nothing that could be missing: it is an empty component, which nobody signed.
        ("preamble", 8, "is not signed"),
    ] {
        let reference = stage.registry.put(name, "1.0.0", &signed[..length]).await;
        assert_refused(&mut stage, &reference, &[cause, &reference]).await;
    }
}

#[tokio::test]
async fn bad_input_tampered_after_signing() {
    let mut stage = Stage::start().await;
    let tampered = stage.keys.sign_and_tamper(&guest("http-hello"), TEXT.0, TEXT.1);
    let reference = stage.registry.put("tampered", "1.0.0", &tampered).await;
    assert_refused(&mut stage, &reference, &["was changed after it was signed", &reference]).await;
}

#[tokio::test]
async fn bad_input_tampered_local_file() {
    let mut stage = Stage::start().await;
    let tampered = stage.keys.sign_and_tamper(&guest("http-hello"), TEXT.0, TEXT.1);
    let file = stage.cli.folder().join("tampered.wasm");
    std::fs::write(&file, tampered).unwrap();
    let reference = format!("file://{}", file.canonicalize().unwrap().display());
    assert_refused(&mut stage, &reference, &["was changed after it was signed", &reference]).await;
}

#[tokio::test]
async fn bad_input_claims_expired() {
    let mut stage = Stage::start().await;
    let expires = now() - HOUR;
    let expired = sign_for(&stage.keys, &guest("http-hello"), None, Some(expires));
    let reference = stage.registry.put("expired", "1.0.0", &expired).await;
    assert_refused(&mut stage, &reference, &["expired", &expires.to_string(), &reference]).await;
}

#[tokio::test]
async fn bad_input_claims_not_yet_valid() {
    let mut stage = Stage::start().await;
    let begin = now() + HOUR;
    let early = sign_for(&stage.keys, &guest("http-hello"), Some(begin), None);
    let reference = stage.registry.put("early", "1.0.0", &early).await;
    assert_refused(&mut stage, &reference, &["not valid before", &begin.to_string(), &reference]).await;
}

#[tokio::test]
async fn bad_input_unknown_issuer() {
    let mut stage = Stage::start().await;
    let stranger = Keys::generate();
    let reference = stage.registry.put("strange", "1.0.0", &stranger.sign(&guest("http-hello"))).await;
    let account = stranger.public_key();
    assert_refused(&mut stage, &reference, &["does not trust", &account, &reference, "--trusted-issuer"])
        .await;
}

#[tokio::test]
async fn bad_input_unsigned_where_signed_is_required() {
    let mut stage = Stage::start().await;
    let reference = stage.registry.put("unsigned", "1.0.0", &guest("http-hello")).await;
    assert_refused(&mut stage, &reference, &["is not signed", "wattle claims sign", &reference]).await;
}

#[tokio::test]
async fn bad_input_missing_tag() {
    let mut stage = Stage::start().await;
    stage.push("http-hello").await;
    for name in ["http-hello:2.0.0", "no-such-repository:1.0.0"] {
        let reference = stage.registry.reference(name);
        assert_refused(&mut stage, &reference, &["does not exist in its registry", &reference]).await;
    }
}

#[tokio::test]
async fn bad_input_tag_latest() {
    let mut stage = Stage::start().await;
    let signed = stage.keys.sign(&guest("http-hello"));
    stage.registry.put("http-hello", "latest", &signed).await;
    // No tag means `latest` as well.
    for name in ["http-hello:latest", "http-hello"] {
        let reference = stage.registry.reference(name);
        assert_refused(&mut stage, &reference, &["latest", "--allow-latest", &reference]).await;
    }
}

#[tokio::test]
async fn bad_input_digest_mismatch() {
    let mut stage = Stage::start().await;
    let signed = stage.keys.sign(&guest("http-hello"));
    let reference = stage.registry.put("mismatch", "1.0.0", &signed).await;
    // What the registry now gives is sound and signed by a trusted account: but it is not what the manifest names.
    let other = stage.keys.sign(&guest("misbehave"));
    let mut other = other[..other.len().min(signed.len())].to_vec();
    other.resize(signed.len(), 0);
    std::fs::write(stage.registry.blob(&sha256(&signed)), &other).unwrap();
    let (expected, actual) = (sha256(&signed), sha256(&other));
    assert_refused(&mut stage, &reference, &["does not match its digest", &expected, &actual]).await;
}

#[tokio::test]
async fn bad_input_manifest_digest_mismatch() {
    let mut stage = Stage::start().await;
    let signed = stage.keys.sign(&guest("http-hello"));
    let digest = stage.registry.put_as("pinned", "1.0.0", &signed, wattle_tests::WASM_LAYER).await;
    let file = stage.registry.blob(&digest);
    let mut manifest = std::fs::read(&file).unwrap();
    manifest.push(b'\n');
    std::fs::write(&file, &manifest).unwrap();
    let reference = stage.registry.reference(&format!("pinned@{digest}"));
    assert_refused(&mut stage, &reference, &["does not match its digest", &digest, &sha256(&manifest)]).await;
}

#[tokio::test]
async fn bad_input_import_that_nothing_provides() {
    const INTERFACE: &str = "acme:missing/thing@1.2.0";
    let mut stage = Stage::start().await;
    let reference = stage.push("needs-import").await;
    // It starts, because a link may come at any time.
    stage.start_component(&reference, "needy", &[]).await.ok();
    let url = stage.expose("needy").await;
    let missing = eventually("the inventory to name the missing link", DEADLINE, || async {
        let inventory = stage.inventory().await;
        let entry = inventory["components"].as_array()?.iter().find(|entry| entry["id"] == "needy")?;
        entry["reason"].as_str().map(str::to_owned)
    })
    .await;
    assert!(missing.contains(INTERFACE) && missing.contains("no link"), "{missing}");
    // A call of it fails, and the operator is told for want of what.
    let answer = eventually("the component to be called", DEADLINE, || async {
        http(&url).await.ok().filter(|answer| answer.status != 503)
    })
    .await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let log = stage.host.wait_for_log("status=500").await;
    for word in [format!("calling {INTERFACE}.answer failed"), "no link named `default`".to_owned()] {
        assert!(log.contains(&word), "the log does not say `{word}`: {log}");
    }
    stage.assert_host_lives().await;
}
