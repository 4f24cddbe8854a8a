//! `wattle start`: start a component or a provider.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_protocol::control::{ScaleComponent, StartProvider};

use crate::artifacts::control_reference;
use crate::client::{Client, Workload};
use crate::context::Context;
use crate::failure::Exit;
use crate::names::{component_id, config_name, provider_id};
use crate::outcome::{self, Wait};
use crate::output::Done;
use crate::settings::value::{bytes, pair, seconds};

/// Concurrent calls of a component, unless told otherwise.
const COUNT: u32 = 1000;

/// Start a component or a provider
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(subcommand)]
    command: StartCommand,
}

#[derive(Debug, Subcommand)]
enum StartCommand {
    /// Start a component, and wait until it runs
    #[command(
        alias = "actor",
        after_help = "Example: wattle start component registry.example/shop/hello:1.0.0 hello --constraint zone=attic"
    )]
    Component(Box<ComponentArgs>),
    /// Start a capability provider, and wait until it runs
    #[command(after_help = "Example: wattle start provider builtin://http-server http")]
    Provider(Box<ProviderArgs>),
}

/// Where something is started, and whether that is waited for.
#[derive(Debug, Args)]
struct PlaceFlags {
    /// The host: its id, the beginning of it, or a part of its name [default: the first host that offers to]
    #[arg(long, visible_alias = "host-id", value_name = "HOST", conflicts_with = "constraints")]
    host: Option<String>,
    /// A label that the host must have; repeat it
    #[arg(long = "constraint", value_name = "KEY=VALUE", value_parser = pair)]
    constraints: Vec<(String, String)>,
    /// A named config; repeat it, the last one wins
    #[arg(long = "config", value_name = "NAME", value_parser = config_name)]
    configs: Vec<String>,
    /// An annotation; repeat it
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// Return once the host has accepted the command
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct ComponentArgs {
    /// A reference in a registry, or a file of the host's machine
    reference: String,
    /// The id by which links and commands name it
    #[arg(value_parser = component_id)]
    id: String,
    /// Calls that may run at once
    #[arg(long, alias = "max-instances", default_value_t = COUNT, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Memory of one instance, for example 64MiB [default: the host's]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_memory: Option<u64>,
    /// Time of one call, in whole seconds, for example 30s [default: the host's]
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    max_execution_time: Option<Duration>,
    /// Calls that one instance answers, one after another: faster, but a call may see what an earlier one left behind
    #[arg(long, value_name = "CALLS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_instance_reuse: u32,
    /// Where the id runs already from another reference, update it
    #[arg(long)]
    allow_update: bool,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct ProviderArgs {
    /// builtin:// and a name, a reference in a registry, or a file of the host's machine
    reference: String,
    /// The id by which links and commands name it
    #[arg(value_parser = provider_id)]
    id: String,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Serialize)]
struct Started {
    host_id: String,
    id: String,
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

/// Runs the command.
pub(crate) async fn run(args: StartArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        StartCommand::Component(args) => component(*args, context).await,
        StartCommand::Provider(args) => provider(*args, context).await,
    }
}

async fn component(args: ComponentArgs, context: &Context) -> anyhow::Result<Exit> {
    let reference = control_reference(&args.reference)?;
    let limits = limits(&args);
    let PlaceFlags { host, constraints, configs, annotations, no_wait } = args.place;
    let client = Client::connect(context).await?;
    let workload = Workload::Component { id: &args.id, reference: &reference };
    let host_id = client.place(workload, host.as_deref(), constraints.into_iter().collect()).await?;
    let request = ScaleComponent {
        component_ref: reference,
        component_id: args.id,
        annotations: given(annotations),
        count: args.count,
        component_limits: limits,
        host_id: host_id.clone(),
        config: configs,
        allow_update: args.allow_update,
    };
    let runs = outcome::scale(&client, &host_id, &request, Wait::of(no_wait, context)).await?;
    let ScaleComponent { component_id: id, component_ref: asked, count, .. } = request;
    let reference = match runs {
        Some(kept) if kept != asked => bail!(
            "component `{id}` keeps {kept} on host {host_id}, now with {count} calls at once; use `wattle update \
             component {id} {asked}`, or --allow-update"
        ),
        _ => asked,
    };
    let verb = if no_wait { "is being started" } else { "runs" };
    let sentence = format!("component `{id}` {verb} on host {host_id}, {count} calls at once");
    context.print(&Done::new(sentence, Started { host_id, id, reference, count: Some(count) }))
}

async fn provider(args: ProviderArgs, context: &Context) -> anyhow::Result<Exit> {
    let reference = control_reference(&args.reference)?;
    let PlaceFlags { host, constraints, configs, annotations, no_wait } = args.place;
    let client = Client::connect(context).await?;
    let workload = Workload::Provider { id: &args.id, reference: &reference };
    let host_id = client.place(workload, host.as_deref(), constraints.into_iter().collect()).await?;
    let request = StartProvider {
        provider_id: args.id,
        provider_ref: reference,
        host_id: host_id.clone(),
        config: configs,
        annotations: given(annotations),
    };
    outcome::start_provider(&client, &host_id, &request, Wait::of(no_wait, context)).await?;
    let StartProvider { provider_id: id, provider_ref: reference, .. } = request;
    let verb = if no_wait { "is being started" } else { "runs" };
    let sentence = format!("provider `{id}` {verb} on host {host_id}");
    context.print(&Done::new(sentence, Started { host_id, id, reference, count: None }))
}

fn given(pairs: Vec<(String, String)>) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.into_iter().collect())
}

/// The limits in the names and units of the control interface.
fn limits(args: &ComponentArgs) -> Option<BTreeMap<String, String>> {
    let memory = args.max_memory.map(|bytes| ("max_memory_limit".to_owned(), bytes.to_string()));
    let time =
        args.max_execution_time.map(|time| ("max_execution_time".to_owned(), time.as_secs().to_string()));
    let reuse = (args.max_instance_reuse > 1)
        .then(|| ("max_instance_reuse".to_owned(), args.max_instance_reuse.to_string()));
    let limits: BTreeMap<_, _> = memory.into_iter().chain(time).chain(reuse).collect();
    (!limits.is_empty()).then_some(limits)
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        time if time.as_secs() > 0 && time.subsec_nanos() == 0 => Ok(time),
        _ => Err(format!("`{text}` is not a whole number of seconds, 1 at least")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ComponentArgs,
    }

    #[test]
    fn a_component_gets_a_thousand_calls_unless_told() {
        let args = Line::parse_from(["wattle", "registry.example/hello:1", "hello"]).args;
        assert_eq!(args.count, 1000);
        assert_eq!(limits(&args), None);
        let args = Line::parse_from([
            "wattle",
            "registry.example/hello:1",
            "hello",
            "--count",
            "5",
            "--max-memory",
            "64MiB",
            "--max-execution-time",
            "2m",
            "--max-instance-reuse",
            "9",
        ])
        .args;
        assert_eq!(args.count, 5);
        let expected =
            [("max_execution_time", "120"), ("max_instance_reuse", "9"), ("max_memory_limit", "67108864")];
        let limits = limits(&args).unwrap();
        assert!(limits.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_sent() {
        for words in [
            &["registry.example/hello:1", "not.an.id"][..],
            &["registry.example/hello:1", "hello", "--count", "0"],
            &["registry.example/hello:1", "hello", "--max-execution-time", "500ms"],
            &["registry.example/hello:1", "hello", "--host", "N", "--constraint", "a=b"],
            &["registry.example/hello:1", "hello", "--constraint", "a"],
        ] {
            assert!(Line::try_parse_from(std::iter::once(&"wattle").chain(words)).is_err(), "{words:?}");
        }
    }
}
