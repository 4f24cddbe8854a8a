//! Every command explains itself.

use wattle_tests::Cli;

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_command_has_a_help_with_an_example() {
    let cli = Cli::anywhere();
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    let mut leaves = Vec::new();
    while let Some(path) = left.pop() {
        let help = cli.run(path.iter().map(String::as_str).chain(["--help"])).await.ok();
        assert!(help.stdout.contains("Usage: wattle"), "{help}");
        assert_eq!(help.stderr, "");
        let children = commands(&help.stdout);
        if children.is_empty() {
            let line = format!("Example: wattle {}", path.join(" "));
            assert!(help.stdout.contains(&line), "there is no `{line}`: {help}");
            cli.run(path.iter().map(String::as_str).chain(["-h"])).await.ok();
            leaves.push(path.join(" "));
        }
        left.extend(children.into_iter().map(|child| path.iter().cloned().chain([child]).collect()));
    }
    for command in [
        "host",
        "up",
        "keys gen",
        "keys get",
        "keys list",
        "claims sign",
        "claims inspect",
        "cluster issue",
        "cluster inspect",
        "cluster revoke",
        "push",
        "pull",
        "start component",
        "stop component",
        "scale component",
        "update component",
        "start provider",
        "stop provider",
        "link put",
        "link get",
        "link del",
        "config put",
        "config get",
        "config del",
        "get hosts",
        "get inventory",
        "get links",
        "get claims",
        "get config",
        "label",
        "stop host",
        "completions",
    ] {
        assert!(leaves.iter().any(|leaf| leaf == command), "`wattle {command}` is missing: {leaves:?}");
    }
}

#[tokio::test]
async fn the_help_of_a_host_names_flags_variables_and_fields() {
    let help = Cli::anywhere().run(["host", "--help"]).await.ok().stdout;
    for name in [
        "--nats-url",
        "--lattice",
        "--js-domain",
        "--label",
        "--config",
        "--allow-file-load",
        "WATTLE_LATTICE",
        "WASMCLOUD_JS_DOMAIN",
        "WASMCLOUD_CLUSTER_SEED",
        "WASMCLOUD_CLUSTER_ISSUERS",
        "HOST_CONFIG",
        "cluster_issuers",
        "WATTLE_CLUSTER_CERTIFICATE",
        "--print-key",
        "--log-format",
        "--admin-address",
        "--fresh",
    ] {
        assert!(help.contains(name), "`{name}` is not in the help");
    }
}

#[tokio::test]
async fn the_exit_codes_are_in_the_help_and_without_a_command_the_help_is_shown() {
    let cli = Cli::anywhere();
    let help = cli.run(["--help"]).await.ok().stdout;
    let codes = help
        .split_once("Exit codes:")
        .map(|(_, codes)| codes.split_whitespace().collect::<Vec<_>>().join(" "));
    let codes = codes.unwrap();
    for code in [
        "0 done",
        "1 failed",
        "2 the command line or a setting is wrong",
        "3 what was named does not exist",
        "4 no answer in time",
    ] {
        assert!(codes.contains(code), "{codes}");
    }
    let nothing = cli.run(Vec::<&str>::new()).await;
    assert!(nothing.code == Some(2) && nothing.stderr.contains("Usage: wattle"), "{nothing}");
    assert!(cli.run(["--version"]).await.ok().stdout.starts_with("wattle 0."));
}

#[tokio::test]
async fn completion_scripts_know_the_commands() {
    let cli = Cli::anywhere();
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.run(["completions", shell]).await.ok().stdout;
        for word in ["inventory", "component", "trusted-issuer"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    // What bash is given, it can read.
    let script = cli.run(["completions", "bash"]).await.ok().stdout;
    std::fs::write(cli.folder().join("wattle.bash"), script).unwrap();
    let check = std::process::Command::new("bash").arg("-n").arg(cli.folder().join("wattle.bash")).status();
    assert!(check.unwrap().success());
}

#[tokio::test]
async fn a_command_that_is_not_for_people_is_not_offered_to_them() {
    let cli = Cli::anywhere();
    for words in
        [&["--help"][..], &["completions", "bash"], &["completions", "zsh"], &["completions", "fish"]]
    {
        let shown = cli.run(words).await.ok().stdout;
        assert!(!shown.contains("exec-child"), "`wattle {}` shows it", words.join(" "));
    }
}
