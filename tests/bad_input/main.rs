//! Bad input gets a clear error, changes nothing, and the host lives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod addresses;
mod artifacts;
mod cache;
mod config_file;
mod control;
mod data_folder;
mod identity;
mod jetstream;
mod nats;
mod registries;
mod runtime;

use serde_json::json;
use wattle_tests::Stage;

/// The component that is refused.
const BAD: &str = "bad";

/// Starting this reference fails, and whoever is told why is told all of these words; nothing changes, and the host
/// lives.
async fn assert_refused(stage: &mut Stage, reference: &str, words: &[&str]) {
    let before = stage.inventory().await;
    let count = stage.events.named("component_scale_failed").len();
    stage.start_component(reference, BAD, &[]).await.failed(words);

    let mut event =
        stage.events.wait_for("component_scale_failed", |data| data["image_ref"] == reference).await;
    let error = event["error"].take();
    for word in words {
        assert!(error.as_str().unwrap().contains(word), "the event does not say `{word}`: {error}");
    }
    let expected = json!({
        "annotations": {}, "component_id": BAD, "host_id": stage.host.id(), "image_ref": reference,
        "max_instances": 1000, "error": null,
    });
    event.as_object_mut().unwrap().remove("public_key");
    assert_eq!(event, expected);
    assert_eq!(stage.events.named("component_scale_failed").len(), count + 1, "one refusal is one event");
    assert!(!stage.events.named("component_scaled").iter().any(|data| data["component_id"] == BAD));

    let after = stage.inventory().await;
    for part in ["components", "providers", "labels", "problems"] {
        assert_eq!(after[part], before[part], "{part} of the inventory");
    }
    let list = std::fs::read_to_string(stage.host.data_dir().join("running.json")).unwrap_or_default();
    assert!(!list.contains(BAD), "what was refused is not started after a restart either: {list}");
    stage.assert_host_lives().await;
}
