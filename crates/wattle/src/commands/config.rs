//! `wattle config`: named configs, which components, providers and links refer to.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, not_found};
use crate::names::config_name;
use crate::output::{Done, Output, table};
use crate::settings::value::pair;

/// Put, show and delete named configs
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a config, which takes the place of one of that name
    #[command(after_help = "Example: wattle config put http-config address=0.0.0.0:8080")]
    Put {
        /// Its name
        #[arg(value_parser = config_name)]
        name: String,
        /// What it says
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = pair)]
        values: Vec<(String, String)>,
    },
    /// Show a config
    #[command(after_help = "Example: wattle config get http-config")]
    Get {
        /// Its name
        #[arg(value_parser = config_name)]
        name: String,
    },
    /// Delete a config
    #[command(alias = "delete", after_help = "Example: wattle config del http-config")]
    Del {
        /// Its name
        #[arg(value_parser = config_name)]
        name: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: ConfigArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        ConfigCommand::Put { name, values } => {
            let client = Client::connect(context).await?;
            let values: BTreeMap<String, String> = values.into_iter().collect();
            client.control.put_config(&name, &values).await?;
            context.print(&Done::new(format!("config `{name}` is written"), Named { name }))
        }
        ConfigCommand::Get { name } => show(&name, context).await,
        ConfigCommand::Del { name } => {
            let client = Client::connect(context).await?;
            if client.control.get_config(&name).await?.is_none() {
                return Err(no_config(&name, &client));
            }
            client.control.delete_config(&name).await?;
            context.print(&Done::new(format!("config `{name}` is deleted"), Named { name }))
        }
    }
}

/// Prints a config.
///
/// # Errors
/// When there is none of that name.
pub(crate) async fn show(name: &str, context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    match client.control.get_config(name).await? {
        Some(values) => context.print(&ConfigOutput(values)),
        None => Err(no_config(name, &client)),
    }
}

fn no_config(name: &str, client: &Client) -> anyhow::Error {
    not_found(format!("there is no config `{name}` in lattice `{}`", client.lattice()))
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ConfigOutput(BTreeMap<String, String>);

impl Output for ConfigOutput {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|(key, value)| [key.clone(), value.clone()]);
        table(["KEY", "VALUE"], rows, "the config is empty")
    }
}
