//! Programs made of other projects' crates, in a workspace of their own: `tests/foreign`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long one of the programs may take. Where it was not built ahead, as `cargo xtask test` does, it is now.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Runs one of the programs with these settings.
///
/// # Panics
/// When it fails; the message has its output.
pub async fn foreign(test: &str, settings: &[(&str, String)]) {
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
