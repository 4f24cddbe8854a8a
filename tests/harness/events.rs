//! The events of a lattice, collected as they come.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{DEADLINE, Nats};

/// All events since [`events`] was called.
#[derive(Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<Value>>>,
    arrived: Arc<Notify>,
    collector: JoinHandle<()>,
}

/// Collects the events of a lattice from now on.
pub async fn events(nats: &Nats, lattice: &str) -> Events {
    let client = nats.connect().await;
    let mut messages = client.subscribe(format!("wasmbus.evt.{lattice}.>")).await.unwrap();
    client.flush().await.unwrap();
    let (seen, arrived) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (to, ring) = (seen.clone(), arrived.clone());
    let collector = tokio::spawn(async move {
        let _client = client;
        while let Some(message) = messages.next().await {
            let event: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            to.lock().unwrap().push(event);
            ring.notify_waiters();
        }
    });
    Events { seen, arrived, collector }
}

impl Events {
    /// All of them, as CloudEvents.
    pub fn all(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// The data of those of one name, such as `component_scaled`.
    pub fn named(&self, name: &str) -> Vec<Value> {
        let kind = format!("com.wasmcloud.lattice.{name}");
        let mut all = self.all();
        all.retain(|event| event["type"] == kind);
        all.into_iter().map(|mut event| event["data"].take()).collect()
    }

    /// Waits for an event of this name whose data fits, and gives its data. Those that came already count.
    ///
    /// # Panics
    /// When none comes; the message says which did.
    pub async fn wait_for(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(data) = self.named(name).into_iter().find(|data| fits(data)) {
                return data;
            }
            if tokio::time::timeout_at(end, arrived).await.is_err() {
                panic!(
                    "waited {DEADLINE:?} in vain for an event {name} that fits; there were {:#?}",
                    self.all()
                );
            }
        }
    }

    /// Waits until a component could not be started or changed, and gives the reason.
    pub async fn scale_failed(&self, component: &str) -> String {
        let data = self.wait_for("component_scale_failed", |data| data["component_id"] == component).await;
        data["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.collector.abort();
    }
}
