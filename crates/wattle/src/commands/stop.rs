//! `wattle stop`: stop a component, a provider or a host.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_protocol::control::{ScaleComponent, StopHost, StopProvider};

use crate::client::Client;
use crate::context::Context;
use crate::failure::Exit;
use crate::names::{component_id, provider_id};
use crate::outcome::{self, Wait};
use crate::output::Done;

use super::running::{running_components, running_providers};

/// How long a provider may take to stop.
const PROVIDER: Duration = Duration::from_secs(30);

/// Stop a component, a provider or a host
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(subcommand)]
    command: StopCommand,
}

#[derive(Debug, Subcommand)]
enum StopCommand {
    /// Stop a component, wherever it runs
    #[command(alias = "actor", after_help = "Example: wattle stop component hello")]
    Component {
        /// Its id
        #[arg(value_parser = component_id)]
        id: String,
        #[command(flatten)]
        place: PlaceFlags,
        /// Return once the hosts have accepted the command
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop a provider, wherever it runs
    #[command(after_help = "Example: wattle stop provider http")]
    Provider {
        /// Its id
        #[arg(value_parser = provider_id)]
        id: String,
        #[command(flatten)]
        place: PlaceFlags,
    },
    /// Stop a host: what runs on it finishes first, and runs again when it is started anew
    #[command(after_help = "Example: wattle stop host brave-fox")]
    Host {
        /// The host: its id, the beginning of it, or a part of its name
        host: String,
        /// Let the host forget what it was told to run
        #[arg(long)]
        forget: bool,
        /// Return once the host has accepted the command
        #[arg(long)]
        no_wait: bool,
    },
}

/// The one host that is meant.
#[derive(Debug, Args)]
struct PlaceFlags {
    /// Only on this host: its id, the beginning of it, or a part of its name
    #[arg(long, visible_alias = "host-id", value_name = "HOST")]
    host: Option<String>,
}

#[derive(Debug, Serialize)]
struct Stopped {
    id: String,
    host_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HostStopped {
    host_id: String,
    forgotten: bool,
}

/// Runs the command.
pub(crate) async fn run(args: StopArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        StopCommand::Component { id, place, no_wait } => component(id, place.host, no_wait, context).await,
        StopCommand::Provider { id, place } => provider(id, place.host, context).await,
        StopCommand::Host { host, forget, no_wait } => self::host(&host, forget, no_wait, context).await,
    }
}

async fn component(
    id: String,
    host: Option<String>,
    no_wait: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let mut host_ids = Vec::new();
    for (host_id, component) in running_components(&client, &id, host.as_deref()).await? {
        let request = ScaleComponent {
            component_ref: component.image_ref,
            component_id: id.clone(),
            host_id: host_id.clone(),
            ..ScaleComponent::default()
        };
        outcome::scale(&client, &host_id, &request, Wait::of(no_wait, context)).await?;
        host_ids.push(host_id);
    }
    let verb = if no_wait { "is being stopped" } else { "is stopped" };
    let sentence = format!("component `{id}` {verb} on {}", host_ids.join(", "));
    context.print(&Done::new(sentence, Stopped { id, host_ids }))
}

async fn provider(id: String, host: Option<String>, context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let patient = client.control.clone().with_timeout(context.timeout_or(PROVIDER));
    let mut host_ids = Vec::new();
    for host_id in running_providers(&client, &id, host.as_deref()).await? {
        let request = StopProvider { host_id: host_id.clone(), provider_id: id.clone() };
        patient.stop_provider(&host_id, &request).await?;
        host_ids.push(host_id);
    }
    let sentence = format!("provider `{id}` is stopped on {}", host_ids.join(", "));
    context.print(&Done::new(sentence, Stopped { id, host_ids }))
}

async fn host(wanted: &str, forget: bool, no_wait: bool, context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let host_id = client.host_id(wanted).await?;
    let request = StopHost { host_id: host_id.clone(), timeout: None, forget };
    outcome::stop_host(&client, &host_id, &request, Wait::of(no_wait, context)).await?;
    let verb = if no_wait { "stops" } else { "is stopped" };
    let sentence =
        format!("host {host_id} {verb}{}", if forget { " and forgets what it was told to run" } else { "" });
    context.print(&Done::new(sentence, HostStopped { host_id, forgotten: forget }))
}
