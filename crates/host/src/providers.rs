//! The providers of this host: starting and stopping them, handing them their configuration and links, and watching
//! their health. For now those that are built in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use wattle_artifact::Reference;
use wattle_capabilities::{BUILTIN_NAMES, builtin};
use wattle_protocol::control::StartProvider;
use wattle_protocol::event::{
    Annotations, Event, ProviderHealth, ProviderStartFailed, ProviderStarted, ProviderStopped,
    event_image_ref,
};
use wattle_protocol::inventory::ProviderInventory;
use wattle_protocol::link::DEFAULT_LINK_NAME;
use wattle_provider::{LinkKey, Provider, ResolvedLink};

use crate::calls::Router;
use crate::config;
use crate::data::ProviderEntry;
use crate::error::StartError;
use crate::shared::Shared;
use crate::turns::{Kind, Turn};

/// When a provider's health is asked for the first time after its start, and how often from then on.
const FIRST_HEALTH_CHECK: Duration = Duration::from_secs(5);
const HEALTH_CHECK: Duration = Duration::from_secs(30);

/// One provider as it runs.
pub(crate) struct RunningProvider {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) config: Vec<String>,
    pub(crate) annotations: Annotations,
    pub(crate) provider: Arc<dyn Provider>,
    /// What it was told so far; held while it is told more, so that it hears one thing after another.
    pub(crate) told: tokio::sync::Mutex<Told>,
    /// What it refused or lacks, by subject, for the inventory.
    pub(crate) problems: Mutex<BTreeMap<String, String>>,
    pub(crate) stopped: CancellationToken,
}

/// What a provider was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) config: BTreeMap<String, String>,
    /// Links, and whether it took them.
    pub(crate) links: BTreeMap<LinkKey, (ResolvedLink, bool)>,
}

/// What runs, by id.
#[derive(Default)]
pub(crate) struct Providers {
    running: ArcSwap<BTreeMap<String, Arc<RunningProvider>>>,
}

impl Providers {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<RunningProvider>> {
        self.running.load().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<RunningProvider>> {
        self.running.load().values().cloned().collect()
    }

    fn insert(&self, provider: &Arc<RunningProvider>) {
        self.running.rcu(|running| {
            let mut running = BTreeMap::clone(running);
            running.insert(provider.id.clone(), provider.clone());
            running
        });
    }

    fn remove(&self, id: &str) {
        self.running.rcu(|running| {
            let mut running = BTreeMap::clone(running);
            running.remove(id);
            running
        });
    }

    pub(crate) fn entries(&self) -> Vec<ProviderEntry> {
        let entry = |provider: &Arc<RunningProvider>| ProviderEntry {
            id: provider.id.clone(),
            reference: provider.reference.clone(),
            config: provider.config.clone(),
            annotations: provider.annotations.clone(),
        };
        self.all().iter().map(entry).collect()
    }

    pub(crate) fn inventory(&self) -> Vec<ProviderInventory> {
        self.all().iter().map(|provider| provider.inventory()).collect()
    }
}

impl RunningProvider {
    /// Forgets what was wrong with links that are gone.
    pub(crate) fn keep_problems(&self, keep: impl Fn(&str) -> bool) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|subject, _| keep(subject));
    }

    fn inventory(&self) -> ProviderInventory {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let reason: Vec<_> = problems.values().cloned().collect();
        ProviderInventory {
            id: self.id.clone(),
            image_ref: Some(event_image_ref(&self.reference).to_owned()),
            name: None,
            revision: 0,
            annotations: Some(self.annotations.clone()),
            state: Some(if reason.is_empty() { "running" } else { "failing" }.to_owned()),
            reason: (!reason.is_empty()).then(|| reason.join("; ")),
        }
    }

    /// Notes what is wrong with `subject`, or that nothing is any more; answers whether that is news.
    pub(crate) fn note(&self, subject: &str, problem: Option<String>) -> bool {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => problems.insert(subject.to_owned(), problem.clone()) != Some(problem),
            None => problems.remove(subject).is_some(),
        }
    }
}

impl Shared {
    /// Starts a provider and says by event how that went.
    pub(crate) async fn start_provider(self: &Arc<Self>, request: StartProvider, turn: Turn) {
        let (id, reference) = (request.provider_id.clone(), request.provider_ref.clone());
        let entry = ProviderEntry {
            id: id.clone(),
            reference: reference.clone(),
            config: request.config,
            annotations: request.annotations.unwrap_or_default(),
        };
        match self.run_provider(&entry, &turn).await {
            Ok(()) => {
                self.waiting.forget_provider(&id);
                // Told once it is sure to come back after a restart.
                self.save_running().await;
                self.tell_started(&entry).await;
            }
            Err(error) => {
                tracing::warn!(provider = %id, %reference, %error, "provider can't be started");
                self.publish(Event::ProviderStartFailed(ProviderStartFailed {
                    provider_ref: reference,
                    provider_id: id,
                    host_id: self.id.clone(),
                    error: error.to_string(),
                    link_name: DEFAULT_LINK_NAME.to_owned(),
                }))
                .await;
            }
        }
    }

    /// Runs a provider with its configuration and the links that there are.
    async fn run_provider(self: &Arc<Self>, entry: &ProviderEntry, _turn: &Turn) -> Result<(), StartError> {
        if self.stopping.is_cancelled() {
            return Err(StartError::Stopping);
        }
        if let Some(running) = self.providers.get(&entry.id) {
            let (id, reference) = (running.id.clone(), running.reference.clone());
            return Err(StartError::ProviderRuns { id, reference });
        }
        let provider = self.make_provider(entry).await?;
        let config = config::merge_soon(&self.store, &entry.config).await?;
        provider.configure(config.clone()).await?;
        let running = Arc::new(RunningProvider {
            id: entry.id.clone(),
            reference: entry.reference.clone(),
            config: entry.config.clone(),
            annotations: entry.annotations.clone(),
            provider,
            told: tokio::sync::Mutex::new(Told { config, links: BTreeMap::new() }),
            problems: Mutex::default(),
            stopped: self.stopping.child_token(),
        });
        self.remember(&entry.id, &entry.reference, None).await;
        self.providers.insert(&running);
        self.count_providers();
        self.tell(&running).await;
        self.tasks.spawn(self.clone().watch_health(running));
        tracing::info!(provider = %entry.id, reference = %entry.reference, "provider runs");
        Ok(())
    }

    /// Starts again what this host ran before.
    pub(crate) async fn restore_provider(self: &Arc<Self>, entry: &ProviderEntry) -> Result<(), StartError> {
        let turn = self.turns.queue(Kind::Provider, &entry.id).await.await;
        // A command that came first has the last word.
        if !self.waiting.has_provider(&entry.id) || self.providers.get(&entry.id).is_some() {
            return Ok(());
        }
        self.run_provider(entry, &turn).await?;
        self.tell_started(entry).await;
        Ok(())
    }

    async fn tell_started(&self, entry: &ProviderEntry) {
        self.publish(Event::ProviderStarted(ProviderStarted {
            host_id: self.id.clone(),
            image_ref: event_image_ref(&entry.reference).to_owned(),
            provider_id: entry.id.clone(),
            annotations: entry.annotations.clone(),
            ..ProviderStarted::default()
        }))
        .await;
    }

    async fn make_provider(self: &Arc<Self>, entry: &ProviderEntry) -> Result<Arc<dyn Provider>, StartError> {
        match Reference::parse(&entry.reference)? {
            Reference::Builtin(name) => {
                let lattice = Arc::new(Router::new(self));
                builtin(&name, entry.id.clone(), lattice)
                    .ok_or_else(|| StartError::NoBuiltin { name, known: BUILTIN_NAMES.join(", ") })
            }
            parsed => {
                let admitting = self.admission.provider(&entry.reference, &parsed);
                let verified =
                    self.stopping.run_until_cancelled(admitting).await.ok_or(StartError::Stopping)??;
                let name = verified.claims.metadata.name.unwrap_or_else(|| "without a name".to_owned());
                Err(StartError::ForeignProvider { reference: entry.reference.clone(), name })
            }
        }
    }

    /// Lets a provider finish what it has taken, ends it, and says so. `false` where no such provider runs here.
    pub(crate) async fn stop_provider(self: &Arc<Self>, id: &str, _turn: &Turn) -> bool {
        self.waiting.forget_provider(id);
        let Some(running) = self.providers.get(id) else { return false };
        self.providers.remove(id);
        self.count_providers();
        self.shut_down(&running).await;
        self.save_running().await;
        self.publish(Event::ProviderStopped(ProviderStopped::new(
            &self.id,
            id,
            running.annotations.clone(),
            "stop",
        )))
        .await;
        true
    }

    /// Ends a provider; it has until the configured delay to finish.
    pub(crate) async fn shut_down(&self, running: &RunningProvider) {
        running.stopped.cancel();
        let ended = async {
            // It is told one thing after another, this last.
            let _told = running.told.lock().await;
            running.provider.shutdown().await;
        };
        if tokio::time::timeout(self.provider_shutdown_delay, ended).await.is_err() {
            tracing::warn!(provider = %running.id, "provider did not finish in time and was ended");
        }
    }

    fn count_providers(&self) {
        self.metrics.providers.set(self.providers.all().len().try_into().unwrap_or(i64::MAX));
    }

    /// Asks a provider how it is until it is stopped, and tells changes by event.
    async fn watch_health(self: Arc<Self>, running: Arc<RunningProvider>) {
        let mut was_healthy = false;
        let mut pause = FIRST_HEALTH_CHECK;
        loop {
            tokio::select! {
                () = running.stopped.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = HEALTH_CHECK;
            let health = running.provider.health().await;
            let data = ProviderHealth { host_id: self.id.clone(), provider_id: running.id.clone() };
            let event = match (was_healthy, health.healthy) {
                (false, true) => Event::HealthCheckPassed(data),
                (true, false) => Event::HealthCheckFailed(data),
                _ => Event::HealthCheckStatus(data),
            };
            was_healthy = health.healthy;
            let message = health.message.unwrap_or_else(|| "it says that it is not healthy".to_owned());
            running.note("health", (!was_healthy).then_some(message));
            self.publish(event).await;
        }
    }
}
