//! The crates of wasmCloud 1.x drive a running host, and its signatures and ours are understood on both sides.
//! The programs that do so are a workspace of their own, `tests/foreign`, so that old dependencies stay out of
//! this one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;
use wattle_tests::{GREETING, Stage, free_address, guest, guest_path, program, reworded};

/// How long one of the programs may take. Where it was not built ahead, as `cargo xtask test` does, it is now.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Where those programs are built.
fn target() -> PathBuf {
    let named =
        std::env::var_os("WATTLE_FOREIGN_TARGET").filter(|named| !named.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| {
        let cache =
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
        cache.join("wattle/foreign")
    })
}

/// Runs one of the programs with these settings; it must succeed.
async fn run(test: &str, settings: &[(&str, String)]) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--locked", "--manifest-path"]).arg(manifest).args([
        "--test",
        test,
        "--",
        "--nocapture",
    ]);
    cargo.env("CARGO_TARGET_DIR", target()).envs(settings.iter().map(|(name, value)| (name, value)));
    cargo.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, cargo.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{test} did not end within {PATIENCE:?}")).unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{test} ended with {}:\n{text}", output.status);
    assert!(text.contains("test result: ok. ") && !text.contains("test result: ok. 0 passed"), "{text}");
}

/// Where the host is.
fn place(stage: &Stage) -> Vec<(&'static str, String)> {
    vec![
        ("NATS_URL", stage.nats.url()),
        ("LATTICE", stage.nats.lattice().to_owned()),
        ("HOST_ID", stage.host.id()),
    ]
}

#[tokio::test]
async fn control_interface_client() {
    let mut stage = Stage::start().await;
    let first = stage.push("http-hello").await;
    let second = stage.keys.sign(&reworded(&guest("http-hello"), GREETING, "Hello from Weaver!\n"));
    let second = stage.registry.put("http-hello", "2.0.0", &second).await;
    let mut settings = place(&stage);
    settings.extend([
        ("COMPONENT_REF", first),
        ("COMPONENT_REF_2", second),
        ("PROVIDER_REF", "builtin://http-server".to_owned()),
        ("PROVIDER_CONFIG", json!({ "default_address": free_address() }).to_string()),
    ]);
    run("control_interface_client", &settings).await;
    assert_eq!(stage.host.wait_exit().await.code(), Some(0), "it stops the host at the end");
}

#[tokio::test]
async fn foreign_signatures() {
    let stage = Stage::start().await;
    let mut settings = place(&stage);
    settings.extend([
        ("WATTLE_BIN", program("wattle").display().to_string()),
        ("GUEST", guest_path("http-hello").display().to_string()),
    ]);
    run("foreign_signatures", &settings).await;
}
