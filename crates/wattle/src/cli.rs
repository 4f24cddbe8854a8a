//! The command line.

use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{
    call, claims, cluster, completions, config, exec_child, get, host, keys, label, link, par, pull, push,
    scale, spy, start, stop, up, update,
};
use crate::context::Context;
use crate::failure::Exit;
use crate::output::Format;
use crate::settings::value::seconds;
use crate::settings::{ConnectionFlags, Variables};

/// Run signed WebAssembly components on a NATS lattice.
#[derive(Debug, Parser)]
#[command(
    name = "wattle",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 failed; 2 the command line or a setting is wrong; 3 what was named does not \
                  exist; 4 no answer in time.\n\
                  Example: wattle up"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print a table for people, or JSON for programs
    #[arg(long, short = 'o', global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// How long to wait for an answer or an outcome, such as 5s or 500ms
    #[arg(long, global = true, value_name = "TIME", value_parser = seconds)]
    timeout: Option<Duration>,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::UpArgs>),
    Host(Box<host::HostArgs>),
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Scale(scale::ScaleArgs),
    Update(update::UpdateArgs),
    Call(call::CallArgs),
    Spy(spy::SpyArgs),
    Link(link::LinkArgs),
    Config(config::ConfigArgs),
    Get(get::GetArgs),
    Label(label::LabelArgs),
    Keys(keys::KeysArgs),
    Claims(claims::ClaimsArgs),
    Cluster(cluster::ClusterArgs),
    Par(par::ParArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    ExecChild(exec_child::ExecChildArgs),
}

impl Cli {
    /// Reads the command line of this process. Unlike clap's own way, this leaves the errors of settings as they are,
    /// without the usage of `wattle`, which has nothing to do with them.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::command().try_get_matches()?)
    }

    /// The form of the output, also of errors.
    pub(crate) fn format(&self) -> Format {
        self.output
    }

    /// Whether the command runs a host, and writes logs as it is told.
    pub(crate) fn runs_a_host(&self) -> bool {
        matches!(self.command, Command::Up(_) | Command::Host(_))
    }

    /// The hidden command that becomes another program.
    pub(crate) fn exec_child(&self) -> Option<&exec_child::ExecChildArgs> {
        match &self.command {
            Command::ExecChild(args) => Some(args),
            _ => None,
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let context = Context {
            format: self.output,
            timeout: self.timeout,
            variables: Variables::of_this_process(),
            connection: self.connection.0,
        };
        match self.command {
            Command::Up(args) => up::run(*args, &context).await,
            Command::Host(args) => host::run(*args, &context).await,
            Command::Start(args) => start::run(args, &context).await,
            Command::Stop(args) => stop::run(args, &context).await,
            Command::Scale(args) => scale::run(args, &context).await,
            Command::Update(args) => update::run(args, &context).await,
            Command::Call(args) => call::run(args, &context).await,
            Command::Spy(args) => spy::run(args, &context).await,
            Command::Link(args) => link::run(args, &context).await,
            Command::Config(args) => config::run(args, &context).await,
            Command::Get(args) => get::run(args, &context).await,
            Command::Label(args) => label::run(args, &context).await,
            Command::Keys(args) => keys::run(args, &context),
            Command::Claims(args) => claims::run(args, &context).await,
            Command::Cluster(args) => cluster::run(args, &context).await,
            Command::Par(args) => par::run(args, &context).await,
            Command::Push(args) => push::run(args, &context).await,
            Command::Pull(args) => pull::run(args, &context).await,
            Command::Completions(args) => completions::run(&args),
            Command::ExecChild(args) => exec_child::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Key, Settings};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_help_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let children: Vec<_> = command.get_subcommands().filter(|child| !child.is_hide_set()).collect();
            for child in &children {
                check(child, &format!("{path} {}", child.get_name()));
            }
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            if children.is_empty() && command.get_name() != "help" {
                let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.contains("Example: wattle"), "{path} shows no example");
            }
        }
        check(&Cli::command(), "wattle");
    }

    #[test]
    fn global_flags_may_stand_before_and_after_the_command() {
        for line in [
            "wattle --lattice lab -o json --timeout 500ms get hosts",
            "wattle get hosts --lattice lab -o json --timeout 500ms",
            "wattle get -x lab hosts -o json --timeout 500ms",
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.format(), Format::Json, "{line}");
            assert_eq!(cli.timeout, Some(Duration::from_millis(500)), "{line}");
            assert_eq!(Settings::new([cli.connection.0]).text(Key::Lattice), Some("lab"), "{line}");
        }
    }

    #[test]
    fn actor_means_component() {
        for line in [
            "wattle start actor registry.example/a:1 a",
            "wattle stop actor a",
            "wattle scale actor a 5",
            "wattle update actor a registry.example/a:2",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
