//! `wattle scale`: change how many calls of a component may run at once.

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_protocol::control::ScaleComponent;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::names::{component_id, config_name};
use crate::outcome::{self, Wait};
use crate::output::Done;

use super::running::running_components;

/// Change how many calls of a component may run at once
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    #[command(subcommand)]
    command: ScaleCommand,
}

#[derive(Debug, Subcommand)]
enum ScaleCommand {
    /// Change how many calls of a component may run at once
    #[command(alias = "actor", after_help = "Example: wattle scale component hello 50")]
    Component {
        /// Its id
        #[arg(value_parser = component_id)]
        id: String,
        /// Calls that may run at once; 0 stops it
        count: u32,
        /// The host, where several run it: its id, the beginning of it, or a part of its name
        #[arg(long, visible_alias = "host-id", value_name = "HOST")]
        host: Option<String>,
        /// A named config that takes the place of those that it has; repeat it, the last one wins
        #[arg(long = "config", value_name = "NAME", value_parser = config_name)]
        configs: Vec<String>,
        /// Return once the host has accepted the command
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Debug, Serialize)]
struct Scaled {
    host_id: String,
    id: String,
    reference: String,
    count: u32,
}

/// Runs the command.
pub(crate) async fn run(args: ScaleArgs, context: &Context) -> anyhow::Result<Exit> {
    let ScaleCommand::Component { id, count, host, configs, no_wait } = args.command;
    let client = Client::connect(context).await?;
    let running = running_components(&client, &id, host.as_deref()).await?;
    let [(host_id, component)] = <[_; 1]>::try_from(running).map_err(|several| {
        let hosts: Vec<_> = several.into_iter().map(|(host, _)| host).collect();
        let hosts = hosts.join(", ");
        usage(format!("component `{id}` runs on several hosts, say which with --host: {hosts}"))
    })?;
    let request = ScaleComponent {
        component_ref: component.image_ref,
        component_id: id,
        annotations: component.annotations,
        count,
        component_limits: component.limits,
        host_id: host_id.clone(),
        config: if configs.is_empty() { component.config } else { configs },
        allow_update: false,
    };
    outcome::scale(&client, &host_id, &request, Wait::of(no_wait, context)).await?;
    let ScaleComponent { component_id: id, component_ref: reference, .. } = request;
    let verb = if no_wait { "is being scaled to" } else { "has" };
    let sentence = format!("component `{id}` {verb} {count} calls at once on host {host_id}");
    context.print(&Done::new(sentence, Scaled { host_id, id, reference, count }))
}
