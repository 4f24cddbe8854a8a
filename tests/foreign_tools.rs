//! The crates of wasmCloud 1.x drive a running host, and its signatures and ours are understood on both sides.
//! The programs that do so are a workspace of their own, `tests/foreign`, so that old dependencies stay out of
//! this one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

use serde_json::json;
use wattle_tests::{GREETING, Stage, foreign, free_address, guest, guest_path, program, reworded};

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
    foreign("control_interface_client", &settings).await;
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
    foreign("foreign_signatures", &settings).await;
}
