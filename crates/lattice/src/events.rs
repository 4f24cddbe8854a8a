//! Telling the lattice what happened, and hearing of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_nats::Subscriber;
use futures::{Stream, StreamExt};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;
use wattle_protocol::{
    event::{CloudEvent, Event},
    name, subject,
};

use crate::{Connection, Error};

/// An event that can't be handed to the server by then is dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Publishes the events of one host. Clones share the counter.
#[derive(Debug, Clone)]
pub struct EventPublisher {
    connection: Connection,
    lattice: String,
    source: String,
    dropped: Arc<AtomicU64>,
}

impl EventPublisher {
    /// A publisher for events of the host with this public key.
    ///
    /// # Errors
    /// [`Error::Name`] for a lattice that can't be one.
    pub fn new(connection: &Connection, lattice: &str, source: &str) -> Result<Self, Error> {
        name::check_lattice_name(lattice)?;
        Ok(Self {
            connection: connection.clone(),
            lattice: lattice.to_owned(),
            source: source.to_owned(),
            dropped: Arc::default(),
        })
    }

    /// Publishes an event and hands it to the server before returning. Events of one caller keep their order. While
    /// NATS is not connected the event is dropped at once, otherwise after 2 s at most; then it is logged and counted.
    pub async fn publish(&self, event: &Event) {
        if let Err(error) = self.try_publish(event).await {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(event = event.name(), %error, dropped, "an event was dropped");
        }
    }

    /// How many events were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    async fn try_publish(&self, event: &Event) -> Result<(), Error> {
        let what = || format!("publish event `{}`", event.name());
        if let Some(reason) = self.connection.down() {
            return Err(Error::Disconnected { what: what(), reason });
        }
        let failed = |reason: String| Error::Message { what: what(), reason };
        let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|error| failed(error.to_string()))?;
        let payload = event
            .to_cloud_event(Uuid::new_v4().to_string(), self.source.clone(), time)
            .and_then(|event| serde_json::to_vec(&event))
            .map_err(|error| failed(error.to_string()))?;
        let client = self.connection.client();
        let handing_over = async {
            client
                .publish(subject::event(&self.lattice, event.name()), payload.into())
                .await
                .map_err(|e| e.to_string())?;
            client.flush().await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(LONGEST_WAIT, handing_over).await {
            Ok(handed_over) => handed_over.map_err(failed),
            Err(_) => Err(Error::Timeout { what: what(), after: LONGEST_WAIT }),
        }
    }
}

/// The events of a lattice as they come, each with the public key of the host that told it. Events of unknown kinds
/// are left out.
#[derive(Debug)]
pub struct EventStream {
    subscriber: Subscriber,
}

impl EventStream {
    pub(crate) async fn open(connection: &Connection, lattice: &str) -> Result<Self, Error> {
        let subscribed = connection.client().subscribe(subject::events(lattice)).await;
        let failed = |reason| Error::Message { what: "subscribe to events".to_owned(), reason };
        let subscriber = subscribed.map_err(|error| failed(error.to_string()))?;
        connection.flush().await?;
        Ok(Self { subscriber })
    }

    /// Waits for the first event from which `pick` makes something. `what` ends the error's sentence "failed to …".
    ///
    /// # Errors
    /// [`Error::Timeout`] when none came by then, or the connection was closed.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut pick: impl FnMut(&str, &Event) -> Option<T>,
    ) -> Result<T, Error> {
        let picked = async {
            while let Some((source, event)) = self.next().await {
                if let Some(picked) = pick(&source, &event) {
                    return Some(picked);
                }
            }
            None
        };
        let timed_out = || Error::Timeout { what: what.to_owned(), after: timeout };
        tokio::time::timeout(timeout, picked).await.ok().flatten().ok_or_else(timed_out)
    }
}

impl Stream for EventStream {
    type Item = (String, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(message) = std::task::ready!(self.subscriber.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            let Ok(event) = serde_json::from_slice::<CloudEvent>(&message.payload) else { continue };
            if let Some(read) = Event::from_cloud_event(&event) {
                return Poll::Ready(Some((event.source, read)));
            }
        }
    }
}
