//! What the parts of one host share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wattle_lattice::{ConnectOptions, Connection, EventPublisher, Store, StoreStatus};
use wattle_protocol::event::Event;
use wattle_protocol::inventory::HostInventory;
use wattle_protocol::subject::Subjects;

use crate::admission::Admission;
use crate::components::Components;
use crate::data::{DataFolder, RunningList};
use crate::host::StopWanted;
use crate::metrics::Metrics;
use crate::names::human_duration;
use crate::providers::Providers;
use crate::restore::Waiting;
use crate::settings::Limits;

/// The version that this host says it is.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One host's parts. Every task of the host holds it.
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) friendly_name: String,
    pub(crate) subjects: Subjects,
    pub(crate) js_domain: Option<String>,
    pub(crate) control_url: Option<String>,
    pub(crate) started: Instant,
    pub(crate) limits: Limits,
    pub(crate) labels: RwLock<BTreeMap<String, String>>,
    pub(crate) component_auction: bool,
    pub(crate) provider_auction: bool,
    pub(crate) provider_shutdown_delay: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) admission: Admission,
    pub(crate) connection: Connection,
    pub(crate) store: Store,
    pub(crate) events: EventPublisher,
    pub(crate) metrics: Metrics,
    pub(crate) data: DataFolder,
    pub(crate) components: Components,
    pub(crate) providers: Providers,
    pub(crate) waiting: Waiting,
    /// Rung when something that depends on links or configs has changed here.
    pub(crate) changed: Notify,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    /// Cancelled once the state was caught up for the first time.
    pub(crate) was_ready: CancellationToken,
    pub(crate) stop_wanted: StopWanted,
    /// Why the list of what runs could not be written down, if it could not.
    pub(crate) unsaved: Mutex<Option<String>>,
    pub(crate) saving: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn lattice(&self) -> &str {
        self.subjects.lattice()
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn publish(&self, event: Event) {
        self.events.publish(&event).await;
    }

    /// Writes down what this host runs, so that a restart brings it back. A failure is shown in the inventory: what
    /// runs goes on running.
    pub(crate) async fn save_running(&self) {
        let _one_at_a_time = self.saving.lock().await;
        let mut list =
            RunningList { components: self.components.entries(), providers: self.providers.entries() };
        self.waiting.add_to(&mut list);
        let result = self.data.save_running(&list);
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        *unsaved = result.err().map(|error| {
            tracing::error!(%error, "what this host was told to run can't be written down");
            format!("what runs here can't be written down, so a restart would not bring it back: {error}")
        });
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What runs here, as the control interface and heartbeats say it.
    pub(crate) fn inventory(&self) -> HostInventory {
        let uptime = self.started.elapsed();
        HostInventory {
            components: self.components.inventory(),
            providers: self.providers.inventory(),
            host_id: self.id.clone(),
            friendly_name: self.friendly_name.clone(),
            labels: self.labels(),
            version: VERSION.to_owned(),
            uptime_human: human_duration(uptime),
            uptime_seconds: uptime.as_secs(),
            problems: self.problems(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let state = match &*self.store.status().borrow() {
            StoreStatus::Unreachable { reason, .. } => {
                Some(format!("the lattice's state can't be reached: {reason}"))
            }
            StoreStatus::Loading => Some("the lattice's state is being loaded".to_owned()),
            StoreStatus::Ready => None,
        };
        let unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        state.into_iter().chain(unsaved).chain(self.waiting.problems()).collect()
    }

    /// Whether the lattice's state was ever caught up.
    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready.is_cancelled()
    }

    /// Whether the lattice's state is caught up, and why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.stopping.is_cancelled() {
            return Err("the host is stopping".to_owned());
        }
        match &*self.store.status().borrow() {
            StoreStatus::Ready => Ok(()),
            StoreStatus::Loading => Err("the lattice's state is being loaded".to_owned()),
            StoreStatus::Unreachable { reason, .. } => Err(reason.clone()),
        }
    }
}

/// The first NATS address of the options, without what could be a password.
pub(crate) fn public_url(options: &ConnectOptions) -> Option<String> {
    let url = options.urls.first()?;
    Some(match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, address))) => format!("{scheme}://{address}"),
        _ => url.clone(),
    })
}
