//! Credential helpers of docker. A helper is found on PATH, which a test may not change for its own process, so the
//! test runs itself again with another PATH.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use wattle_artifact::{Credentials, Registries};

const CONFIG: &str = "WATTLE_TEST_DOCKER_CONFIG";

#[tokio::test]
async fn helpers_are_asked() {
    match env::var_os(CONFIG) {
        Some(config) => ask(Path::new(&config)).await,
        None => run_again(),
    }
}

fn run_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"credHelpers": {"registry.example": "test", "failing.example": "fail"}}"#)
        .unwrap();
    for (name, script) in [
        ("test", r#"read -r host; printf '{"Username": "alice", "Secret": "for %s"}' "$host""#),
        ("fail", "cat >/dev/null; exit 1"),
    ] {
        let helper = folder.path().join(format!("docker-credential-{name}"));
        fs::write(&helper, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), env::var("PATH").unwrap());
    let output =
        Command::new(env::current_exe().unwrap()).env("PATH", path).env(CONFIG, config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn ask(config: &Path) {
    let registries = Registries::default().with_docker_config(Some(config.to_owned()));
    let expected = Credentials::Basic {
        username: "alice".to_owned(),
        password: "for registry.example".to_owned().into(),
    };
    assert_eq!(registries.credentials_for("registry.example").await, Some(expected));
    assert_eq!(registries.credentials_for("failing.example").await, None);
    assert_eq!(registries.credentials_for("unnamed.example").await, None);
}
