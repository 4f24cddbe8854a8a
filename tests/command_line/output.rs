//! What is printed, where to, and how it looks.

use serde_json::{Value, json};
use wattle_tests::{Cli, Host, HostOptions, Nats, Outcome, Stage, daemon, guest, program};

/// The character with which a terminal's control sequences begin.
const ESCAPE: char = '\x1b';

#[tokio::test]
async fn nothing_but_text_goes_where_no_terminal_is() {
    let stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let plain = Cli::new(&stage.nats).env("NO_COLOR", "");
    for words in [
        &["get", "hosts"][..],
        &["get", "inventory"],
        &["get", "claims"],
        &["--help"],
        &["host", "--help"],
        &["frobnicate"],
        &["get", "config", "nothing"],
        &["scale", "component", "hello", "5"],
    ] {
        let Outcome { stdout, stderr, line, .. } = plain.run(words).await;
        assert!(!stdout.contains(ESCAPE) && !stderr.contains(ESCAPE), "{line}:\n{stdout}\n{stderr}");
    }
    let folder = tempfile::tempdir().unwrap();
    let url = stage.nats.url();
    let host = daemon(folder.path(), ["host", "--nats-url", &url], &[("NO_COLOR", "")]);
    host.wait_for_log("host is ready").await;
    assert!(!host.log().contains(ESCAPE), "{}", host.log());
}

/// Runs a command that fails, on a terminal, and gives what that shows.
async fn on_a_terminal(variables: &str) -> String {
    let wattle = program("wattle");
    let line = format!("env {variables} {} keys get nobody", wattle.display());
    let folder = tempfile::tempdir().unwrap();
    let mut script = tokio::process::Command::new("script");
    script.args(["--quiet", "--command", &line, "/dev/null"]).stdin(std::process::Stdio::null());
    script.env("HOME", folder.path()).env_remove("NO_COLOR").env("TERM", "xterm").kill_on_drop(true);
    let output = wattle_tests::within("a command on a terminal", script.output()).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("nobody"), "{shown}");
    shown
}

#[tokio::test]
async fn colours_are_for_terminals_and_no_color_turns_them_off() {
    assert!(on_a_terminal("A=b").await.contains(ESCAPE), "a terminal shows colours");
    assert!(!on_a_terminal("NO_COLOR=1").await.contains(ESCAPE));
}

#[tokio::test]
async fn results_go_to_standard_output_and_all_else_to_standard_error() {
    let stage = Stage::start().await;
    let first = stage.push("http-hello").await;
    stage.start_component(&first, "hello", &[]).await.ok();
    let scaled = stage.cli.run(["scale", "component", "hello", "3", "-o", "json"]).await.ok();
    assert_eq!((&scaled.json()["count"], scaled.stderr.as_str()), (&json!(3), ""));
    // Another reference without an update: it is scaled, and not what was asked for.
    let second = stage.keys.sign(&guest("misbehave"));
    let other = stage.registry.put("http-hello", "2.0.0", &second).await;
    let outcome = stage.start_component(&other, "hello", &["--count", "4", "-o", "json"]).await;
    let outcome = outcome.failed(&["warning:", "{\"error\":", &first, "--allow-update"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    let component = stage.running().await[0][0].take();
    assert_eq!((&component["image_ref"], &component["max_instances"]), (&json!(first), &json!(4)));
    stage.start_component(&other, "hello", &["--count", "5", "--allow-update"]).await.ok();
    let component = stage.running().await[0][0].take();
    assert_eq!((&component["image_ref"], &component["max_instances"]), (&json!(other), &json!(5)));
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let nats = Nats::start().await;
    let options = HostOptions::new().arg("--log-format").arg("json").arg("--allow-file-load");
    let mut host = Host::start(&nats, options).await;
    let cli = Cli::new(&nats);
    cli.run(["start", "component", "registry.example/none:latest", "hello"]).await.failed(&["latest"]);
    host.term();
    host.wait_exit().await;
    let log = host.log();
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(entry[field].is_string(), "no {field}: {line}");
        }
    }
    let refused = log.lines().find(|line| line.contains("\"component\":\"hello\""));
    assert!(refused.is_some_and(|line| line.contains("\"level\":\"WARN\"")), "{log}");
}
