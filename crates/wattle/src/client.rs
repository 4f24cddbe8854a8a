//! A seat from which commands are given: the connection, the control client, and which host is meant.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use wattle_lattice::{Connection, ControlClient, Error, Store, StoreOptions, StoreStatus, connect};
use wattle_protocol::control::{ComponentAuctionRequest, HostPing, ProviderAuctionRequest};
use wattle_protocol::inventory::HostInventory;
use wattle_protocol::name::check_host_id;

use crate::context::Context;
use crate::failure::{not_found, timed_out};
use crate::settings::{Key, Settings, connect as options};

/// How long a command waits for a reply, unless told otherwise.
const REPLY: Duration = Duration::from_secs(5);
/// How long pings are gathered: hosts on the other side of the world answer within a few hundred milliseconds.
const GATHER: Duration = Duration::from_secs(1);
/// How long a place is sought: one bid is enough, so only the lack of one takes that long.
const AUCTION: Duration = Duration::from_secs(2);

/// A connection to a lattice, and the client of its control interface.
#[derive(Debug)]
pub(crate) struct Client {
    /// The control interface.
    pub(crate) control: ControlClient,
}

/// What is to be started, as far as finding a place for it needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload<'a> {
    /// A component, by id and reference.
    Component { id: &'a str, reference: &'a str },
    /// A provider, by id and reference.
    Provider { id: &'a str, reference: &'a str },
}

/// Connects as settings say.
///
/// # Errors
/// When they don't allow it, or no server takes the connection within `timeout`.
pub(crate) async fn connection(settings: &Settings, timeout: Duration) -> anyhow::Result<Connection> {
    let mut how = options::control(settings)?;
    how.name = "wattle command line".to_owned();
    how.request_timeout = timeout;
    let begun = Instant::now();
    let connection = connect(&how).await.map_err(|error| match error {
        // A server that is not there says so at once, or nobody says anything.
        Error::Unreachable { .. } if begun.elapsed() >= timeout => timed_out(error.to_string()),
        error => error.into(),
    });
    connection.with_context(|| match settings.find(Key::NatsUrls) {
        Some(found) => format!("cannot reach the lattice with the servers of {}", found.origin),
        None => "cannot reach the lattice (--nats-url says where it is)".to_owned(),
    })
}

/// The state of the lattice, loaded.
///
/// # Errors
/// As for [`connection`], and when the state can't be loaded in time, with the reason.
pub(crate) async fn state(settings: &Settings, context: &Context) -> anyhow::Result<Store> {
    let timeout = context.timeout_or(REPLY);
    let connection = connection(settings, timeout).await?;
    let domain = settings.text(Key::JsDomain).map(str::to_owned);
    let options = StoreOptions { domain, ..StoreOptions::new(options::lattice(settings)) };
    let store = Store::open(&connection, options)?;
    if store.wait_ready(timeout).await.is_err() {
        let why = match &*store.status().borrow() {
            StoreStatus::Unreachable { reason, .. } => reason.clone(),
            _ => "it is still being loaded".to_owned(),
        };
        let state = format!("the state of the lattice `{}` is not there within {timeout:?}", store.lattice());
        return Err(timed_out(format!(
            "{state}: {why} (--js-domain names the JetStream domain that holds it)"
        )));
    }
    Ok(store)
}

impl Client {
    /// Connects with the settings of the command line and the environment.
    ///
    /// # Errors
    /// When they don't allow it, or no server takes the connection.
    pub(crate) async fn connect(context: &Context) -> anyhow::Result<Self> {
        let settings = context.client_settings()?;
        let timeout = context.timeout_or(REPLY);
        let connection = connection(&settings, timeout).await?;
        let control = ControlClient::new(
            &connection,
            &options::control_prefix(&settings),
            &options::lattice(&settings),
        )?;
        Ok(Self { control: control.with_timeout(timeout).with_gather_time(timeout.min(GATHER)) })
    }

    /// The lattice's name.
    pub(crate) fn lattice(&self) -> &str {
        self.control.subjects().lattice()
    }

    /// All hosts that answer, by name.
    ///
    /// # Errors
    /// When they can't be asked.
    pub(crate) async fn hosts(&self) -> anyhow::Result<Vec<HostPing>> {
        let mut hosts = self.control.ping(None).await?;
        hosts.sort_by(|a, b| a.friendly_name.cmp(&b.friendly_name).then_with(|| a.id.cmp(&b.id)));
        Ok(hosts)
    }

    /// The id of the host that a person means: an id, the beginning of one, or a part of a name.
    ///
    /// # Errors
    /// When no host, or more than one, fits.
    pub(crate) async fn host_id(&self, wanted: &str) -> anyhow::Result<String> {
        if check_host_id(wanted).is_ok() {
            return Ok(wanted.to_owned());
        }
        choose(wanted, &self.hosts().await?, self.lattice())
    }

    /// What runs on the hosts: on one, where one is named, else on all that answer.
    ///
    /// # Errors
    /// When the named host isn't there. A host that leaves in between is left out.
    pub(crate) async fn inventories(&self, host: Option<&str>) -> anyhow::Result<Vec<HostInventory>> {
        if let Some(host) = host {
            return Ok(vec![self.control.inventory(&self.host_id(host).await?).await?]);
        }
        let hosts = self.hosts().await?;
        let asked =
            futures::future::join_all(hosts.iter().map(|host| self.control.inventory(&host.id))).await;
        Ok(asked.into_iter().filter_map(Result::ok).collect())
    }

    /// A place for a workload: the named host, else the first that bids.
    ///
    /// # Errors
    /// When there is none, with the reason of each host.
    pub(crate) async fn place(
        &self,
        workload: Workload<'_>,
        host: Option<&str>,
        constraints: BTreeMap<String, String>,
    ) -> anyhow::Result<String> {
        if let Some(host) = host {
            return self.host_id(host).await;
        }
        let control = self.control.clone().with_gather_time(AUCTION);
        let bidder = match workload {
            Workload::Component { id, reference } => {
                let request = ComponentAuctionRequest {
                    component_ref: reference.to_owned(),
                    component_id: id.to_owned(),
                    constraints: constraints.clone(),
                };
                control.auction_component(&request, Some(1)).await?.pop().map(|bid| bid.host_id)
            }
            Workload::Provider { id, reference } => {
                let request = ProviderAuctionRequest {
                    provider_ref: reference.to_owned(),
                    provider_id: id.to_owned(),
                    constraints: constraints.clone(),
                };
                control.auction_provider(&request, Some(1)).await?.pop().map(|bid| bid.host_id)
            }
        };
        match bidder {
            Some(host) => Ok(host),
            None => Err(self.nobody_bids(workload, &constraints).await),
        }
    }

    async fn nobody_bids(
        &self,
        workload: Workload<'_>,
        constraints: &BTreeMap<String, String>,
    ) -> anyhow::Error {
        let hosts = match self.hosts().await {
            Ok(hosts) => hosts,
            Err(error) => return error,
        };
        if hosts.is_empty() {
            return no_host(self.lattice());
        }
        let mut reasons = Vec::new();
        let mut runs_already = false;
        for host in &hosts {
            let reason = match mismatch(host, constraints) {
                Some(mismatch) => mismatch,
                None => match self.control.inventory(&host.id).await {
                    Ok(inventory) if workload.runs_on(&inventory) => {
                        runs_already = true;
                        format!("already runs it: {}", workload.what_then(&host.friendly_name))
                    }
                    Ok(_) => "did not bid: it may be told not to, or not be ready".to_owned(),
                    Err(error) => error.to_string(),
                },
            };
            reasons.push(format!("\n  {}: {reason}", describe(host)));
        }
        let message = format!("no host made a bid for {workload}:{}", reasons.concat());
        if runs_already { anyhow!(message) } else { not_found(message) }
    }
}

impl Workload<'_> {
    /// What to do where it runs already.
    fn what_then(self, host: &str) -> String {
        match self {
            Self::Component { .. } => format!(
                "choose another id, or change what runs with `wattle update` or `wattle scale`, or say --host {host}"
            ),
            Self::Provider { id, .. } => {
                format!("choose another id, or stop it first with `wattle stop provider {id} --host {host}`")
            }
        }
    }

    fn runs_on(self, inventory: &HostInventory) -> bool {
        match self {
            Self::Component { id, .. } => inventory.components.iter().any(|component| component.id == id),
            Self::Provider { id, .. } => inventory.providers.iter().any(|provider| provider.id == id),
        }
    }
}

impl std::fmt::Display for Workload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Component { id, .. } => write!(f, "component `{id}`"),
            Self::Provider { id, .. } => write!(f, "provider `{id}`"),
        }
    }
}

/// The error for a lattice in which nobody answers.
pub(crate) fn no_host(lattice: &str) -> anyhow::Error {
    not_found(format!(
        "no host answered in lattice `{lattice}`: start one with `wattle host` or `wattle up`, or name the lattice with --lattice"
    ))
}

/// A host's name and id.
pub(crate) fn describe(host: &HostPing) -> String {
    if host.friendly_name.is_empty() {
        host.id.clone()
    } else {
        format!("{} ({})", host.friendly_name, host.id)
    }
}

/// The first constraint that a host does not meet.
fn mismatch(host: &HostPing, constraints: &BTreeMap<String, String>) -> Option<String> {
    constraints.iter().find_map(|(key, wanted)| match host.labels.get(key) {
        Some(value) if value == wanted => None,
        Some(value) => Some(format!("its label {key} is `{value}`, not `{wanted}`")),
        None => Some(format!("it has no label {key}")),
    })
}

fn choose(wanted: &str, hosts: &[HostPing], lattice: &str) -> anyhow::Result<String> {
    if hosts.is_empty() {
        return Err(no_host(lattice));
    }
    let (name, id) = (wanted.to_lowercase(), wanted.to_uppercase());
    let exact: Vec<_> = hosts.iter().filter(|host| host.friendly_name.to_lowercase() == name).collect();
    let similar: Vec<_> = hosts
        .iter()
        .filter(|host| host.id.starts_with(&id) || host.friendly_name.to_lowercase().contains(&name))
        .collect();
    let found = if exact.is_empty() { similar } else { exact };
    match found.as_slice() {
        [host] => Ok(host.id.clone()),
        [] => {
            let all: Vec<_> = hosts.iter().map(describe).collect();
            Err(not_found(format!("no host is called `{wanted}`; these answered: {}", all.join(", "))))
        }
        several => {
            let all: Vec<_> = several.iter().map(|host| describe(host)).collect();
            Err(not_found(format!("`{wanted}` could mean several hosts: {}", all.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: &str, name: &str, labels: &[(&str, &str)]) -> HostPing {
        HostPing {
            id: id.to_owned(),
            friendly_name: name.to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..HostPing::default()
        }
    }

    #[test]
    fn a_host_is_meant_by_the_beginning_of_its_id_or_a_part_of_its_name() {
        let hosts = [
            host("NAAA", "brave-fox-1", &[]),
            host("NABB", "brave-fox-12", &[]),
            host("NCCC", "calm-owl-3", &[]),
        ];
        let choose = |wanted: &str| choose(wanted, &hosts, "default").map_err(|error| error.to_string());
        assert_eq!(choose("NC").unwrap(), "NCCC");
        assert_eq!(choose("nab").unwrap(), "NABB");
        assert_eq!(choose("OWL").unwrap(), "NCCC");
        assert_eq!(choose("brave-fox-1").unwrap(), "NAAA", "the whole name is no doubt");
        assert!(choose("brave").unwrap_err().contains("brave-fox-12"));
        assert!(choose("zebra").unwrap_err().contains("calm-owl-3 (NCCC)"));
    }

    #[test]
    fn the_label_that_does_not_fit_is_named() {
        let constraints = BTreeMap::from([("zone".to_owned(), "attic".to_owned())]);
        assert_eq!(mismatch(&host("N", "a", &[("zone", "attic")]), &constraints), None);
        let other = mismatch(&host("N", "a", &[("zone", "cellar")]), &constraints).unwrap();
        assert_eq!(other, "its label zone is `cellar`, not `attic`");
        assert_eq!(mismatch(&host("N", "a", &[]), &constraints).unwrap(), "it has no label zone");
    }
}
