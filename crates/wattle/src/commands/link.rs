//! `wattle link`: say which target satisfies which import of a source.

use clap::{Args, Subcommand};
use wattle_protocol::control::DeleteLink;
use wattle_protocol::inventory::HostInventory;
use wattle_protocol::link::{DEFAULT_LINK_NAME, Link};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, not_found};
use crate::names::{config_name, link_name, wit_interface, wit_namespace, wit_package, workload_id};
use crate::output::{Done, note};

/// Put, show and delete links
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    #[command(subcommand)]
    command: LinkCommand,
}

#[derive(Debug, Subcommand)]
enum LinkCommand {
    /// Put a link: the source's calls of these interfaces go to the target
    #[command(
        after_help = "Example: wattle link put http hello wasi http --interface incoming-handler --source-config http-config"
    )]
    Put(Box<PutArgs>),
    /// Show all links
    #[command(alias = "list", after_help = "Example: wattle link get -o json")]
    Get,
    /// Delete the links of a source, name and WIT package, whatever their interfaces and targets
    #[command(alias = "delete", after_help = "Example: wattle link del http wasi http")]
    Del {
        /// The id of the component or provider that calls
        #[arg(value_parser = workload_id)]
        source: String,
        /// The WIT namespace, such as wasi
        #[arg(value_parser = wit_namespace)]
        namespace: String,
        /// The WIT package, such as http
        #[arg(value_parser = wit_package)]
        package: String,
        /// The link's name
        #[arg(long, alias = "link-name", default_value = DEFAULT_LINK_NAME, value_parser = link_name)]
        name: String,
    },
}

#[derive(Debug, Args)]
struct PutArgs {
    /// The id of the component or provider that calls
    #[arg(value_parser = workload_id)]
    source: String,
    /// The id of the component or provider that is called
    #[arg(value_parser = workload_id)]
    target: String,
    /// The WIT namespace, such as wasi
    #[arg(value_parser = wit_namespace)]
    namespace: String,
    /// The WIT package, such as http
    #[arg(value_parser = wit_package)]
    package: String,
    /// A WIT interface, such as incoming-handler; repeat it
    #[arg(long = "interface", value_name = "INTERFACE", required = true, value_delimiter = ',', value_parser = wit_interface)]
    interfaces: Vec<String>,
    /// The link's name, by which the source may choose among several targets
    #[arg(long, alias = "link-name", default_value = DEFAULT_LINK_NAME, value_parser = link_name)]
    name: String,
    /// A named config for the source; repeat it, the last one wins
    #[arg(long = "source-config", value_name = "NAME", value_parser = config_name)]
    source_configs: Vec<String>,
    /// A named config for the target; repeat it, the last one wins
    #[arg(long = "target-config", value_name = "NAME", value_parser = config_name)]
    target_configs: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: LinkArgs, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        LinkCommand::Put(args) => put(*args, context).await,
        LinkCommand::Get => super::get::links(context).await,
        LinkCommand::Del { source, namespace, package, name } => {
            let request =
                DeleteLink { source_id: source, wit_namespace: namespace, wit_package: package, name };
            delete(request, context).await
        }
    }
}

async fn delete(request: DeleteLink, context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let which = format!(
        "of `{}` for {}:{} named `{}`",
        request.source_id, request.wit_namespace, request.wit_package, request.name
    );
    let meant = |link: &Link| {
        link.source_id == request.source_id
            && link.wit_namespace == request.wit_namespace
            && link.wit_package == request.wit_package
            && link.name == request.name
    };
    if !client.control.links().await?.iter().any(meant) {
        return Err(not_found(format!(
            "there is no link {which}: `wattle link get` shows those that there are"
        )));
    }
    client.control.delete_link(&request).await?;
    context.print(&Done::new(format!("deleted the links {which}"), request))
}

async fn put(args: PutArgs, context: &Context) -> anyhow::Result<Exit> {
    let link = Link {
        source_id: args.source,
        target: args.target,
        name: args.name,
        wit_namespace: args.namespace,
        wit_package: args.package,
        interfaces: args.interfaces,
        source_config: args.source_configs,
        target_config: args.target_configs,
    };
    let client = Client::connect(context).await?;
    client.control.put_link(&link).await?;
    // The link is put whatever is found now: what it needs may be started later.
    if let Ok(inventories) = client.inventories(None).await {
        for warning in warnings(&link, &inventories) {
            note(format!("warning: {warning}"));
        }
    }
    let sentence = format!(
        "linked `{}` to `{}` for {}:{}/{}",
        link.source_id,
        link.target,
        link.wit_namespace,
        link.wit_package,
        link.interfaces.join(",")
    );
    context.print(&Done::new(sentence, link))
}

/// What may keep a link from working, as far as the hosts know at this moment.
fn warnings(link: &Link, inventories: &[HostInventory]) -> Vec<String> {
    let mut warnings = Vec::new();
    for id in [&link.source_id, &link.target] {
        let runs = |host: &HostInventory| {
            host.components.iter().any(|component| component.id == *id)
                || host.providers.iter().any(|provider| provider.id == *id)
        };
        if !inventories.iter().any(runs) {
            warnings.push(format!("`{id}` runs on no host that answered: the link waits for it"));
        }
        for host in inventories {
            let providers = host.providers.iter().filter(|provider| provider.id == *id);
            let reasons = providers.filter_map(|provider| provider.reason.as_ref());
            let name = &host.friendly_name;
            warnings.extend(reasons.map(|reason| format!("provider `{id}` on host {name} says: {reason}")));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_protocol::inventory::{ComponentInventory, ProviderInventory};

    #[test]
    fn what_keeps_a_link_from_working_is_told() {
        let link = Link {
            source_id: "http".into(),
            target: "hello".into(),
            name: DEFAULT_LINK_NAME.into(),
            wit_namespace: "wasi".into(),
            wit_package: "http".into(),
            interfaces: vec!["incoming-handler".into()],
            source_config: Vec::new(),
            target_config: Vec::new(),
        };
        assert_eq!(warnings(&link, &[]).len(), 2);
        let provider = ProviderInventory {
            id: "http".into(),
            reason: Some("the address is in use".into()),
            ..ProviderInventory::default()
        };
        let component = ComponentInventory { id: "hello".into(), ..ComponentInventory::default() };
        let mut host = HostInventory {
            friendly_name: "brave-fox".into(),
            providers: vec![provider],
            components: vec![component],
            ..HostInventory::default()
        };
        let told = warnings(&link, std::slice::from_ref(&host));
        assert_eq!(told, ["provider `http` on host brave-fox says: the address is in use"]);
        host.providers[0].reason = None;
        assert!(warnings(&link, &[host]).is_empty());
    }
}
