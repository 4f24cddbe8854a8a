//! Where something runs: what `stop`, `scale` and `update` begin with.

use wattle_protocol::inventory::ComponentInventory;

use crate::client::{Client, no_host};
use crate::failure::not_found;

/// The hosts on which a component runs, with what they say about it.
///
/// # Errors
/// When it runs nowhere, or not on the named host.
pub(crate) async fn running_components(
    client: &Client,
    id: &str,
    host: Option<&str>,
) -> anyhow::Result<Vec<(String, ComponentInventory)>> {
    let mut found = Vec::new();
    let inventories = client.inventories(host).await?;
    if inventories.is_empty() {
        return Err(no_host(client.lattice()));
    }
    for inventory in inventories {
        let component = inventory.components.into_iter().find(|component| component.id == id);
        found.extend(component.map(|component| (inventory.host_id, component)));
    }
    if found.is_empty() {
        return Err(nowhere("component", id, host));
    }
    Ok(found)
}

/// The hosts on which a provider runs.
///
/// # Errors
/// As for [`running_components`].
pub(crate) async fn running_providers(
    client: &Client,
    id: &str,
    host: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let inventories = client.inventories(host).await?;
    if inventories.is_empty() {
        return Err(no_host(client.lattice()));
    }
    let runs = |inventory: &wattle_protocol::inventory::HostInventory| {
        inventory.providers.iter().any(|provider| provider.id == id)
    };
    let found: Vec<_> = inventories.into_iter().filter(runs).map(|inventory| inventory.host_id).collect();
    if found.is_empty() {
        return Err(nowhere("provider", id, host));
    }
    Ok(found)
}

fn nowhere(kind: &str, id: &str, host: Option<&str>) -> anyhow::Error {
    let place =
        host.map_or_else(|| "on no host that answered".to_owned(), |host| format!("not on host {host}"));
    not_found(format!("{kind} `{id}` runs {place}: `wattle get inventory` shows what runs where"))
}
