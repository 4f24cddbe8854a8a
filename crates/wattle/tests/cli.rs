//! The program itself, as far as it needs neither NATS nor a registry.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};

const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn wattle(home: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(words)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .output()
        .unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_component_is_signed_and_inspected() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let line = ["claims", "sign", "hello.wasm", "--tag", "a", "--tag", "b", "-o", "json"];
    let signed = wattle(home, &line);
    assert!(signed.status.success(), "{}", errors(&signed));
    assert!(errors(&signed).contains("default-account"), "the new key is announced");

    let inspected = wattle(home, &["claims", "inspect", "hello_s.wasm", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(0));
    let said = json(&inspected);
    assert_eq!((said["kind"].as_str(), said["name"].as_str()), (Some("component"), Some("hello")));
    assert_eq!(said["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(said["subject"], json(&signed)["subject"]);
    let key = wattle(home, &["keys", "get", "default-account", "-o", "json"]);
    assert_eq!(said["issuer"], json(&key)["public_key"]);

    let again = wattle(home, &line);
    assert_eq!(json(&again)["subject"], said["subject"], "the component keeps its id");
    assert_eq!(errors(&again), "");

    let unsigned = wattle(home, &["claims", "inspect", "hello.wasm", "-o", "json"]);
    assert_eq!(unsigned.status.code(), Some(1));
    assert_eq!(json(&unsigned)["valid"], false);
}

#[test]
fn a_signature_from_the_past_is_told_from_one_that_holds() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let later = wattle(
        home,
        &["claims", "sign", "hello.wasm", "--not-before-in-days", "1", "--destination", "later.wasm"],
    );
    assert!(later.status.success(), "{}", errors(&later));
    let inspected = wattle(home, &["claims", "inspect", "later.wasm", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(1));
    assert!(json(&inspected)["problem"].as_str().unwrap().contains("not valid before"));
}

#[test]
fn a_core_module_is_signed_with_a_warning_that_helps() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let signed = wattle(home, &["claims", "sign", "core.wasm"]);
    assert!(signed.status.success());
    assert!(errors(&signed).contains("wasm-tools component new"), "{}", errors(&signed));
}

#[test]
fn a_provider_archive_is_made_and_inspected() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("program"), "#!/bin/sh").unwrap();
    let line = [
        "par",
        "create",
        "--name",
        "kv",
        "--vendor",
        "acme",
        "--binary",
        "x86_64-linux=program",
        "-d",
        "kv.par.gz",
    ];
    let made = wattle(home, &line);
    assert!(made.status.success(), "{}", errors(&made));
    let inspected = wattle(home, &["par", "inspect", "kv.par.gz", "-o", "json"]);
    assert_eq!(inspected.status.code(), Some(0));
    let said = json(&inspected);
    assert_eq!((said["kind"].as_str(), said["vendor"].as_str()), (Some("provider"), Some("acme")));
    assert!(said["target_hashes"]["x86_64-linux"].is_string());
}

#[test]
fn errors_have_codes_and_a_form_for_programs() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (line, code) in [
        (&["keys", "get", "nobody", "-o", "json"][..], 3),
        (&["claims", "inspect", "missing.wasm", "-o", "json"], 3),
        (&["push", "registry.example/a:1", "missing.wasm", "-o", "json"], 3),
        (&["push", "registry.example/a", "missing.wasm", "-o", "json"], 2),
        (&["start", "component", "registry.example/a:1", "not.an.id", "-o", "json"], 2),
        (&["get", "hosts", "--nats-url", "nats://127.0.0.1:1", "-o", "json"], 1),
        (&["host", "--config", "missing.json", "-o", "json"], 3),
        (&["host", "--nats-url", "nats://ada:hunter2@hub", "-o", "json"], 2),
        (&["host", "--cluster-seed", "BAD", "-o", "json"], 2),
        (&["host", "--allow-insecure", "http://hub", "-o", "json"], 2),
        (&["up", "--nats-port", "0", "-o", "json"], 2),
    ] {
        let output = wattle(home, line);
        assert_eq!(output.status.code(), Some(code), "{line:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        let error = error["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("hunter2"), "{line:?}");
        assert!(output.stdout.is_empty(), "{line:?}");
    }
}

#[test]
fn a_bad_setting_is_told_without_the_usage_of_the_program() {
    let home = tempfile::tempdir().unwrap();
    let refused = wattle(home.path(), &["host", "--cluster-seed", "BAD"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = errors(&refused);
    assert!(told.starts_with("error: --cluster-seed: ") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_bad_seed_in_the_environment_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["claims", "sign", "hello.wasm"])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("WATTLE_ISSUER_SEED", "SABAD")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", errors(&refused));
    assert!(errors(&refused).contains("WATTLE_ISSUER_SEED") && !errors(&refused).contains("SABAD"));
}

#[test]
fn swapped_words_of_push_are_noticed() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("hello.wasm"), EMPTY_COMPONENT).unwrap();
    let refused = wattle(home.path(), &["push", "hello.wasm", "registry.example/hello:1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("the reference comes first"), "{}", errors(&refused));
}

#[test]
fn up_explains_the_flags_that_mean_something_else_there() {
    let home = tempfile::tempdir().unwrap();
    let help = wattle(home.path(), &["up", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for part in ["[default: core]", "wattle/up]", "--data-dir"] {
        assert!(help.contains(part), "{help}");
    }
    assert!(!help.contains("./host_config.json") && !help.contains("the NATS server's own"), "{help}");
}

#[test]
fn a_key_is_printed_once_or_kept() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let printed = json(&wattle(home, &["keys", "gen", "account", "-o", "json"]));
    assert_eq!(printed["kind"], "account");
    assert!(printed["seed"].as_str().unwrap().starts_with("SA"));
    let kept = json(&wattle(home, &["keys", "gen", "cluster", "--name", "lab", "-o", "json"]));
    assert!(kept.get("seed").is_none());
    let shown = json(&wattle(home, &["keys", "get", "lab", "--seed", "-o", "json"]));
    assert!(shown["seed"].as_str().unwrap().starts_with("SC"));
    let list = json(&wattle(home, &["keys", "list", "-o", "json"]));
    assert_eq!(list[0]["public_key"], kept["public_key"]);
}

#[test]
fn every_shell_gets_its_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = wattle(home.path(), &["completions", shell]);
        assert!(script.status.success());
        assert!(String::from_utf8_lossy(&script.stdout).contains("inventory"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
mod children {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_child_dies_with_its_parent_even_when_that_is_killed() {
        let mut parent = Command::new("sh")
            .arg("-c")
            .arg("\"$0\" exec-child --parent $$ -- sleep 600 & echo $!; wait")
            .arg(env!("CARGO_BIN_EXE_wattle"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let status = format!("/proc/{}/cmdline", line.trim());
        let command = || std::fs::read_to_string(&status).unwrap_or_default();
        until("the child has become the other program", || command().starts_with("sleep"));
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the child is gone", || command().is_empty());
    }

    #[test]
    fn a_child_of_somebody_else_does_not_start() {
        let home = tempfile::tempdir().unwrap();
        let refused = wattle(home.path(), &["exec-child", "--parent", "1", "--", "touch", "made"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(errors(&refused).contains("not the parent"), "{}", errors(&refused));
        assert!(!home.path().join("made").exists());
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "waited 10 s: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
