//! A seat on a lattice: commands through the control client, events read one by one.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{Client as Nats, Subscriber};
use futures::StreamExt;
use serde_json::Value;
use wasmcloud_control_interface::{Client, ClientBuilder};

use crate::{expect, setting, within};

/// How long the client gathers answers to pings and auctions; it always waits for the whole of it.
const GATHERING: Duration = Duration::from_secs(2);

/// The connection of one test to a running host.
pub struct Lattice {
    /// The control client of wasmCloud 1.x.
    pub client: Client,
    /// Id of the host under test, which must be the only one in its lattice.
    pub host: String,
    /// Name of the lattice.
    pub name: String,
    nats: Nats,
    events: Subscriber,
    seen: HashSet<String>,
    optional: Option<Value>,
}

impl Lattice {
    /// Connects, and listens to all events from now on.
    ///
    /// Settings: `NATS_URL`, `LATTICE`, `HOST_ID`.
    pub async fn join() -> Self {
        let url = setting("NATS_URL", "address of the NATS server, such as nats://127.0.0.1:4222");
        let name = setting("LATTICE", "name of the lattice");
        let host = setting("HOST_ID", "public key of the running host, N...");
        let nats = within("a connection to the NATS server", async_nats::connect(&url))
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"));
        let subject = format!("wasmbus.evt.{name}.*");
        let events = nats.subscribe(subject).await.expect("the subscription to events is sent");
        // The client shares the connection, so the server knows of the subscription before it sees a command.
        let client = ClientBuilder::new(nats.clone())
            .lattice(&name)
            .timeout(crate::DEADLINE)
            .auction_timeout(GATHERING)
            .build();
        Self { client, host, name, nats, events, seen: HashSet::new(), optional: None }
    }

    /// The data of the next event, which must be of this name: one event too many fails here as well as one too few.
    /// Heartbeats and health checks come by the clock; they are checked and passed over.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next(name).await;
            match found.as_str() {
                "host_heartbeat" => expect::inventory(&data),
                "health_check_passed" | "health_check_failed" | "health_check_status" => {
                    expect::keys(&found, &data, &["host_id", "provider_id"]);
                }
                _ if found == "component_scaled" && self.take_optional(&data) => {}
                _ => {
                    assert_eq!(found, name, "the next event should be {name}, and is {found} with {data:#}");
                    return data;
                }
            }
        }
    }

    /// Accepts, once, a `component_scaled` event with these fields before the next expected one.
    pub fn accept(&mut self, scaled: Value) {
        self.optional = Some(scaled);
    }

    fn take_optional(&mut self, data: &Value) -> bool {
        let fits = |expected: &Value| {
            expected
                .as_object()
                .is_some_and(|fields| fields.iter().all(|(key, value)| data.get(key) == Some(value)))
        };
        self.optional.take_if(|expected| fits(expected)).is_some()
    }

    /// The next event, its envelope checked.
    async fn next(&mut self, awaited: &str) -> (String, Value) {
        let message = within(&format!("the event {awaited}"), self.events.next())
            .await
            .expect("the subscription to events lasts");
        let name = message.subject.rsplit('.').next().expect("a subject has tokens").to_owned();
        let mut event: Value = serde_json::from_slice(&message.payload)
            .unwrap_or_else(|error| panic!("the event {name} is not JSON: {error}"));
        expect::envelope(&name, &event, &self.host);
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        assert!(self.seen.insert(id), "the event {name} has the id of an earlier one: {event:#}");
        (name, event["data"].take())
    }

    /// A control request in plain JSON, for what the client cannot say or hides: the whole reply.
    pub async fn request(&self, operation: &str, payload: &str) -> Value {
        let subject = format!("wasmbus.ctl.v1.{}.{operation}", self.name);
        let reply =
            within(&format!("a reply to {operation}"), self.nats.request(subject, payload.to_owned().into()))
                .await
                .unwrap_or_else(|error| panic!("{operation}: {error}"));
        let reply: Value = serde_json::from_slice(&reply.payload)
            .unwrap_or_else(|error| panic!("the reply to {operation} is not JSON: {error}"));
        assert!(reply["success"].is_boolean() && reply["message"].is_string(), "{operation}: {reply:#}");
        assert!(
            reply.get("response") != Some(&Value::Null),
            "{operation}: no data means no field: {reply:#}"
        );
        reply
    }
}
