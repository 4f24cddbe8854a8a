//! What the parts of one host share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wattle_lattice::{Connection, EventPublisher, Seat, Store, StoreStatus};
use wattle_protocol::event::Event;
use wattle_protocol::inventory::{ComponentInventory, HostInventory};
use wattle_protocol::subject::Subjects;

use crate::admission::Admission;
use crate::calls::Spies;
use crate::components::{Component, Components};
use crate::data::{DataFolder, RunningList};
use crate::host::StopWanted;
use crate::membership::SeatProblem;
use crate::metrics::Metrics;
use crate::names::human_duration;
use crate::providers::Providers;
use crate::restore::Waiting;
use crate::routes::Routes;
use crate::settings::Limits;
use crate::telemetry::Telemetry;
use crate::turns::Turns;

/// The version that this host says it is.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One host's parts. Every task of the host holds it.
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) friendly_name: String,
    pub(crate) subjects: Subjects,
    pub(crate) js_domain: Option<String>,
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
    /// Where calls go by the links.
    pub(crate) routes: Routes,
    /// Where calls over the lattice are made and taken, once this host is a member.
    pub(crate) seat: ArcSwapOption<Seat>,
    pub(crate) seat_problem: SeatProblem,
    /// Held while the seat is told what runs here.
    pub(crate) telling_seat: Mutex<()>,
    /// Memory for large values, in KiB.
    pub(crate) value_room: Semaphore,
    /// Those who watch calls.
    pub(crate) spies: Spies,
    pub(crate) events: EventPublisher,
    pub(crate) metrics: Metrics,
    pub(crate) telemetry: Telemetry,
    pub(crate) data: DataFolder,
    pub(crate) components: Components,
    pub(crate) providers: Providers,
    pub(crate) waiting: Waiting,
    pub(crate) turns: Turns,
    /// Artifacts that are fetched and compiled at once.
    pub(crate) starting: Semaphore,
    /// The list of what runs is to be empty at the next start.
    pub(crate) forgotten: AtomicBool,
    /// Tells this process from another one with the same key.
    pub(crate) instance: String,
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
        let result = self.data.save_running(&self.running_list());
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        *unsaved = result.err().map(|error| {
            tracing::error!(%error, "what this host was told to run can't be written down");
            format!("what runs here can't be written down, so a restart would not bring it back: {error}")
        });
    }

    fn running_list(&self) -> RunningList {
        if self.forgotten.load(Ordering::Relaxed) {
            return RunningList::default();
        }
        let mut list =
            RunningList { components: self.components.entries(), providers: self.providers.entries() };
        self.waiting.add_to(&mut list);
        list
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What runs here, as the control interface and heartbeats say it.
    pub(crate) fn inventory(&self) -> HostInventory {
        let uptime = self.started.elapsed();
        HostInventory {
            components: self.component_inventory(),
            providers: self.providers.inventory(),
            host_id: self.id.clone(),
            friendly_name: self.friendly_name.clone(),
            labels: self.labels(),
            version: VERSION.to_owned(),
            uptime_human: human_duration(uptime),
            uptime_seconds: uptime.as_secs(),
            problems: self.problems(),
            instance: Some(self.instance.clone()),
        }
    }

    /// The components, each with the imports for which there is no link.
    fn component_inventory(&self) -> Vec<ComponentInventory> {
        let routes = self.routes.load();
        let entry = |component: &Arc<Component>| {
            let mut inventory = component.inventory();
            let functions = component.served.compiled().imported_functions();
            let missing: BTreeSet<_> = functions
                .iter()
                .map(|function| &**function.interface())
                .filter(|interface| !routes.has_link(&component.id, interface))
                .collect();
            if !missing.is_empty() {
                let missing: Vec<_> = missing.into_iter().collect();
                inventory.reason =
                    Some(format!("it imports {}, for which there is no link", missing.join(", ")));
            }
            inventory
        };
        self.components.all().iter().map(entry).collect()
    }

    fn problems(&self) -> Vec<String> {
        let state = match &*self.store.status().borrow() {
            StoreStatus::Unreachable { reason, stale } => {
                let what_now = if *stale { "; what was last known is used, and may be stale" } else { "" };
                Some(format!("the lattice's state can't be reached: {reason}{what_now}"))
            }
            StoreStatus::Loading => Some("the lattice's state is being loaded".to_owned()),
            StoreStatus::Ready => None,
        };
        let unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = self.store.snapshot();
        let unreadable =
            snapshot.problems.iter().map(|(key, why)| format!("entry {key} of the state is ignored: {why}"));
        state
            .into_iter()
            .chain(unsaved)
            .chain(self.seat_problem.get())
            .chain(self.waiting.problems())
            .chain(unreadable)
            .collect()
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
