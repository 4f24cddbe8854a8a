//! A client of the control interface: what the command line, and any other program, drives hosts with.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{Request, StatusCode};
use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use wattle_protocol::{
    control::{
        Ack, ClaimsEntry, ComponentAuctionAck, ComponentAuctionRequest, DeleteLabel, DeleteLink, Envelope,
        HostPing, ProviderAuctionAck, ProviderAuctionRequest, PutLabel, PutRegistries, ScaleComponent,
        StartProvider, StopHost, StopProvider, UpdateComponent,
    },
    inventory::HostInventory,
    link::Link,
    name,
    subject::Subjects,
};

use crate::{Connection, Error, EventStream, connection::RequestFailure};

/// How long bids and pings are gathered unless told otherwise.
const GATHER_FOR: Duration = Duration::from_secs(2);

/// Sends control commands to the hosts of one lattice.
///
/// Commands that run in the background only return that they were accepted, with what the host said; their outcome is
/// an event. Ask for [`ControlClient::events`] first, then send the command, then wait for the event.
///
/// A host that is there and silent is [`Error::Timeout`]: whether the command took effect is then unknown.
#[derive(Debug, Clone)]
pub struct ControlClient {
    connection: Connection,
    subjects: Subjects,
    timeout: Duration,
    gather_for: Duration,
}

impl ControlClient {
    /// A client for a lattice under a control prefix
    /// ([`wattle_protocol::subject::DEFAULT_CONTROL_PREFIX`] unless the operator chose another). Requests wait as long
    /// as the connection's, bids and pings are gathered for 2 s.
    ///
    /// # Errors
    /// [`Error::Name`] for a prefix or lattice that can't be one.
    pub fn new(connection: &Connection, prefix: &str, lattice: &str) -> Result<Self, Error> {
        Ok(Self {
            connection: connection.clone(),
            subjects: Subjects::with_prefix(prefix, lattice)?,
            timeout: connection.request_timeout(),
            gather_for: GATHER_FOR,
        })
    }

    /// The same client with another time to wait for a reply.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same client with another time to gather bids and pings.
    #[must_use]
    pub fn with_gather_time(self, gather_for: Duration) -> Self {
        Self { gather_for, ..self }
    }

    /// The subjects that the client uses.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// Asks every host who it is. Waits the whole gather time, or until `expected` have answered.
    ///
    /// # Errors
    /// What keeps the question from being asked. Silence is an empty list.
    pub async fn ping(&self, expected: Option<usize>) -> Result<Vec<HostPing>, Error> {
        self.gather("ping hosts", self.subjects.host_ping(), &(), expected).await
    }

    /// What runs on a host.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the question from being asked.
    pub async fn inventory(&self, host: &str) -> Result<HostInventory, Error> {
        let what = format!("get the inventory of host `{host}`");
        self.fetch(what, self.to_host(host, Subjects::host_get)?, &()).await
    }

    /// Stops a host.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn stop_host(&self, host: &str, request: &StopHost) -> Result<String, Error> {
        self.command(format!("stop host `{host}`"), self.to_host(host, Subjects::host_stop)?, request).await
    }

    /// Which hosts would run a component. Waits the whole gather time, or until there are `enough` bids.
    ///
    /// # Errors
    /// What keeps the question from being asked. No bid is an empty list.
    pub async fn auction_component(
        &self,
        request: &ComponentAuctionRequest,
        enough: Option<usize>,
    ) -> Result<Vec<ComponentAuctionAck>, Error> {
        self.gather("auction a component", self.subjects.component_auction(), request, enough).await
    }

    /// Which hosts would run a provider. Waits the whole gather time, or until there are `enough` bids.
    ///
    /// # Errors
    /// What keeps the question from being asked. No bid is an empty list.
    pub async fn auction_provider(
        &self,
        request: &ProviderAuctionRequest,
        enough: Option<usize>,
    ) -> Result<Vec<ProviderAuctionAck>, Error> {
        self.gather("auction a provider", self.subjects.provider_auction(), request, enough).await
    }

    /// Starts, scales or (with a count of 0) stops a component. Runs in the background.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn scale_component(&self, host: &str, request: &ScaleComponent) -> Result<String, Error> {
        let what = format!("scale component `{}`", request.component_id);
        self.command(what, self.to_host(host, Subjects::component_scale)?, request).await
    }

    /// Replaces the code of a running component. Runs in the background.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn update_component(&self, host: &str, request: &UpdateComponent) -> Result<String, Error> {
        let what = format!("update component `{}`", request.component_id);
        self.command(what, self.to_host(host, Subjects::component_update)?, request).await
    }

    /// Starts a provider. Runs in the background.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn start_provider(&self, host: &str, request: &StartProvider) -> Result<String, Error> {
        let what = format!("start provider `{}`", request.provider_id);
        self.command(what, self.to_host(host, Subjects::provider_start)?, request).await
    }

    /// Stops a provider.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn stop_provider(&self, host: &str, request: &StopProvider) -> Result<String, Error> {
        let what = format!("stop provider `{}`", request.provider_id);
        self.command(what, self.to_host(host, Subjects::provider_stop)?, request).await
    }

    /// Sets a label of a host.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn put_label(&self, host: &str, key: &str, value: &str) -> Result<String, Error> {
        let request = PutLabel { key: key.to_owned(), value: value.to_owned() };
        self.command(format!("set label `{key}`"), self.to_host(host, Subjects::label_put)?, &request).await
    }

    /// Removes a label of a host.
    ///
    /// # Errors
    /// [`Error::HostAbsent`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn delete_label(&self, host: &str, key: &str) -> Result<String, Error> {
        let request = DeleteLabel { key: key.to_owned() };
        self.command(format!("delete label `{key}`"), self.to_host(host, Subjects::label_del)?, &request)
            .await
    }

    /// All links of the lattice.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the question from being asked.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        self.fetch("get links".to_owned(), to_any(self.subjects.link_get()), &()).await
    }

    /// Puts a link.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] (another target is linked already, a config is missing) and what
    /// keeps the command from being sent.
    pub async fn put_link(&self, link: &Link) -> Result<String, Error> {
        let what = format!("link `{}` to `{}`", link.source_id, link.target);
        self.command(what, to_any(self.subjects.link_put()), link).await
    }

    /// Deletes links.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn delete_link(&self, request: &DeleteLink) -> Result<String, Error> {
        let what = format!("delete the link of `{}`", request.source_id);
        self.command(what, to_any(self.subjects.link_del()), request).await
    }

    /// All claims that the lattice knows.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the question from being asked.
    pub async fn claims(&self) -> Result<Vec<ClaimsEntry>, Error> {
        self.fetch("get claims".to_owned(), to_any(self.subjects.claims_get()), &()).await
    }

    /// A named config, or `None` when there is none of that name.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the question from being asked.
    pub async fn get_config(&self, config: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        name::check_config_name(config)?;
        let what = format!("get config `{config}`");
        Ok(self.ask(what, to_any(self.subjects.config_get(config)), &()).await?.response)
    }

    /// Writes a named config.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn put_config(&self, config: &str, values: &BTreeMap<String, String>) -> Result<String, Error> {
        name::check_config_name(config)?;
        self.command(format!("put config `{config}`"), to_any(self.subjects.config_put(config)), values).await
    }

    /// Deletes a named config.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`], [`Error::Refused`] and what keeps the command from being sent.
    pub async fn delete_config(&self, config: &str) -> Result<String, Error> {
        name::check_config_name(config)?;
        self.command(format!("delete config `{config}`"), to_any(self.subjects.config_del(config)), &()).await
    }

    /// Gives all hosts credentials for registries. Waits the whole gather time, or until `expected` hosts have
    /// answered; returns how many did.
    ///
    /// # Errors
    /// [`Error::NoHostAnswered`] when none did, and what keeps the command from being sent.
    pub async fn put_registries(
        &self,
        registries: &PutRegistries,
        expected: Option<usize>,
    ) -> Result<usize, Error> {
        let what = "put registry credentials";
        let replies =
            self.gather_replies::<Value>(what, self.subjects.registries_put(), registries, expected).await?;
        match replies.iter().find(|reply| !reply.success) {
            Some(refusal) => Err(Error::Refused { what: what.to_owned(), message: refusal.message.clone() }),
            None if replies.is_empty() => Err(self.nobody(what.to_owned(), None)),
            None => Ok(replies.len()),
        }
    }

    /// The lattice's events from now on. Subscribed before this returns, so that a command sent afterwards can't be
    /// faster.
    ///
    /// # Errors
    /// What keeps them from being subscribed to.
    pub async fn events(&self) -> Result<EventStream, Error> {
        EventStream::open(&self.connection, self.subjects.lattice()).await
    }

    fn to_host<'a>(
        &self,
        host: &'a str,
        subject: impl Fn(&Subjects, &str) -> String,
    ) -> Result<Address<'a>, Error> {
        name::check_host_id(host)?;
        Ok(Address { subject: subject(&self.subjects, host), host: Some(host) })
    }

    /// The error of a request that nobody listens to.
    fn nobody(&self, what: String, host: Option<&str>) -> Error {
        let lattice = self.subjects.lattice().to_owned();
        match host {
            Some(host) => Error::HostAbsent { what, host: host.to_owned(), lattice },
            None => Error::NoHostAnswered { what, lattice },
        }
    }

    async fn command(
        &self,
        what: String,
        to: Address<'_>,
        request: &impl Serialize,
    ) -> Result<String, Error> {
        let ack: Ack = self.ask(what, to, request).await?;
        Ok(ack.message)
    }

    async fn fetch<T: DeserializeOwned>(
        &self,
        what: String,
        to: Address<'_>,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let reply: Envelope<T> = self.ask(what.clone(), to, request).await?;
        reply.response.ok_or_else(|| Error::BadReply { what, reason: "it has no data".to_owned() })
    }

    /// A request that one host answers.
    async fn ask<T: DeserializeOwned>(
        &self,
        what: String,
        to: Address<'_>,
        request: &impl Serialize,
    ) -> Result<Envelope<T>, Error> {
        let request = Request::new().payload(encode(&what, request)?);
        let message = match self.connection.request(&to.subject, request, self.timeout).await {
            Ok(message) => message,
            Err(RequestFailure::NoResponders) => return Err(self.nobody(what, to.host)),
            Err(failure) => return Err(failure.into_error(to.named_in(what), self.timeout)),
        };
        // A refusal need not have data of the kind that was asked for.
        let reply: Result<Envelope<Value>, _> = serde_json::from_slice(&message.payload);
        match reply {
            Ok(reply) if !reply.success => Err(Error::Refused { what, message: reply.message }),
            Ok(_) => serde_json::from_slice(&message.payload)
                .map_err(|error| Error::BadReply { what, reason: error.to_string() }),
            Err(error) => Err(Error::BadReply { what, reason: error.to_string() }),
        }
    }

    async fn gather<T: DeserializeOwned>(
        &self,
        what: &str,
        subject: String,
        request: &impl Serialize,
        enough: Option<usize>,
    ) -> Result<Vec<T>, Error> {
        let replies = self.gather_replies(what, subject, request, enough).await?;
        Ok(replies.into_iter().filter_map(|reply| reply.response).collect())
    }

    /// A request that any number of hosts answer. What can't be read is left out: it must not hide the others.
    async fn gather_replies<T: DeserializeOwned>(
        &self,
        what: &str,
        subject: String,
        request: &impl Serialize,
        enough: Option<usize>,
    ) -> Result<Vec<Envelope<T>>, Error> {
        let deadline = Instant::now() + self.gather_for;
        let payload = encode(what, request)?;
        if let Some(reason) = self.connection.down() {
            return Err(Error::Disconnected { what: what.to_owned(), reason });
        }
        let client = self.connection.client();
        let failed = |reason: String| Error::Message { what: what.to_owned(), reason };
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
        client
            .publish_with_reply(subject.clone(), inbox, payload)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut replies = Vec::new();
        while enough.is_none_or(|enough| replies.len() < enough) {
            let Ok(Some(message)) = tokio::time::timeout_at(deadline, answers.next()).await else { break };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            match serde_json::from_slice(&message.payload) {
                Ok(reply) => replies.push(reply),
                Err(error) => tracing::debug!(what, %error, "a host's answer can't be read"),
            }
        }
        match self.connection.refusal(self.gather_for, &subject) {
            Some(reason) if replies.is_empty() => Err(Error::Permission { what: what.to_owned(), reason }),
            _ => Ok(replies),
        }
    }
}

/// Where a request goes.
struct Address<'a> {
    subject: String,
    /// The host that it is for, if it is for one.
    host: Option<&'a str>,
}

impl Address<'_> {
    /// What is asked for, with the host that it is asked of.
    fn named_in(&self, what: String) -> String {
        match self.host {
            Some(host) if !what.contains(host) => format!("{what} on host `{host}`"),
            _ => what,
        }
    }
}

/// To whichever host answers first.
fn to_any<'a>(subject: String) -> Address<'a> {
    Address { subject, host: None }
}

/// Requests without a body are empty, as hosts expect.
fn encode(what: &str, request: &impl Serialize) -> Result<bytes::Bytes, Error> {
    let encoded = serde_json::to_vec(request);
    let encoded =
        encoded.map_err(|error| Error::Message { what: what.to_owned(), reason: error.to_string() })?;
    Ok(if encoded == b"null" { bytes::Bytes::new() } else { encoded.into() })
}
