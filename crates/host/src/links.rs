//! Keeping what runs here in step with the lattice's links and configs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wattle_lattice::Snapshot;
use wattle_protocol::link::Link;
use wattle_provider::{LinkKey, ResolvedLink};

use crate::config;
use crate::error::StartError;
use crate::providers::{RunningProvider, Told};
use crate::shared::Shared;

/// How long after a refusal a provider is told again: what was in the way (a port in use) may be gone.
const RETRY: Duration = Duration::from_secs(5);

/// What a provider's problems with its own configuration are noted under.
const CONFIGURATION: &str = "configuration";

/// How often the copy of the state on disk is renewed at most.
const SAVE: Duration = Duration::from_secs(1);

/// The copy of the state on disk, and whose it is.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptState {
    pub(crate) lattice: String,
    pub(crate) domain: Option<String>,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl Shared {
    /// Leads calls by the links as they are now, until the host stops. Apart from [`Shared::follow_state`], because no
    /// call may wait until a provider has taken something in.
    pub(crate) async fn follow_links(self: Arc<Self>) {
        let mut snapshots = self.store.watch();
        loop {
            snapshots.mark_unchanged();
            self.routes.follow(&self.store);
            match self.stopping.run_until_cancelled(snapshots.changed()).await {
                Some(Ok(())) => {}
                None | Some(Err(_)) => return,
            }
        }
    }

    /// Tells components and providers of every change, until the host stops.
    pub(crate) async fn follow_state(self: Arc<Self>) {
        let mut snapshots = self.store.watch();
        let mut saved = tokio::time::Instant::now();
        let mut unsaved = true;
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            self.metrics.links.set(snapshot.specs.values().map(|spec| spec.links.len() as i64).sum());
            // A provider that hears of a link may use it at once.
            self.routes.follow(&self.store);
            self.tell_components(&snapshot);
            let mut refused = false;
            for provider in self.providers.all() {
                refused |= !self.tell(&provider).await;
            }
            if unsaved && saved.elapsed() >= SAVE {
                unsaved = !self.save_state(snapshot).await;
                saved = tokio::time::Instant::now();
            }
            let retry = async {
                match (refused, unsaved) {
                    (_, true) => tokio::time::sleep(SAVE).await,
                    (true, false) => tokio::time::sleep(RETRY).await,
                    (false, false) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                changed = snapshots.changed() => match changed {
                    Ok(()) => unsaved = true,
                    Err(_) => return,
                },
                () = self.changed.notified() => {}
                () = retry => {}
            }
        }
    }

    /// Keeps a copy of the state, if it is complete; `false` where it was not kept.
    async fn save_state(self: &Arc<Self>, snapshot: Arc<Snapshot>) -> bool {
        if self.ready().is_err() {
            return false;
        }
        let shared = self.clone();
        let keep = move || {
            let (lattice, domain) = (shared.lattice().to_owned(), shared.js_domain.clone());
            shared.data.save_state(&KeptState { lattice, domain, snapshot })
        };
        let saved = tokio::task::spawn_blocking(keep).await;
        if let Ok(Err(error)) = &saved {
            tracing::warn!(%error, "the copy of the lattice's state can't be written");
        }
        matches!(saved, Ok(Ok(())))
    }

    /// Gives components their configs as they are now; a config that was deleted leaves the last known one.
    fn tell_components(&self, snapshot: &Snapshot) {
        for component in self.components.all().iter().filter(|component| !component.config.is_empty()) {
            match config::merge(snapshot, &component.config) {
                Ok(config) => component.served.set_config(config),
                Err(error) => {
                    tracing::warn!(component = %component.id, %error, "component keeps its last config")
                }
            }
        }
    }

    /// Tells a provider what has changed for it: its configuration, then links that are gone, then new ones. Answers
    /// whether it took everything.
    pub(crate) async fn tell(&self, running: &RunningProvider) -> bool {
        let mut told = running.told.lock().await;
        if running.stopped.is_cancelled() {
            return true;
        }
        let snapshot = self.store.snapshot();
        let configured = self.tell_config(running, &mut told, &snapshot).await;
        let wanted = wanted_links(&snapshot, &running.id);
        let gone: Vec<_> = told.links.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for key in gone {
            told.links.remove(&key);
            running.provider.link_deleted(&key).await;
        }
        let subjects: Vec<_> = wanted.keys().map(ToString::to_string).collect();
        running.keep_problems(|subject| {
            matches!(subject, "health" | CONFIGURATION) || subjects.iter().any(|wanted| wanted == subject)
        });
        let mut all = configured;
        for (key, link) in wanted {
            all &= self.tell_link(running, &mut told, key, link).await;
        }
        all
    }

    async fn tell_config(&self, running: &RunningProvider, told: &mut Told, snapshot: &Snapshot) -> bool {
        let result = match config::merge(snapshot, &running.config) {
            Ok(config) if config == told.config => Ok(()),
            Ok(config) => match running.provider.configure(config.clone()).await {
                Ok(()) => {
                    told.config = config;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        note(running, CONFIGURATION, result)
    }

    async fn tell_link(
        &self,
        running: &RunningProvider,
        told: &mut Told,
        key: LinkKey,
        link: Result<ResolvedLink, StartError>,
    ) -> bool {
        let subject = key.to_string();
        let link = match link {
            Ok(link) => link,
            Err(error) => return note(running, &subject, Err(error)),
        };
        if told.links.get(&key).is_some_and(|(known, taken)| *taken && *known == link) {
            return note(running, &subject, Ok(()));
        }
        let result = running.provider.link_put(link.clone()).await.map_err(StartError::from);
        told.links.insert(key, (link, result.is_ok()));
        note(running, &subject, result)
    }
}

/// Notes a provider's answer where the inventory shows it, and logs what is news.
fn note(running: &RunningProvider, subject: &str, result: Result<(), StartError>) -> bool {
    let problem = result.err().map(|error| error.to_string());
    let ok = problem.is_none();
    if running.note(subject, problem.clone())
        && let Some(problem) = problem
    {
        tracing::warn!(provider = %running.id, %subject, %problem, "provider can't do what it is told; it is told again");
    }
    ok
}

type Wanted = BTreeMap<LinkKey, Result<ResolvedLink, StartError>>;

/// The links in which `id` is source or target, with the configs of both ends.
fn wanted_links(snapshot: &Snapshot, id: &str) -> Wanted {
    let links = snapshot.specs.values().flat_map(|spec| &spec.links);
    let concerned = links.filter(|link| link.source_id == id || link.target == id);
    concerned.map(|link| (key(link), resolve(snapshot, link))).collect()
}

fn key(link: &Link) -> LinkKey {
    LinkKey {
        source: link.source_id.clone(),
        target: link.target.clone(),
        name: link.name.clone(),
        namespace: link.wit_namespace.clone(),
        package: link.wit_package.clone(),
    }
}

fn resolve(snapshot: &Snapshot, link: &Link) -> Result<ResolvedLink, StartError> {
    let LinkKey { source, target, name, namespace, package } = key(link);
    Ok(ResolvedLink {
        source,
        target,
        name,
        namespace,
        package,
        interfaces: link.interfaces.clone(),
        source_config: config::merge(snapshot, &link.source_config)?,
        target_config: config::merge(snapshot, &link.target_config)?,
    })
}
