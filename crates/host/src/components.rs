//! The components of this host: starting, scaling, updating and stopping them.
//!
//! Commands for one id take effect one after another, in the order in which they came; different ids don't wait for
//! each other. What runs is one immutable record per id, replaced whole, so calls find it without a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use wattle_identity::claims::{ComponentMetadata, Verified};
use wattle_protocol::control::{ScaleComponent, UpdateComponent};
use wattle_protocol::event::{
    Annotations, ComponentEventClaims, ComponentScaleFailed, ComponentScaled, Event,
};
use wattle_protocol::inventory::ComponentInventory;
use wattle_protocol::state::{ClaimsRecord, ComponentClaims};
use wattle_runtime::{Compiled, ComponentLimits, ServeOptions, Served};

use crate::admission::Pinned;
use crate::calls::Router;
use crate::config;
use crate::data::ComponentEntry;
use crate::error::StartError;
use crate::limits::component_limits;
use crate::shared::Shared;
use crate::turns::{Kind, Turn};

/// One component as it runs now.
pub(crate) struct Component {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) pinned: Pinned,
    pub(crate) count: u32,
    pub(crate) limits: Option<BTreeMap<String, String>>,
    pub(crate) config: Vec<String>,
    pub(crate) annotations: Annotations,
    pub(crate) claims: Option<Arc<Verified<ComponentMetadata>>>,
    pub(crate) served: Served,
}

/// What runs, by id.
#[derive(Default)]
pub(crate) struct Components {
    running: ArcSwap<BTreeMap<String, Arc<Component>>>,
}

impl Components {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Component>> {
        self.running.load().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Component>> {
        self.running.load().values().cloned().collect()
    }

    fn replace(&self, component: Arc<Component>) -> Option<Arc<Component>> {
        let id = component.id.clone();
        let mut before = None;
        self.running.rcu(|running| {
            let mut running = BTreeMap::clone(running);
            before = running.insert(id.clone(), component.clone());
            running
        });
        before
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Component>> {
        let mut before = None;
        self.running.rcu(|running| {
            let mut running = BTreeMap::clone(running);
            before = running.remove(id);
            running
        });
        before
    }

    pub(crate) fn entries(&self) -> Vec<ComponentEntry> {
        self.all().iter().map(|component| component.entry()).collect()
    }
}

impl Component {
    fn entry(&self) -> ComponentEntry {
        ComponentEntry {
            id: self.id.clone(),
            reference: self.reference.clone(),
            pinned: self.pinned.clone(),
            count: self.count,
            limits: self.limits.clone(),
            config: self.config.clone(),
            annotations: self.annotations.clone(),
        }
    }

    pub(crate) fn inventory(&self) -> ComponentInventory {
        let metadata = self.claims.as_ref().map(|claims| &claims.claims.metadata);
        ComponentInventory {
            id: self.id.clone(),
            image_ref: self.reference.clone(),
            name: metadata.and_then(|metadata| metadata.name.clone()),
            annotations: Some(self.annotations.clone()),
            revision: metadata.and_then(|metadata| metadata.revision).unwrap_or(0),
            max_instances: self.count,
            limits: self.limits.clone(),
            config: self.config.clone(),
            digest: Some(self.pinned.digest.clone()),
            state: Some("running".to_owned()),
            reason: None,
        }
    }

    /// The event that says how many of this component run; `count` 0 when it is gone.
    fn scaled(&self, host_id: &str, count: u32) -> Event {
        Event::ComponentScaled(ComponentScaled {
            annotations: self.annotations.clone(),
            host_id: host_id.to_owned(),
            image_ref: self.reference.clone(),
            max_instances: count,
            component_id: self.id.clone(),
            public_key: self.claims.as_ref().map(|claims| claims.claims.subject.clone()),
            claims: self.claims.as_deref().map(event_claims),
        })
    }
}

/// What a scale command wants where the component does not run yet, or runs differently.
struct Wanted {
    id: String,
    reference: String,
    count: u32,
    limits: Option<BTreeMap<String, String>>,
    config: Vec<String>,
    annotations: Annotations,
}

impl Shared {
    /// What a scale command is answered at once; the rest is told by events.
    pub(crate) fn scale_acknowledgement(&self, request: &ScaleComponent) -> String {
        match self.components.get(&request.component_id) {
            Some(running) if running.reference != request.component_ref && request.count > 0 => {
                let (old, new) = (&running.reference, &request.component_ref);
                if request.allow_update {
                    format!(
                        "component will be scaled, and then its image reference is updated from {old} to {new}"
                    )
                } else {
                    format!(
                        "image references differ: {old} != {new}; the component will be scaled and keeps {old}, \
                         use an update to change it"
                    )
                }
            }
            _ => String::new(),
        }
    }

    /// Brings a component to the wanted count, and says by event how that went.
    pub(crate) async fn scale_component(self: &Arc<Self>, request: ScaleComponent, _turn: Turn) {
        let (id, reference, count) =
            (request.component_id.clone(), request.component_ref.clone(), request.count);
        let asked = request.annotations.clone();
        match self.scale(request).await {
            Ok(events) => {
                self.waiting.forget_component(&id);
                self.save_running().await;
                for event in events {
                    self.publish(event).await;
                }
            }
            Err(error) => {
                tracing::warn!(component = %id, %reference, %error, "component can't be scaled");
                self.publish(Event::ComponentScaleFailed(ComponentScaleFailed {
                    annotations: asked.unwrap_or_default(),
                    component_id: id,
                    host_id: self.id.clone(),
                    image_ref: reference,
                    max_instances: count,
                    error: error.to_string(),
                    public_key: error.public_key(),
                }))
                .await;
            }
        }
    }

    async fn scale(self: &Arc<Self>, request: ScaleComponent) -> Result<Vec<Event>, StartError> {
        let running = self.components.get(&request.component_id);
        match (running, request.count) {
            (None, 0) => Ok(vec![Event::ComponentScaled(ComponentScaled {
                annotations: request.annotations.unwrap_or_default(),
                host_id: self.id.clone(),
                image_ref: request.component_ref,
                max_instances: 0,
                component_id: request.component_id,
                public_key: None,
                claims: None,
            })]),
            (Some(_), 0) => Ok(self.stop_component(&request.component_id).into_iter().collect()),
            (None, count) => {
                let wanted = Wanted {
                    id: request.component_id,
                    reference: request.component_ref,
                    count,
                    limits: request.component_limits,
                    config: request.config,
                    annotations: request.annotations.unwrap_or_default(),
                };
                let component = self.run(wanted, None).await?;
                Ok(vec![component.scaled(&self.id, count)])
            }
            (Some(running), count) => {
                let update = request.allow_update && running.reference != request.component_ref;
                let wanted = Wanted {
                    id: request.component_id,
                    reference: if update { request.component_ref } else { running.reference.clone() },
                    count,
                    limits: request.component_limits.or_else(|| running.limits.clone()),
                    config: request.config,
                    annotations: request.annotations.unwrap_or_else(|| running.annotations.clone()),
                };
                self.change(&running, wanted).await
            }
        }
    }

    /// Replaces the program of a running component; its count, limits and configs stay.
    pub(crate) async fn update_component(self: &Arc<Self>, request: UpdateComponent, _turn: Turn) {
        let Some(running) = self.components.get(&request.component_id) else {
            return self
                .publish(Event::ComponentScaleFailed(ComponentScaleFailed {
                    annotations: request.annotations.unwrap_or_default(),
                    error: format!("component {} not found", request.component_id),
                    component_id: request.component_id,
                    host_id: self.id.clone(),
                    image_ref: request.new_component_ref,
                    max_instances: 0,
                    public_key: None,
                }))
                .await;
        };
        let wanted = Wanted {
            id: request.component_id,
            reference: request.new_component_ref.clone(),
            count: running.count,
            limits: running.limits.clone(),
            config: running.config.clone(),
            annotations: request.annotations.unwrap_or_default(),
        };
        match self.change(&running, wanted).await {
            Ok(events) => {
                self.save_running().await;
                for event in events {
                    self.publish(event).await;
                }
            }
            Err(error) => {
                tracing::warn!(component = %running.id, reference = %request.new_component_ref, %error, "component can't be updated");
                self.publish(Event::ComponentScaleFailed(ComponentScaleFailed {
                    annotations: running.annotations.clone(),
                    component_id: running.id.clone(),
                    host_id: self.id.clone(),
                    image_ref: request.new_component_ref,
                    max_instances: running.count,
                    error: error.to_string(),
                    public_key: error.public_key(),
                }))
                .await;
            }
        }
    }

    /// Changes what runs into what is wanted, without a moment in which nothing answers.
    async fn change(
        self: &Arc<Self>,
        running: &Arc<Component>,
        wanted: Wanted,
    ) -> Result<Vec<Event>, StartError> {
        let count = wanted.count;
        if wanted.reference != running.reference {
            let component = self.run(wanted, None).await?;
            return Ok(vec![component.scaled(&self.id, count), running.scaled(&self.id, 0)]);
        }
        let limits = component_limits(&self.limits, count, wanted.limits.as_ref())?;
        let config = config::merge_soon(&self.store, &wanted.config).await?;
        let served = if limits == component_limits(&self.limits, count, running.limits.as_ref())? {
            running.served.set_max_concurrent_calls(count);
            running.served.set_config(config);
            running.served.clone()
        } else {
            self.serve(running.served.compiled(), &wanted.id, limits, config)
        };
        let component = self.install(wanted, running.pinned.clone(), running.claims.clone(), served);
        Ok(vec![component.scaled(&self.id, count)])
    }

    /// Starts again what this host ran before: the same bytes, wherever its reference points now.
    pub(crate) async fn restore_component(
        self: &Arc<Self>,
        entry: &ComponentEntry,
    ) -> Result<(), StartError> {
        let _turn = self.turns.queue(Kind::Component, &entry.id).await.await;
        // A command that came first has the last word.
        if !self.waiting.has_component(&entry.id) || self.components.get(&entry.id).is_some() {
            return Ok(());
        }
        let wanted = Wanted {
            id: entry.id.clone(),
            reference: entry.reference.clone(),
            count: entry.count,
            limits: entry.limits.clone(),
            config: entry.config.clone(),
            annotations: entry.annotations.clone(),
        };
        let component = self.run(wanted, Some(&entry.pinned)).await?;
        self.publish(component.scaled(&self.id, entry.count)).await;
        Ok(())
    }

    async fn run(
        self: &Arc<Self>,
        wanted: Wanted,
        pinned: Option<&Pinned>,
    ) -> Result<Arc<Component>, StartError> {
        if self.stopping.is_cancelled() {
            return Err(StartError::Stopping);
        }
        let limits = component_limits(&self.limits, wanted.count, wanted.limits.as_ref())?;
        let config = config::merge_soon(&self.store, &wanted.config).await?;
        let admitting = async {
            let _few_at_a_time = self.starting.acquire().await.map_err(|_| StartError::Stopping)?;
            self.admission.component(&wanted.reference, pinned).await
        };
        let admitted = self.stopping.run_until_cancelled(admitting).await.ok_or(StartError::Stopping)??;
        let claims = admitted.claims.map(Arc::new);
        self.remember(&wanted.id, &wanted.reference, claims.as_deref().map(claims_record)).await;
        let served = self.serve(&admitted.compiled, &wanted.id, limits, config);
        let component = self.install(wanted, admitted.pinned, claims, served);
        tracing::info!(component = %component.id, reference = %component.reference, digest = %component.pinned.digest, count = component.count, "component runs");
        Ok(component)
    }

    /// Gives a program its id, its limits, and the way to what it imports.
    fn serve(
        self: &Arc<Self>,
        compiled: &Compiled,
        id: &str,
        limits: ComponentLimits,
        config: BTreeMap<String, String>,
    ) -> Served {
        let imports = Arc::new(Router::new(self));
        compiled.serve(ServeOptions { id: id.to_owned(), limits, config, imports })
    }

    fn install(
        self: &Arc<Self>,
        wanted: Wanted,
        pinned: Pinned,
        claims: Option<Arc<Verified<ComponentMetadata>>>,
        served: Served,
    ) -> Arc<Component> {
        let Wanted { id, reference, count, limits, config, annotations } = wanted;
        let component =
            Arc::new(Component { id, reference, pinned, count, limits, config, annotations, claims, served });
        if let Some(before) = self.components.replace(component.clone())
            && !before.served.is_same(&component.served)
        {
            self.drain(before);
        }
        self.metrics.components.set(self.components.all().len().try_into().unwrap_or(i64::MAX));
        self.changed.notify_one();
        self.tell_seat(&component.id);
        component
    }

    fn stop_component(self: &Arc<Self>, id: &str) -> Option<Event> {
        let component = self.components.remove(id)?;
        // Before it stops taking calls, so that they go elsewhere at once.
        self.tell_seat(id);
        self.metrics.components.set(self.components.all().len().try_into().unwrap_or(i64::MAX));
        tracing::info!(component = %component.id, "component is stopped");
        let event = component.scaled(&self.id, 0);
        self.drain(component);
        Some(event)
    }

    /// Lets the calls that run finish; new ones go to whatever took its place.
    fn drain(self: &Arc<Self>, component: Arc<Component>) {
        let deadline = self.limits.max_execution_time;
        self.tasks.spawn(async move { component.served.drain(deadline).await });
    }

    /// [`Shared::remember`] for everything that runs: what was started while the state was out of reach, and what the
    /// state has lost.
    pub(crate) async fn remember_all(&self) {
        for component in self.components.all() {
            let claims = component.claims.as_deref().map(claims_record);
            self.remember(&component.id, &component.reference, claims).await;
        }
        for provider in self.providers.all() {
            self.remember(&provider.id, &provider.reference, None).await;
        }
    }

    /// Writes what a workload is into the lattice's state. Where that can't be reached the workload runs all the same.
    pub(crate) async fn remember(&self, id: &str, reference: &str, claims: Option<ClaimsRecord>) {
        if self.ready().is_err() {
            return;
        }
        let known = |spec: &mut wattle_protocol::state::ComponentSpec| {
            if spec.url.is_empty() {
                reference.clone_into(&mut spec.url);
                return Ok::<_, wattle_lattice::Error>(true);
            }
            Ok(false)
        };
        if let Err(error) = self.store.edit_spec(id, known).await {
            tracing::warn!(%id, %error, "the workload is not written into the lattice's state");
        }
        if let Some(claims) = claims
            && let Err(error) = self.store.put_claims(&claims).await
        {
            tracing::warn!(%id, %error, "the workload's claims are not written into the lattice's state");
        }
    }
}

fn claims_record(verified: &Verified<ComponentMetadata>) -> ClaimsRecord {
    let claims = &verified.claims;
    ClaimsRecord::Component(ComponentClaims {
        call_alias: claims.metadata.call_alias.clone().unwrap_or_default(),
        issuer: claims.issuer.clone(),
        name: claims.metadata.name.clone().unwrap_or_default(),
        revision: claims.metadata.revision.unwrap_or(0).to_string(),
        subject: claims.subject.clone(),
        tags: claims.metadata.tags.clone().unwrap_or_default(),
        version: claims.metadata.version.clone().unwrap_or_default(),
    })
}

fn event_claims(verified: &Verified<ComponentMetadata>) -> ComponentEventClaims {
    let claims = &verified.claims;
    let moment =
        |seconds: Option<u64>| seconds.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
    ComponentEventClaims {
        call_alias: claims.metadata.call_alias.clone(),
        issuer: claims.issuer.clone(),
        tags: claims.metadata.tags.clone(),
        name: claims.metadata.name.clone().unwrap_or_default(),
        version: claims.metadata.version.clone().unwrap_or_default(),
        revision: claims.metadata.revision.unwrap_or(0),
        not_before_human: moment(claims.not_before),
        expires_human: moment(claims.expires),
    }
}
