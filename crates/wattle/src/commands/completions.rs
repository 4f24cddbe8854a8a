//! `wattle completions`: scripts that let a shell complete commands.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Exit;

/// Print a script that lets a shell complete wattle's commands
#[derive(Debug, Args)]
#[command(
    after_help = "Example: wattle completions bash > ~/.local/share/bash-completion/completions/wattle"
)]
pub(crate) struct CompletionsArgs {
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wattle", &mut script);
    crate::output::write_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
