//! `wattle get`: what there is in the lattice.

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_protocol::control::{ClaimsEntry, HostPing};
use wattle_protocol::inventory::{ComponentInventory, HostInventory, ProviderInventory};
use wattle_protocol::link::Link;

use crate::client::{Client, no_host};
use crate::context::Context;
use crate::failure::Exit;
use crate::names::config_name;
use crate::output::{Output, pairs, table};

/// Show what there is in the lattice
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(subcommand)]
    command: GetCommand,
}

#[derive(Debug, Subcommand)]
enum GetCommand {
    /// The hosts
    #[command(alias = "host", after_help = "Example: wattle get hosts")]
    Hosts,
    /// What runs on the hosts
    #[command(alias = "inventories", after_help = "Example: wattle get inventory brave-fox")]
    Inventory {
        /// Only this host: its id, the beginning of it, or a part of its name
        host: Option<String>,
    },
    /// The links
    #[command(alias = "link", after_help = "Example: wattle get links -o json")]
    Links,
    /// Who signed what runs, or ran, in the lattice
    #[command(alias = "claim", after_help = "Example: wattle get claims")]
    Claims,
    /// A named config
    #[command(after_help = "Example: wattle get config http-config")]
    Config {
        /// Its name
        #[arg(value_parser = config_name)]
        name: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: GetArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        GetCommand::Hosts => {
            let client = Client::connect(context).await?;
            let (hosts, lattice) = (client.hosts().await?, client.lattice().to_owned());
            context.print(&Hosts { hosts, lattice })
        }
        GetCommand::Inventory { host } => {
            let client = Client::connect(context).await?;
            let inventories = client.inventories(host.as_deref()).await?;
            if inventories.is_empty() {
                return Err(no_host(client.lattice()));
            }
            context.print(&Inventories(inventories))
        }
        GetCommand::Links => links(context).await,
        GetCommand::Claims => {
            let client = Client::connect(context).await?;
            context.print(&Claims(client.control.claims().await?))
        }
        GetCommand::Config { name } => super::config::show(&name, context).await,
    }
}

/// Prints all links.
pub(crate) async fn links(context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let mut links = client.control.links().await?;
    links.sort();
    context.print(&Links(links))
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Hosts {
    hosts: Vec<HostPing>,
    #[serde(skip)]
    lattice: String,
}

impl Output for Hosts {
    fn text(&self) -> String {
        let rows = self.hosts.iter().map(|host| {
            [
                host.id.clone(),
                host.friendly_name.clone(),
                host.uptime_human.clone().unwrap_or_else(|| format!("{}s", host.uptime_seconds)),
                host.version.clone().unwrap_or_default(),
                pairs(&host.labels),
            ]
        });
        let none = format!("no host answered in lattice `{}`", self.lattice);
        table(["HOST", "NAME", "UPTIME", "VERSION", "LABELS"], rows, &none)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Inventories(Vec<HostInventory>);

impl Output for Inventories {
    fn text(&self) -> String {
        let hosts: Vec<String> = self.0.iter().map(inventory_text).collect();
        hosts.join("\n\n")
    }
}

fn inventory_text(host: &HostInventory) -> String {
    let mut parts = vec![format!(
        "host {} ({}), version {}, up {}\nlabels {}",
        host.friendly_name,
        host.host_id,
        host.version,
        host.uptime_human,
        pairs(&host.labels)
    )];
    parts.extend(host.problems.iter().map(|problem| format!("problem: {problem}")));
    parts.push(table(
        ["COMPONENT", "NAME", "REFERENCE", "CALLS", "STATE"],
        host.components.iter().map(component_row),
        "no components",
    ));
    parts.push(table(
        ["PROVIDER", "NAME", "REFERENCE", "STATE"],
        host.providers.iter().map(provider_row),
        "no providers",
    ));
    parts.join("\n")
}

fn component_row(component: &ComponentInventory) -> [String; 5] {
    [
        component.id.clone(),
        component.name.clone().unwrap_or_default(),
        component.image_ref.clone(),
        component.max_instances.to_string(),
        state(component.state.as_deref(), component.reason.as_deref()),
    ]
}

fn provider_row(provider: &ProviderInventory) -> [String; 4] {
    [
        provider.id.clone(),
        provider.name.clone().unwrap_or_default(),
        provider.image_ref.clone().unwrap_or_default(),
        state(provider.state.as_deref(), provider.reason.as_deref()),
    ]
}

fn state(state: Option<&str>, reason: Option<&str>) -> String {
    match (state, reason) {
        (Some(state), Some(reason)) => format!("{state}: {reason}"),
        (state, _) => state.unwrap_or("running").to_owned(),
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Links(Vec<Link>);

impl Output for Links {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|link| {
            [
                link.source_id.clone(),
                link.target.clone(),
                format!("{}:{}/{}", link.wit_namespace, link.wit_package, link.interfaces.join(",")),
                link.name.clone(),
                link.source_config.join(","),
                link.target_config.join(","),
            ]
        });
        table(["SOURCE", "TARGET", "INTERFACES", "NAME", "SOURCE CONFIG", "TARGET CONFIG"], rows, "no links")
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Claims(Vec<ClaimsEntry>);

impl Output for Claims {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|entry| {
            ["name", "version", "revision", "subject", "issuer"]
                .map(|key| entry.get(key).cloned().unwrap_or_default())
        });
        table(["NAME", "VERSION", "REVISION", "SUBJECT", "ISSUER"], rows, "no claims")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_shows_what_is_wrong() {
        let inventory = HostInventory {
            host_id: "NABC".into(),
            friendly_name: "brave-fox-1".into(),
            problems: vec!["the lattice's state is stale".into()],
            components: vec![ComponentInventory {
                id: "hello".into(),
                image_ref: "registry.example/hello:1".into(),
                max_instances: 1000,
                state: Some("waiting".into()),
                reason: Some("the registry is down".into()),
                ..ComponentInventory::default()
            }],
            ..HostInventory::default()
        };
        let text = inventory_text(&inventory);
        for part in [
            "brave-fox-1 (NABC)",
            "problem: the lattice's state is stale",
            "waiting: the registry is down",
            "no providers",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn json_is_what_the_hosts_said() {
        let hosts =
            Hosts { hosts: vec![HostPing { id: "N".into(), ..HostPing::default() }], lattice: "lab".into() };
        let json = serde_json::to_value(&hosts).unwrap();
        assert_eq!(json[0]["id"], "N");
        let none = Hosts { hosts: Vec::new(), lattice: "lab".into() };
        assert_eq!(none.text(), "no host answered in lattice `lab`");
    }
}
