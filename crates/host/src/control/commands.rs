//! Commands about this host and what it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use wattle_artifact::Credentials;
use wattle_protocol::control::{
    ComponentAuctionAck, ComponentAuctionRequest, DeleteLabel, Envelope, HostPing, ProviderAuctionAck,
    ProviderAuctionRequest, PutLabel, PutRegistries, RegistryCredential, ScaleComponent, StartProvider,
    StopHost, StopProvider, UpdateComponent,
};
use wattle_protocol::event::{Event, LabelsChanged};
use wattle_protocol::name::check_id;

use super::{Refusal, Reply, done, parse, refuse};
use crate::names::{human_duration, is_built_in};
use crate::shared::{Shared, VERSION};
use crate::turns::Kind;

/// How long a host takes to stop where the command doesn't say.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the answer to an update waits for the changes before it; clients give up after 2 s.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn ping(&self) -> HostPing {
        let uptime = self.started.elapsed();
        HostPing {
            id: self.id.clone(),
            friendly_name: self.friendly_name.clone(),
            labels: self.labels(),
            lattice: self.lattice().to_owned(),
            uptime_seconds: uptime.as_secs(),
            uptime_human: Some(human_duration(uptime)),
            version: Some(VERSION.to_owned()),
            rpc_host: Some(self.connection.url()),
            ctl_host: Some(self.connection.url()),
            js_domain: self.js_domain.clone(),
        }
    }

    /// The command's host, where it names one, must be this one.
    fn check_addressee(&self, host_id: &str) -> Result<(), Refusal> {
        if host_id.is_empty() || host_id == self.id {
            return Ok(());
        }
        Err(format!("invalid host_id [{host_id}]: the command reached host {}", self.id))
    }

    pub(super) fn host_stop(self: &Arc<Self>, payload: &[u8]) -> Result<Reply, Refusal> {
        let request: StopHost = if payload.is_empty() { StopHost::default() } else { parse(payload)? };
        self.check_addressee(&request.host_id)?;
        self.stop_wanted.request(request.timeout.map_or(STOP_TIMEOUT, Duration::from_millis), request.forget);
        Ok(done("successfully handled stop host"))
    }

    /// The answer to a command that is refused before it takes its turn.
    fn refused(&self, command: &'static str, refusal: &str) -> BoxFuture<'static, Reply> {
        self.metrics.refused(command);
        Box::pin(std::future::ready(refuse(refusal)))
    }

    pub(super) async fn begin_scale(self: Arc<Self>, payload: &[u8]) -> BoxFuture<'static, Reply> {
        let request = parse::<ScaleComponent>(payload).and_then(|request| {
            self.check_addressee(&request.host_id)?;
            check_id("component_id", &request.component_id).map_err(|error| error.to_string())?;
            Ok(request)
        });
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return self.refused("component.scale", &refusal),
        };
        let message = self.scale_acknowledgement(&request);
        let turn = self.turns.queue(Kind::Component, &request.component_id).await;
        let shared = self.clone();
        self.tasks.spawn(async move { shared.scale_component(request, turn.await).await });
        Box::pin(std::future::ready(done(&message)))
    }

    pub(super) async fn begin_update(self: Arc<Self>, payload: &[u8]) -> BoxFuture<'static, Reply> {
        let request = parse::<UpdateComponent>(payload).and_then(|request| {
            self.check_addressee(&request.host_id)?;
            check_id("component_id", &request.component_id).map_err(|error| error.to_string())?;
            Ok(request)
        });
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return self.refused("component.update", &refusal),
        };
        let mut turn = self.turns.queue(Kind::Component, &request.component_id).await;
        Box::pin(async move {
            // What is under way decides the answer; where that takes longer, only events tell.
            let in_time = tokio::time::timeout(TURN_PATIENCE, &mut turn).await.ok();
            let (id, new) = (&request.component_id, &request.new_component_ref);
            let message = match (&in_time, self.components.get(id)) {
                (Some(_), None) => {
                    self.metrics.refused("component.update");
                    return refuse(&format!("component {id} not found"));
                }
                (Some(_), Some(running)) if running.reference == *new => {
                    return done(&format!("component {id} already updated to {new}"));
                }
                (_, Some(running)) => format!("component {id} updating from {} to {new}", running.reference),
                (None, None) => format!("component {id} updating to {new}"),
            };
            let shared = self.clone();
            self.tasks.spawn(async move {
                let turn = match in_time {
                    Some(turn) => turn,
                    None => turn.await,
                };
                shared.update_component(request, turn).await;
            });
            done(&message)
        })
    }

    /// Silence means no: a bid is only made by a host that could do it.
    pub(super) fn component_bid(&self, payload: &[u8]) -> Reply {
        let request: ComponentAuctionRequest = parse(payload).ok()?;
        let bids = self.component_auction
            && self.fits(&request.constraints)
            && self.components.get(&request.component_id).is_none();
        let ack = || ComponentAuctionAck {
            component_ref: request.component_ref,
            component_id: request.component_id,
            host_id: self.id.clone(),
            constraints: request.constraints,
        };
        bids.then(|| Envelope::ok_with(ack()).encode())
    }

    pub(super) fn provider_bid(&self, payload: &[u8]) -> Reply {
        let request: ProviderAuctionRequest = parse(payload).ok()?;
        let bids = self.provider_auction
            && self.fits(&request.constraints)
            && self.providers.get(&request.provider_id).is_none();
        let ack = || ProviderAuctionAck {
            host_id: self.id.clone(),
            provider_ref: request.provider_ref,
            provider_id: request.provider_id,
            constraints: request.constraints,
        };
        bids.then(|| Envelope::ok_with(ack()).encode())
    }

    fn fits(&self, constraints: &BTreeMap<String, String>) -> bool {
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner);
        constraints.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    pub(super) async fn begin_provider_start(self: Arc<Self>, payload: &[u8]) -> BoxFuture<'static, Reply> {
        let request = parse::<StartProvider>(payload).and_then(|request| {
            self.check_addressee(&request.host_id)?;
            check_id("provider_id", &request.provider_id).map_err(|error| error.to_string())?;
            // A stop that waits for its turn may make room: then this start waits behind it.
            let waited_for = self.turns.is_waited_for(Kind::Provider, &request.provider_id);
            if !waited_for && self.providers.get(&request.provider_id).is_some() {
                return Err("provider with that ID is already running".to_owned());
            }
            Ok(request)
        });
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return self.refused("provider.start", &refusal),
        };
        let turn = self.turns.queue(Kind::Provider, &request.provider_id).await;
        let shared = self.clone();
        self.tasks.spawn(async move { shared.start_provider(request, turn.await).await });
        Box::pin(std::future::ready(done("successfully started provider")))
    }

    pub(super) async fn begin_provider_stop(self: Arc<Self>, payload: &[u8]) -> BoxFuture<'static, Reply> {
        let request = parse::<StopProvider>(payload).and_then(|request| {
            self.check_addressee(&request.host_id)?;
            Ok(request)
        });
        let id = match request {
            Ok(request) => request.provider_id,
            Err(refusal) => return self.refused("provider.stop", &refusal),
        };
        let turn = self.turns.queue(Kind::Provider, &id).await;
        Box::pin(async move {
            let turn = turn.await;
            if !self.stop_provider(&id, &turn).await {
                self.metrics.refused("provider.stop");
                return refuse("provider with that ID is not running");
            }
            done("successfully stopped provider")
        })
    }

    pub(super) async fn label_put(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let PutLabel { key, value } = parse(payload)?;
        if is_built_in(&key) {
            return Err("hostcore.* labels cannot be set dynamically".to_owned());
        }
        self.change_labels(|labels| labels.insert(key, value)).await;
        Ok(done("successfully put label"))
    }

    pub(super) async fn label_del(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let DeleteLabel { key } = parse(payload)?;
        if is_built_in(&key) {
            return Err("hostcore.* labels cannot be deleted".to_owned());
        }
        if !self.labels().contains_key(&key) {
            return Ok(done("successfully deleted label (no such label)"));
        }
        self.change_labels(|labels| labels.remove(&key)).await;
        Ok(done("successfully deleted label"))
    }

    async fn change_labels(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> Option<String>) {
        let labels = {
            let mut labels = self.labels.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut labels);
            labels.clone()
        };
        self.publish(Event::LabelsChanged(LabelsChanged { host_id: self.id.clone(), labels })).await;
    }

    pub(super) fn registries_put(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let registries: PutRegistries = parse(payload)?;
        let mut credentials = Vec::new();
        for (registry, RegistryCredential { username, password, token, .. }) in registries {
            let given = Credentials::from_parts(username, password, token)
                .map_err(|error| format!("registry {registry}: {error}"))?;
            credentials.extend(given.map(|given| (registry, given)));
        }
        self.admission
            .artifacts
            .registries()
            .merge_credentials(credentials)
            .map_err(|error| error.to_string())?;
        Ok(done("successfully put registries"))
    }
}
