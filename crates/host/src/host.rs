//! A host's life: joining a lattice, running, leaving.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wattle_artifact::{ArtifactStore, StoreOptions as ArtifactOptions};
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_lattice::{
    ConnectionStatus, EventPublisher, Snapshot, Store, StoreOptions, StoreStatus, connect_waiting,
};
use wattle_protocol::control::Envelope;
use wattle_protocol::event::{Event, HostStarted, HostStopped};
use wattle_protocol::inventory::HostInventory;
use wattle_protocol::subject::Subjects;
use wattle_runtime::{Runtime, RuntimeOptions};

use crate::admin::Admin;
use crate::admission::Admission;
use crate::calls::{Spies, VALUE_ROOM};
use crate::components::Components;
use crate::control::STOP_TIMEOUT;
use crate::data::{DataFolder, RunningList};
use crate::error::Error;
use crate::links::KeptState;
use crate::membership::{Member, SeatProblem};
use crate::metrics::Metrics;
use crate::names;
use crate::names::friendly_name;
use crate::providers::Providers;
use crate::restore::Waiting;
use crate::routes::Routes;
use crate::settings::HostSettings;
use crate::shared::{Shared, VERSION};
use crate::turns::Turns;

/// Artifacts that are fetched and compiled at once: enough that some registries which say nothing hold up nobody else.
const CONCURRENT_STARTS: usize = 64;

/// How long a host with the same key may take to answer. Where there is none, the server says so at once.
const TWIN_PATIENCE: Duration = Duration::from_secs(2);

/// How long the last spans may take to reach their collector when the host stops.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// A host that has joined its lattice.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

/// Someone on the lattice asked this host to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// How long it may take.
    pub timeout: Duration,
    /// Whether the list of what it was told to run is to be forgotten.
    pub forget: bool,
}

/// Where a stop command leaves its wish.
pub(crate) struct StopWanted(watch::Sender<Option<StopRequest>>);

impl StopWanted {
    pub(crate) fn request(&self, timeout: Duration, forget: bool) {
        self.0.send_replace(Some(StopRequest { timeout, forget }));
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl Host {
    /// Joins the lattice: opens the data folder, waits for NATS, loads the state, and starts again what this host was
    /// told to run. Returns once the host answers; the state may still be loading then, which [`Host::ready`] tells.
    ///
    /// # Errors
    ///
    /// Where the settings, the data folder or this machine don't allow it, or NATS refuses the credentials. A NATS
    /// server that can't be reached is waited for.
    pub async fn start(settings: HostSettings) -> Result<Self, Error> {
        let subjects = Subjects::with_prefix(&settings.ctl_prefix, &settings.lattice)?;
        if let Some(key) = settings.labels.keys().find(|key| names::is_built_in(key)) {
            return Err(Error::BuiltInLabel { key: key.clone() });
        }
        let stopping = CancellationToken::new();
        let admin = match settings.admin_address {
            Some(address) => Some(Admin::serve(address, stopping.clone()).await?),
            None => None,
        };
        // Whatever ends this start also ends what was begun by it.
        let begun = stopping.clone().drop_guard();
        let data = DataFolder::open(&settings.data_dir)?;
        let list = if settings.fresh { RunningList::default() } else { data.running()? };
        let key = host_key(&settings, &data)?;
        let admission = admission(&settings, &data)?;
        let (member_key, cluster) = (key.clone(), settings.cluster.clone());
        let calls = settings.calls.clone().unwrap_or_else(|| settings.control.clone());
        let shared = Arc::new(join(settings, subjects, data, key, admission, stopping).await?);
        shared.check_alone().await?;
        let calls = connect_waiting(&calls, &shared.stopping).await?;
        shared.waiting.fill(list);
        shared.serve_control().await?;
        // From here on it can be ready: before, it would not have heard a command.
        if let Some(admin) = admin {
            admin.joined(&shared);
        }
        shared.tasks.spawn(shared.clone().keep_seat(Member::new(member_key, cluster, calls)));
        shared.tasks.spawn(shared.clone().follow_links());
        shared.tasks.spawn(shared.clone().follow_state());
        shared.tasks.spawn(shared.clone().follow_readiness());
        shared.tasks.spawn(shared.clone().follow_state_loss());
        shared.tasks.spawn(shared.clone().follow_connection());
        shared.tasks.spawn(shared.clone().restore());
        shared.tasks.spawn(shared.clone().watch_for_twin());
        begun.disarm();
        Ok(Self(shared))
    }

    /// The host's public key (`N…`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What people call it.
    #[must_use]
    pub fn friendly_name(&self) -> &str {
        &self.0.friendly_name
    }

    /// Whether the lattice's state is caught up, and why not.
    ///
    /// # Errors
    ///
    /// The reason, in words.
    pub fn ready(&self) -> Result<(), String> {
        self.0.ready()
    }

    /// Waits until someone on the lattice asks this host to stop.
    pub async fn stop_requested(&self) -> StopRequest {
        let mut wanted = self.0.stop_wanted.0.subscribe();
        match wanted.wait_for(Option::is_some).await.map(|wanted| *wanted) {
            Ok(Some(request)) => request,
            // Unreachable while `self` holds the sender; waiting for ever is what "nobody asked" means.
            _ => std::future::pending().await,
        }
    }

    /// Leaves the lattice: takes no more commands and calls, lets what runs finish, says goodbye. The list of what it
    /// was told to run stays for the next start unless `forget` is set.
    pub async fn stop(self, request: StopRequest) {
        let shared = self.0;
        let deadline = tokio::time::Instant::now() + request.timeout;
        if request.forget {
            shared.forgotten.store(true, Ordering::Relaxed);
            shared.save_running().await;
        }
        shared.stopping.cancel();
        if tokio::time::timeout_at(deadline, shared.drain_all()).await.is_err() {
            tracing::warn!("what ran did not finish in time and is ended");
            shared.components.all().iter().for_each(|component| component.served.end());
        }
        let labels = shared.labels();
        shared.publish(Event::HostStopped(HostStopped { labels })).await;
        if let Err(error) = shared.connection.flush().await {
            tracing::warn!(%error, "the last messages may not have reached NATS");
        }
        shared.telemetry.flush(FLUSH_PATIENCE).await;
        tracing::info!(host = %shared.id, "host stopped");
    }
}

impl Shared {
    /// Two hosts with one key would both obey each command and overwrite each other in every client's view.
    async fn check_alone(&self) -> Result<(), Error> {
        let client = self.connection.client();
        let asked = client.request(self.subjects.host_get(&self.id), bytes::Bytes::new());
        match tokio::time::timeout(TWIN_PATIENCE, asked).await {
            Ok(Ok(_)) => Err(Error::SameKey { id: self.id.clone(), lattice: self.lattice().to_owned() }),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Two hosts that start at the same moment don't hear each other before they listen. One of them goes: the one whose
    /// instance has the higher name.
    async fn watch_for_twin(self: Arc<Self>) {
        let client = self.connection.client();
        let inbox = client.new_inbox();
        let subject = self.subjects.host_get(&self.id);
        let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return };
        if client.publish_with_reply(subject, inbox, bytes::Bytes::new()).await.is_err() {
            return;
        }
        let deadline = tokio::time::Instant::now() + TWIN_PATIENCE;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            let inventory: Option<HostInventory> = serde_json::from_slice::<Envelope<_>>(&answer.payload)
                .ok()
                .and_then(|envelope| envelope.response);
            let other = inventory.and_then(|inventory| inventory.instance).unwrap_or_default();
            if other < self.instance {
                tracing::error!(host = %self.id, "another host with this key runs on the lattice: this one ends");
                self.stop_wanted.request(STOP_TIMEOUT, false);
                return;
            }
        }
    }

    /// First those where calls come from: other members, so that they call elsewhere, and providers. Components take
    /// calls until then, because those that still run may need them.
    async fn drain_all(self: &Arc<Self>) {
        let seat = self.seat.load_full();
        let leaving = async {
            if let Some(seat) = &seat {
                // To those who watch, there is no end.
                self.spies.close();
                seat.drain().await;
            }
        };
        let providers = self.providers.all();
        tokio::join!(leaving, join_all(providers.iter().map(|provider| self.shut_down(provider))));
        let drains = self.components.all().into_iter().map(|component| async move {
            component.served.drain(Duration::MAX).await;
        });
        join_all(drains).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Logs when NATS is lost, why, and when it is back.
    async fn follow_connection(self: Arc<Self>) {
        let mut status = self.connection.status();
        status.mark_unchanged();
        while let Some(Ok(())) = self.stopping.run_until_cancelled(status.changed()).await {
            match &*status.borrow_and_update() {
                ConnectionStatus::Connected(url) => tracing::info!(%url, "connected to NATS again"),
                ConnectionStatus::Disconnected(reason) => {
                    tracing::warn!(%reason, "NATS is lost: what runs goes on, and the host comes back by itself");
                }
            }
        }
    }

    /// Writes into the state what runs here, whenever the state is there again.
    async fn follow_state_loss(self: Arc<Self>) {
        let mut status = self.store.status();
        loop {
            let ready = status.wait_for(|status| matches!(status, StoreStatus::Ready));
            if self.stopping.run_until_cancelled(ready).await.is_none_or(|ready| ready.is_err()) {
                return;
            }
            self.remember_all().await;
            let lost = status.wait_for(|status| !matches!(status, StoreStatus::Ready));
            if self.stopping.run_until_cancelled(lost).await.is_none_or(|lost| lost.is_err()) {
                return;
            }
        }
    }

    /// Says that the host has started once it knows the lattice's state, and then how it is at every heartbeat.
    async fn follow_readiness(self: Arc<Self>) {
        let mut status = self.store.status();
        tokio::select! {
            () = self.stopping.cancelled() => return,
            ready = status.wait_for(|status| matches!(status, StoreStatus::Ready)) => if ready.is_err() { return },
        }
        self.was_ready.cancel();
        tracing::info!(host = %self.id, name = %self.friendly_name, lattice = %self.lattice(), "host is ready");
        self.publish(Event::HostStarted(HostStarted {
            friendly_name: self.friendly_name.clone(),
            labels: self.labels(),
            uptime_seconds: 0,
            version: VERSION.to_owned(),
        }))
        .await;
        let mut heartbeat = tokio::time::interval_at(
            tokio::time::Instant::now() + self.heartbeat_interval,
            self.heartbeat_interval,
        );
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                _ = heartbeat.tick() => {
                    if self.is_unsaved() {
                        self.save_running().await;
                    }
                    self.publish(Event::HostHeartbeat(Box::new(self.inventory()))).await;
                }
            }
        }
    }
}

fn host_key(settings: &HostSettings, data: &DataFolder) -> Result<KeyPair, Error> {
    let refused = |reason: String| Error::Key { what: "the host seed".to_owned(), reason };
    match &settings.host_key {
        Some(key) if key.kind() != KeyKind::Host => Err(refused(format!("it is a key for a {}", key.kind()))),
        Some(key) => Ok(key.clone()),
        None => data.host_key(),
    }
}

fn admission(settings: &HostSettings, data: &DataFolder) -> Result<Admission, Error> {
    let runtime = Runtime::new(RuntimeOptions {
        cache_dir: Some(data.subfolder("code")),
        ..RuntimeOptions::default()
    })?;
    let artifacts = ArtifactStore::new(ArtifactOptions {
        registries: settings.registries.clone(),
        allow_file_load: settings.allow_file_load,
        allow_latest: settings.allow_latest,
        ..ArtifactOptions::new(data.subfolder("artifacts"))
    })?;
    Ok(Admission {
        artifacts,
        runtime,
        trusted: settings.trusted_issuers.clone(),
        allow_unsigned: settings.allow_unsigned,
    })
}

/// The state as this host last knew it, if it is that of this lattice.
fn last_state(data: &DataFolder, settings: &HostSettings) -> Option<Snapshot> {
    let kept: KeptState = data.last_state()?;
    let same = kept.lattice == settings.lattice && kept.domain == settings.js_domain;
    same.then(|| Arc::unwrap_or_clone(kept.snapshot))
}

async fn join(
    settings: HostSettings,
    subjects: Subjects,
    data: DataFolder,
    key: KeyPair,
    admission: Admission,
    stopping: CancellationToken,
) -> Result<Shared, Error> {
    let id = key.public_key();
    let connection = connect_waiting(&settings.control, &stopping).await?;
    let store = Store::open(
        &connection,
        StoreOptions {
            lattice: settings.lattice.clone(),
            domain: settings.js_domain.clone(),
            cached: last_state(&data, &settings),
        },
    )?;
    let mut labels = names::built_in_labels();
    labels.extend(settings.labels);
    Ok(Shared {
        friendly_name: friendly_name(&id),
        events: EventPublisher::new(&connection, &settings.lattice, &id)?,
        id,
        subjects,
        js_domain: settings.js_domain,
        started: Instant::now(),
        limits: settings.limits,
        labels: RwLock::new(labels),
        component_auction: settings.component_auction,
        provider_auction: settings.provider_auction,
        provider_shutdown_delay: settings.provider_shutdown_delay,
        heartbeat_interval: settings.heartbeat_interval,
        admission,
        connection,
        store,
        routes: Routes::default(),
        seat: ArcSwapOption::empty(),
        seat_problem: SeatProblem::default(),
        telling_seat: Mutex::default(),
        value_room: Semaphore::new(VALUE_ROOM),
        spies: Spies::default(),
        metrics: Metrics::new(settings.telemetry.counters()),
        telemetry: settings.telemetry,
        data,
        components: Components::default(),
        providers: Providers::default(),
        waiting: Waiting::default(),
        turns: Turns::default(),
        starting: Semaphore::new(CONCURRENT_STARTS),
        forgotten: AtomicBool::new(false),
        instance: uuid::Uuid::new_v4().to_string(),
        changed: Notify::new(),
        tasks: TaskTracker::new(),
        stopping,
        was_ready: CancellationToken::new(),
        stop_wanted: StopWanted(watch::Sender::new(None)),
        unsaved: Mutex::default(),
        saving: tokio::sync::Mutex::default(),
    })
}
