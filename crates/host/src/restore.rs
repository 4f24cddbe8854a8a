//! After a restart: what the host was told to run, runs again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{join, join_all};
use wattle_lattice::StoreStatus;

use crate::data::{ComponentEntry, ProviderEntry, RunningList};
use crate::error::StartError;
use crate::shared::Shared;

/// What carries this annotation is brought back by the deployment manager that it names, not by the host.
const MANAGED_BY: &str = "wasmcloud.dev/managed-by";

/// How long the lattice's state is waited for, before the last known one has to do.
const STATE_PATIENCE: Duration = Duration::from_secs(3);

/// Pauses between attempts at what did not come back.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What should run and does not yet. It stays on the list of what the host was told to run.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    components: BTreeMap<String, (ComponentEntry, String)>,
    providers: BTreeMap<String, (ProviderEntry, String)>,
}

impl Waiting {
    fn with<T>(&self, use_it: impl FnOnce(&mut Inner) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn fill(&self, list: RunningList) {
        let reason = || "it is not started again yet".to_owned();
        self.with(|inner| {
            let managed = |annotations: &BTreeMap<String, String>| annotations.contains_key(MANAGED_BY);
            for entry in list.components.into_iter().filter(|entry| !managed(&entry.annotations)) {
                inner.components.insert(entry.id.clone(), (entry, reason()));
            }
            for entry in list.providers.into_iter().filter(|entry| !managed(&entry.annotations)) {
                inner.providers.insert(entry.id.clone(), (entry, reason()));
            }
        });
    }

    pub(crate) fn has_component(&self, id: &str) -> bool {
        self.with(|inner| inner.components.contains_key(id))
    }

    pub(crate) fn has_provider(&self, id: &str) -> bool {
        self.with(|inner| inner.providers.contains_key(id))
    }

    /// A command for this id took effect: what it was before no longer matters.
    pub(crate) fn forget_component(&self, id: &str) {
        self.with(|inner| inner.components.remove(id));
    }

    pub(crate) fn forget_provider(&self, id: &str) {
        self.with(|inner| inner.providers.remove(id));
    }

    /// Adds what waits to the list of what runs; what came back a moment ago is already there.
    pub(crate) fn add_to(&self, list: &mut RunningList) {
        self.with(|inner| {
            for (id, (entry, _)) in &inner.components {
                if !list.components.iter().any(|running| running.id == *id) {
                    list.components.push(entry.clone());
                }
            }
            for (id, (entry, _)) in &inner.providers {
                if !list.providers.iter().any(|running| running.id == *id) {
                    list.providers.push(entry.clone());
                }
            }
        });
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.with(|inner| {
            let components =
                inner.components.iter().map(|(id, (_, why))| format!("component {id} does not run: {why}"));
            let providers =
                inner.providers.iter().map(|(id, (_, why))| format!("provider {id} does not run: {why}"));
            components.chain(providers).collect()
        })
    }

    fn settle_component(&self, id: &str, result: Result<(), StartError>) {
        self.with(|inner| match result {
            Ok(()) => drop(inner.components.remove(id)),
            Err(error) => {
                tracing::warn!(component = %id, %error, "component is not back yet");
                inner.components.entry(id.to_owned()).and_modify(|(_, why)| *why = error.to_string());
            }
        });
    }

    fn settle_provider(&self, id: &str, result: Result<(), StartError>) {
        self.with(|inner| match result {
            Ok(()) => drop(inner.providers.remove(id)),
            Err(error) => {
                tracing::warn!(provider = %id, %error, "provider is not back yet");
                inner.providers.entry(id.to_owned()).and_modify(|(_, why)| *why = error.to_string());
            }
        });
    }

    fn is_empty(&self) -> bool {
        self.with(|inner| inner.components.is_empty() && inner.providers.is_empty())
    }
}

impl Shared {
    /// Starts what waits, and tries again what does not come back, until it does or a command replaces it.
    pub(crate) async fn restore(self: Arc<Self>) {
        self.await_state().await;
        let mut pause = FIRST_RETRY;
        while !self.waiting.is_empty() {
            self.restore_once().await;
            if self.waiting.is_empty() {
                break;
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_RETRY),
            }
        }
        self.save_running().await;
    }

    /// The state as it is, or as it was last known where it can't be reached.
    async fn await_state(&self) {
        let mut status = self.store.status();
        let settled = status.wait_for(|status| !matches!(status, StoreStatus::Loading));
        if tokio::time::timeout(STATE_PATIENCE, settled).await.is_err() || self.ready().is_err() {
            tracing::warn!(
                "the lattice's state can't be reached: what ran here is started with the state last known"
            );
        }
    }

    async fn restore_once(self: &Arc<Self>) {
        let (components, providers) = self.waiting.with(|inner| {
            let components: Vec<_> = inner.components.values().map(|(entry, _)| entry.clone()).collect();
            let providers: Vec<_> = inner.providers.values().map(|(entry, _)| entry.clone()).collect();
            (components, providers)
        });
        let components = components.iter().map(|entry| async {
            let result = self.restore_component(entry).await;
            self.waiting.settle_component(&entry.id, result);
        });
        let providers = providers.iter().map(|entry| async {
            let result = self.restore_provider(entry).await;
            self.waiting.settle_provider(&entry.id, result);
        });
        tokio::select! {
            () = self.stopping.cancelled() => {}
            _ = join(join_all(components), join_all(providers)) => {}
        }
    }
}
