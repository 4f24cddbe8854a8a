//! The control interface in plain JSON, for what the command line can't say or would say better.

use async_nats::Client;
use bytes::Bytes;
use serde_json::Value;

use crate::within;

/// Asks the hosts of one lattice.
#[derive(Clone, Debug)]
pub struct Control {
    client: Client,
    lattice: String,
}

impl Control {
    /// Asks over this connection.
    pub fn new(client: Client, lattice: &str) -> Self {
        Self { client, lattice: lattice.to_owned() }
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a payload to `wasmbus.ctl.v1.LATTICE.OPERATION` and gives the reply, whose form is checked.
    ///
    /// # Panics
    /// When there is no reply, or it is not one of the control interface.
    pub async fn request(&self, operation: &str, payload: impl Into<Bytes>) -> Value {
        let reply = self.try_request(operation, payload).await;
        reply.unwrap_or_else(|| panic!("nobody answered {operation}"))
    }

    /// [`Control::request`], where there may be nobody to answer: not yet, or not any more.
    ///
    /// # Panics
    /// When the reply is not one of the control interface.
    pub async fn try_request(&self, operation: &str, payload: impl Into<Bytes>) -> Option<Value> {
        let subject = format!("wasmbus.ctl.v1.{}.{operation}", self.lattice);
        let asked = self.client.request(subject, payload.into());
        let reply = within(&format!("a reply to {operation}"), asked).await.ok()?;
        let reply: Value = serde_json::from_slice(&reply.payload)
            .unwrap_or_else(|error| panic!("the reply to {operation} is not JSON: {error}"));
        assert!(reply["success"].is_boolean() && reply["message"].is_string(), "{operation}: {reply:#}");
        Some(reply)
    }

    /// What a host says that it is and runs.
    pub async fn inventory(&self, host: &str) -> Value {
        self.request(&format!("host.get.{host}"), "").await["response"].take()
    }

    /// The ids of the hosts that answer a ping within two seconds.
    pub async fn hosts(&self) -> Vec<Value> {
        use futures::StreamExt as _;
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await.unwrap();
        let subject = format!("wasmbus.ctl.v1.{}.host.ping", self.lattice);
        self.client.publish_with_reply(subject, inbox, Bytes::new()).await.unwrap();
        let mut hosts = Vec::new();
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
        while let Ok(Some(reply)) = tokio::time::timeout_at(end, replies.next()).await {
            if let Ok(mut reply) = serde_json::from_slice::<Value>(&reply.payload) {
                hosts.push(reply["response"].take());
            }
        }
        hosts
    }
}
