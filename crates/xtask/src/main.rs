//! The project's own commands, run as `cargo xtask COMMAND`. Continuous integration runs exactly these.
//!
//! **Invariant**: a command that ends with exit code 0 did all of what it says, and no process that it started is left.

mod bench;
mod demo;
mod guests;
mod layout;
mod lease;
mod process;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::layout::Layout;

const HELP: &str = "\
usage: cargo xtask COMMAND

commands:
  setup               fetch what the other commands need and this machine lacks: nats-server, an OCI registry,
                      a Rust toolchain for WebAssembly components, rustfmt and clippy
  guests              build the example component and the test components
  test [-- ARGS]      set up, check formatting and lints, build, run every test; ARGS go to `cargo test`, and with
                      them only what those tests need is done (`cargo xtask test -- NAME`)
  demo [--once]       show a component answer an HTTP request over a lattice on this machine, stay up until ctrl-c;
                      --once ends after the answer, with exit code 0 only if it was right
  bench calls [-o json]
                      what a call costs, sealed and local, beside raw NATS in the same run
  help                this text

environment:
  CARGO_TARGET_DIR    where everything is built (otherwise wattle/target in the user's cache folder)
  XDG_CACHE_HOME      the user's cache folder (otherwise $HOME/.cache)
  WATTLE_NATS_SERVER  the nats-server to use
  WATTLE_REGISTRY     the docker-registry to use
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["setup"] => {
            let layout = Layout::find()?;
            process::step("setup", || {
                setup::find_or_install_checks(&layout)?;
                setup::everything(&layout)
            })?;
        }
        ["guests"] => {
            let layout = Layout::find()?;
            let tools = process::step("setup", || setup::everything(&layout))?;
            process::step("guests", || guests::build_all(&layout, &tools.guests))?;
        }
        ["test"] => test::everything(&Layout::find()?)?,
        ["test", "--", filter @ ..] => test::only(&Layout::find()?, filter)?,
        ["demo"] => demo::run(&Layout::find()?, demo::Until::Interrupted)?,
        ["demo", "--once"] => demo::run(&Layout::find()?, demo::Until::Answered)?,
        ["bench", "calls", arguments @ ..] => bench::one(&Layout::find()?, "calls", arguments)?,
        ["bench", rest @ ..] => bail!("there is no benchmark `{}`\n\n{HELP}", rest.join(" ")),
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        [command @ ("setup" | "guests" | "test" | "demo"), rest @ ..] => {
            bail!("`cargo xtask {command}` does not take `{}`\n\n{HELP}", rest.join(" "))
        }
        [unknown, ..] => bail!("there is no command `{unknown}`\n\n{HELP}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::run;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        run(&arguments).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_command_is_refused_with_the_list_of_commands() {
        let refusal = refusal(&["frobnicate"]);
        assert!(refusal.starts_with("there is no command `frobnicate`"), "{refusal}");
        for command in ["setup", "guests", "test", "demo", "bench", "help"] {
            assert!(refusal.contains(&format!("\n  {command}")), "{command} is missing in {refusal}");
        }
    }

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        assert!(refusal(&["demo", "--twice"]).starts_with("`cargo xtask demo` does not take `--twice`"));
        assert!(refusal(&["test", "name"]).starts_with("`cargo xtask test` does not take `name`"));
    }
}
