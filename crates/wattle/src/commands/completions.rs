//! `wattle completions`: scripts that let a shell complete commands.

use clap::{Args, Command, CommandFactory as _};
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
    clap_complete::generate(args.shell, &mut shown(), "wattle", &mut script);
    crate::output::write_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}

/// The command line without what is hidden in it.
fn shown() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("wattle").args(all.get_arguments().cloned()).subcommands(shown.collect::<Vec<_>>())
}
