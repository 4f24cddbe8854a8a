//! Commands about the lattice's state: links, claims and named configs. One host answers for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wattle_lattice::{Revision, Snapshot};
use wattle_protocol::LinkConflict;
use wattle_protocol::control::{DeleteLink, Envelope};
use wattle_protocol::event::{ConfigChanged, Event, LinkdefDeleted, LinkdefSetFailed};
use wattle_protocol::link::{Link, PutOutcome};
use wattle_protocol::name::check_config_name;
use wattle_protocol::state::{ComponentSpec, is_secret_reference};

use super::{Refusal, Reply, done, parse};
use crate::shared::Shared;

/// How long a write may take to come back to the host that made it.
const PROPAGATION: Duration = Duration::from_secs(2);

/// How long a config that was written elsewhere a moment ago may take to arrive here.
const CONFIG_PATIENCE: Duration = Duration::from_secs(1);

/// Why a link is not put.
#[derive(Debug, thiserror::Error)]
enum PutRefused {
    #[error(transparent)]
    Conflict(#[from] LinkConflict),
    #[error(transparent)]
    State(#[from] wattle_lattice::Error),
}

impl Shared {
    pub(super) fn link_get(&self) -> Reply {
        let snapshot = self.store.snapshot();
        let links: Vec<&Link> = snapshot.specs.values().flat_map(|spec| &spec.links).collect();
        Some(Envelope::ok_with(links).encode())
    }

    pub(super) async fn link_put(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let link: Link = parse(payload)?;
        match self.put_link(&link).await {
            Ok(()) => {
                self.changed.notify_one();
                self.publish(Event::LinkdefSet(link)).await;
                Ok(done("successfully set link"))
            }
            Err(error) => {
                self.publish(Event::LinkdefSetFailed(LinkdefSetFailed { link, error: error.clone() })).await;
                Err(error)
            }
        }
    }

    async fn put_link(&self, link: &Link) -> Result<(), Refusal> {
        link.check().map_err(|error| error.to_string())?;
        self.check_configs(link).await?;
        let put = |spec: &mut ComponentSpec| {
            Ok::<_, PutRefused>(spec.put_link(link.clone())? != PutOutcome::Unchanged)
        };
        let written = self.store.edit_spec(&link.source_id, put).await.map_err(|error| error.to_string())?;
        self.see(written).await;
        Ok(())
    }

    /// Waits until this host sees what it wrote, so that who reads right after a write reads what was written. Where
    /// that takes longer, the write is no less done.
    async fn see(&self, written: Option<Revision>) {
        if let Some(revision) = written
            && let Err(error) = self.store.wait_for(revision, PROPAGATION).await
        {
            tracing::warn!(%error, "written, and not seen yet");
        }
        // Calls that are made once this is answered go by it.
        self.routes.follow(&self.store);
    }

    /// Every named config of a link must exist. One that another host has just written may arrive a moment later.
    async fn check_configs(&self, link: &Link) -> Result<(), Refusal> {
        let mut snapshots = self.store.watch();
        let arrived = snapshots.wait_for(|snapshot| missing_configs(snapshot, link).is_empty());
        if let Ok(Ok(_)) = tokio::time::timeout(CONFIG_PATIENCE, arrived).await {
            return Ok(());
        }
        let missing = missing_configs(&self.store.snapshot(), link);
        Err(format!("Failed to validate configuration and secrets. {missing}"))
    }

    pub(super) async fn link_del(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let request: DeleteLink = parse(payload)?;
        let mut removed = Vec::new();
        let mut exists = self.store.snapshot().specs.contains_key(&request.source_id);
        let delete = |spec: &mut ComponentSpec| {
            exists |= *spec != ComponentSpec::default();
            removed = spec.delete_links(&request);
            Ok::<_, wattle_lattice::Error>(!removed.is_empty())
        };
        let written =
            self.store.edit_spec(&request.source_id, delete).await.map_err(|error| error.to_string())?;
        if !exists {
            return Ok(done("successfully deleted link (spec doesn't exist)"));
        }
        self.see(written).await;
        self.changed.notify_one();
        for event in deleted_events(&request, removed) {
            self.publish(event).await;
        }
        Ok(done("successfully deleted link"))
    }

    pub(super) fn claims_get(&self) -> Reply {
        let snapshot = self.store.snapshot();
        let claims: Vec<_> = snapshot.claims.values().map(|record| record.entry()).collect();
        Some(Envelope::ok_with(claims).encode())
    }

    pub(super) fn config_get(&self, name: &str) -> Result<Reply, Refusal> {
        check_config_name(name).map_err(|error| error.to_string())?;
        let snapshot = self.store.snapshot();
        Ok(match snapshot.configs.get(name) {
            Some(config) => Some(Envelope::ok_with(Arc::clone(config)).encode()),
            None => done("Configuration not found"),
        })
    }

    pub(super) async fn config_put(&self, name: &str, payload: &[u8]) -> Result<Reply, Refusal> {
        check_config_name(name).map_err(|error| error.to_string())?;
        let config: BTreeMap<String, String> = parse(payload)?;
        let written = self.store.put_config(name, &config).await.map_err(|error| error.to_string())?;
        self.see(Some(written)).await;
        self.changed.notify_one();
        self.publish(Event::ConfigSet(ConfigChanged { config_name: name.to_owned() })).await;
        Ok(done("successfully put config"))
    }

    pub(super) async fn config_del(&self, name: &str) -> Result<Reply, Refusal> {
        check_config_name(name).map_err(|error| error.to_string())?;
        let written = self.store.delete_config(name).await.map_err(|error| error.to_string())?;
        self.see(Some(written)).await;
        self.changed.notify_one();
        self.publish(Event::ConfigDeleted(ConfigChanged { config_name: name.to_owned() })).await;
        Ok(done("successfully deleted config"))
    }
}

/// What a link names and the state lacks, in words; empty where nothing is missing.
fn missing_configs(snapshot: &Snapshot, link: &Link) -> String {
    let names = link.source_config.iter().chain(&link.target_config);
    names
        .filter(|name| !snapshot.configs.contains_key(*name))
        .map(|name| {
            let kind = if is_secret_reference(name) { "Secret reference" } else { "Configuration" };
            format!("{kind} {name} not found in config store. ")
        })
        .collect()
}

/// One event per link that went; one without a target where there was none.
fn deleted_events(request: &DeleteLink, removed: Vec<Link>) -> Vec<Event> {
    let event = |link: Option<Link>| {
        let (target, interfaces) = link.map(|link| (link.target, link.interfaces)).unzip();
        Event::LinkdefDeleted(LinkdefDeleted {
            source_id: request.source_id.clone(),
            name: request.name.clone(),
            wit_namespace: request.wit_namespace.clone(),
            wit_package: request.wit_package.clone(),
            target,
            interfaces,
        })
    };
    if removed.is_empty() {
        return vec![event(None)];
    }
    removed.into_iter().map(|link| event(Some(link))).collect()
}
