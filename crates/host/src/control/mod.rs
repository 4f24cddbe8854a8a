//! The control interface: subscriptions, and one reply for each command.

mod commands;
mod lattice_state;

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;
use wattle_lattice::StoreStatus;
use wattle_protocol::control::{Ack, Envelope};
use wattle_protocol::subject::{ControlVerb, HostSubscription};

pub(crate) use commands::STOP_TIMEOUT;

use crate::error::Error;
use crate::shared::Shared;

/// Commands that are answered at once; more wait in the subscription. What a command sets going has bounds of its own.
const CONCURRENT_COMMANDS: usize = 256;

/// A command's answer: the bytes of the reply, or silence.
pub(crate) type Reply = Option<Vec<u8>>;

/// A message from the control interface could not be read.
type Refusal = String;

impl Shared {
    /// Subscribes to what a host always listens to, and starts answering.
    pub(crate) async fn serve_control(self: &Arc<Self>) -> Result<(), Error> {
        let limit = Arc::new(Semaphore::new(CONCURRENT_COMMANDS));
        let always = self.subjects.always(&self.id);
        for wanted in &always {
            let subscription = self.subscribe(wanted).await?;
            self.tasks.spawn(self.clone().answer(subscription, limit.clone()));
        }
        self.settle(&always).await?;
        self.tasks.spawn(self.clone().serve_state(limit));
        Ok(())
    }

    async fn subscribe(&self, wanted: &HostSubscription) -> Result<Subscriber, Error> {
        let (client, subject) = (self.connection.client(), wanted.subject.clone());
        let subscribed = match wanted.queue.clone() {
            Some(queue) => client.queue_subscribe(subject, queue).await,
            None => client.subscribe(subject).await,
        };
        subscribed.map_err(|reason| Error::Subscribe {
            subject: wanted.subject.clone(),
            reason: reason.to_string(),
        })
    }

    /// Waits until the server has seen the subscriptions: what is sent from now on arrives, unless it refused them.
    async fn settle(&self, subscriptions: &[HostSubscription]) -> Result<(), Error> {
        self.connection.round_trip().await?;
        for wanted in subscriptions {
            if let Some(reason) = self.connection.refused(&wanted.subject) {
                return Err(Error::Subscribe { subject: wanted.subject.clone(), reason });
            }
        }
        Ok(())
    }

    /// Answers for the lattice's state only while this host is caught up with it: otherwise another host shall.
    async fn serve_state(self: Arc<Self>, limit: Arc<Semaphore>) {
        let mut status = self.store.status();
        loop {
            let ready = status.wait_for(|status| matches!(status, StoreStatus::Ready));
            tokio::select! {
                () = self.stopping.cancelled() => return,
                ready = ready => if ready.is_err() { return },
            }
            self.metrics.state_ready.set(1);
            let mut answering = tokio::task::JoinSet::new();
            for wanted in self.subjects.needs_state() {
                match self.subscribe(&wanted).await {
                    Ok(subscription) => {
                        drop(answering.spawn(self.clone().answer(subscription, limit.clone())))
                    }
                    Err(error) => {
                        tracing::warn!(subject = %wanted.subject, %error, "can't answer for the lattice's state")
                    }
                }
            }
            let lost = status.wait_for(|status| !matches!(status, StoreStatus::Ready));
            tokio::select! {
                () = self.stopping.cancelled() => return,
                lost = lost => if lost.is_err() { return },
            }
            self.metrics.state_ready.set(0);
            tracing::warn!(
                "this host leaves questions about the lattice's state to others until it has caught up"
            );
        }
    }

    async fn answer(self: Arc<Self>, mut subscription: Subscriber, limit: Arc<Semaphore>) {
        loop {
            let message = tokio::select! {
                () = self.stopping.cancelled() => return,
                message = subscription.next() => message,
            };
            let Some(message) = message else { return };
            // Questions about the host itself never wait behind work.
            let verb = self.subjects.parse_control(&message.subject, &self.id);
            let about_itself =
                matches!(verb, Some(ControlVerb::HostPing | ControlVerb::HostGet | ControlVerb::HostStop));
            let permit = if about_itself { None } else { limit.clone().acquire_owned().await.ok() };
            let shared = self.clone();
            // What decides the order of commands for one component happens before the next message is read.
            let command = shared.clone().begin(verb, &message).await;
            self.tasks.spawn(async move {
                let reply = command.await;
                drop(permit);
                shared.reply(message, reply).await;
            });
        }
    }

    async fn reply(&self, message: Message, reply: Reply) {
        if let (Some(subject), Some(mut bytes)) = (message.reply, reply) {
            let (size, most) = (bytes.len(), self.connection.client().server_info().max_payload);
            if size > most {
                let reason = format!(
                    "the reply has {size} bytes and the NATS server takes {most} at most; raise its max_payload"
                );
                bytes = Ack::error(reason).encode();
            }
            if let Err(error) = self.connection.client().publish(subject, Bytes::from(bytes)).await {
                tracing::warn!(subject = %message.subject, size, %error, "a control command's reply can't be sent");
            }
        }
    }

    /// Does what must be done in order, and gives the rest as a future.
    async fn begin(
        self: Arc<Self>,
        verb: Option<ControlVerb>,
        message: &Message,
    ) -> futures::future::BoxFuture<'static, Reply> {
        let payload = message.payload.clone();
        let Some(verb) = verb else {
            tracing::debug!(subject = %message.subject, "unsupported control subject");
            return Box::pin(std::future::ready(refuse("unsupported subject")));
        };
        if let Some(refusal) = self.not_yet(&verb) {
            return Box::pin(std::future::ready(refusal));
        }
        match verb {
            ControlVerb::ComponentScale => self.begin_scale(&payload).await,
            ControlVerb::ComponentUpdate => self.begin_update(&payload).await,
            ControlVerb::ProviderStart => self.begin_provider_start(&payload).await,
            ControlVerb::ProviderStop => self.begin_provider_stop(&payload).await,
            verb => Box::pin(async move { self.command(verb, &payload).await }),
        }
    }

    /// Before the first time that this host is caught up it can't know what a command means: it tells why, and bids
    /// in no auction. What asks about the host itself is always answered.
    fn not_yet(&self, verb: &ControlVerb) -> Option<Reply> {
        if matches!(verb, ControlVerb::HostPing | ControlVerb::HostGet | ControlVerb::HostStop)
            || self.was_ready()
        {
            return None;
        }
        if matches!(verb, ControlVerb::ComponentAuction | ControlVerb::ProviderAuction) {
            return Some(None);
        }
        let reason = self.ready().err().unwrap_or_default();
        Some(refuse(&format!("host {} has not caught up with the lattice's state yet: {reason}", self.id)))
    }

    async fn command(self: &Arc<Self>, verb: ControlVerb, payload: &[u8]) -> Reply {
        let name = verb_name(&verb);
        let result = match verb {
            ControlVerb::HostPing => Ok(Some(Envelope::ok_with(self.ping()).encode())),
            ControlVerb::HostGet => Ok(Some(Envelope::ok_with(self.inventory()).encode())),
            ControlVerb::HostStop => self.host_stop(payload),
            ControlVerb::ComponentAuction => return self.component_bid(payload),
            ControlVerb::ProviderAuction => return self.provider_bid(payload),
            ControlVerb::LabelPut => self.label_put(payload).await,
            ControlVerb::LabelDel => self.label_del(payload).await,
            ControlVerb::RegistryPut => self.registries_put(payload),
            ControlVerb::LinkGet => Ok(self.link_get()),
            ControlVerb::LinkPut => self.link_put(payload).await,
            ControlVerb::LinkDel => self.link_del(payload).await,
            ControlVerb::ClaimsGet => Ok(self.claims_get()),
            ControlVerb::ConfigGet(config) => self.config_get(&config),
            ControlVerb::ConfigPut(config) => self.config_put(&config, payload).await,
            ControlVerb::ConfigDel(config) => self.config_del(&config).await,
            // Those that take turns: see `begin`.
            ControlVerb::ComponentScale
            | ControlVerb::ComponentUpdate
            | ControlVerb::ProviderStart
            | ControlVerb::ProviderStop => Err("unsupported subject".to_owned()),
        };
        result.unwrap_or_else(|refusal| {
            self.metrics.refused(name);
            tracing::debug!(command = name, %refusal, "control command refused");
            refuse(&refusal)
        })
    }
}

fn refuse(reason: &str) -> Reply {
    Some(Ack::error(reason).encode())
}

fn done(message: &str) -> Reply {
    Some(Ack::ok(message).encode())
}

/// Reads a command. A list is refused: its values would be taken for fields by their position.
fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    let unreadable = |reason: String| format!("the command's payload is not what it should be: {reason}");
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return Err(unreadable("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(payload).map_err(|error| unreadable(error.to_string()))
}

fn verb_name(verb: &ControlVerb) -> &'static str {
    match verb {
        ControlVerb::HostPing => "host.ping",
        ControlVerb::HostGet => "host.get",
        ControlVerb::HostStop => "host.stop",
        ControlVerb::ComponentAuction => "component.auction",
        ControlVerb::ComponentScale => "component.scale",
        ControlVerb::ComponentUpdate => "component.update",
        ControlVerb::ProviderAuction => "provider.auction",
        ControlVerb::ProviderStart => "provider.start",
        ControlVerb::ProviderStop => "provider.stop",
        ControlVerb::LabelPut => "label.put",
        ControlVerb::LabelDel => "label.del",
        ControlVerb::LinkGet => "link.get",
        ControlVerb::LinkPut => "link.put",
        ControlVerb::LinkDel => "link.del",
        ControlVerb::ClaimsGet => "claims.get",
        ControlVerb::ConfigGet(_) => "config.get",
        ControlVerb::ConfigPut(_) => "config.put",
        ControlVerb::ConfigDel(_) => "config.del",
        ControlVerb::RegistryPut => "registry.put",
    }
}
