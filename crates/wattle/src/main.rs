//! The command line of wattle, and the host that it runs.
//!
//! **Invariant**: no logic that another program could want. What is here reads settings, asks the libraries, and
//! prints what they say.

mod artifacts;
mod child;
mod cli;
mod client;
mod clock;
mod commands;
mod context;
mod failure;
mod folders;
mod keystore;
mod logging;
mod names;
mod nats_server;
mod outcome;
mod output;
mod seat;
mod settings;
mod signals;
mod signing;
mod telemetry;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::failure::{Exit, exit_of, report, usage};
use crate::output::Format;
use anyhow::Context as _;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && wants_json() => {
            let text = error.render().to_string();
            report(&usage(text.trim_start_matches("error: ").trim_end()), Format::Json);
            return Exit::Usage.into();
        }
        Err(error) => error.exit(),
    };
    let format = cli.format();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            report(&error, format);
            exit_of(&error).into()
        }
    }
}

/// Whether a command line that could not be read asked for JSON.
fn wants_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    words.windows(2).any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || words.iter().any(|word| word == "--output=json" || word == "-ojson" || word == "-o=json")
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    if let Some(args) = cli.exec_child() {
        return commands::exec_child::run(args); // before there are other threads
    }
    // TLS, to NATS and to registries, is ring's from here on, whatever the libraries below would choose.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    if !cli.runs_a_host() {
        logging::start(logging::LogFormat::Text, "warn")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(cli.run());
    // What still blocks a thread (a look-up of a name, say) is no reason to stay.
    runtime.shutdown_background();
    result
}
