//! `wattle update`: replace the code of a running component.

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_protocol::control::UpdateComponent;

use crate::artifacts::control_reference;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Exit;
use crate::names::component_id;
use crate::outcome::{self, Wait};
use crate::output::Done;

use super::running::running_components;

/// Replace the code of a running component
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(subcommand)]
    command: UpdateCommand,
}

#[derive(Debug, Subcommand)]
enum UpdateCommand {
    /// Replace the code of a component, wherever it runs; calls go on meanwhile
    #[command(
        alias = "actor",
        after_help = "Example: wattle update component hello registry.example/shop/hello:1.1.0"
    )]
    Component {
        /// Its id
        #[arg(value_parser = component_id)]
        id: String,
        /// The new reference
        reference: String,
        /// Only on this host: its id, the beginning of it, or a part of its name
        #[arg(long, visible_alias = "host-id", value_name = "HOST")]
        host: Option<String>,
        /// Return once the hosts have accepted the command
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Debug, Serialize)]
struct Updated {
    id: String,
    reference: String,
    /// Where its code was replaced.
    host_ids: Vec<String>,
    /// Where it ran from that reference already.
    unchanged_host_ids: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: UpdateArgs, context: &Context) -> anyhow::Result<Exit> {
    let UpdateCommand::Component { id, reference, host, no_wait } = args.command;
    let reference = control_reference(&reference)?;
    let wait = Wait::of(no_wait, context);
    let client = Client::connect(context).await?;
    let (mut host_ids, mut unchanged_host_ids) = (Vec::new(), Vec::new());
    for (host_id, component) in running_components(&client, &id, host.as_deref()).await? {
        if component.image_ref == reference {
            unchanged_host_ids.push(host_id);
            continue;
        }
        let request = UpdateComponent {
            component_id: id.clone(),
            annotations: component.annotations,
            host_id: host_id.clone(),
            new_component_ref: reference.clone(),
        };
        outcome::update(&client, &host_id, &request, wait).await?;
        host_ids.push(host_id);
    }
    let sentence = match host_ids.as_slice() {
        [] => format!("component `{id}` runs from {reference} already"),
        hosts if no_wait => {
            format!("component `{id}` is being updated to {reference} on {}", hosts.join(", "))
        }
        hosts => format!("component `{id}` runs from {reference} on {}", hosts.join(", ")),
    };
    context.print(&Done::new(sentence, Updated { id, reference, host_ids, unchanged_host_ids }))
}
