//! What is known about a connection while it lives: where it leads, why it is down, what the server refused.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{ClientError, Event, ReconnectToServer, Server, ServerError};
use tokio::sync::watch;

use super::options::show;
use crate::backoff::delay_before;

/// How many refusals are remembered, to explain a request that got no answer.
const REMEMBERED_REFUSALS: usize = 16;

/// Whether the connection to NATS stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// It stands, to this server.
    Connected(String),
    /// It does not, for this reason. It is being reconnected.
    Disconnected(String),
}

/// Follows a connection through the callbacks of the NATS client.
#[derive(Debug)]
pub(super) struct Monitor {
    status: watch::Sender<ConnectionStatus>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The server that is tried, or connected to.
    current: String,
    /// Tries since the last connection.
    attempts: u32,
    /// What the server said last before it closed the connection.
    farewell: Option<String>,
    refusals: VecDeque<(Instant, String)>,
}

impl Monitor {
    pub(super) fn new() -> Self {
        let (status, _) = watch::channel(ConnectionStatus::Disconnected("not connected yet".to_owned()));
        Self { status, state: Mutex::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ConnectionStatus> {
        self.status.subscribe()
    }

    /// Why the connection is down, if it is.
    pub(super) fn down(&self) -> Option<String> {
        match &*self.status.borrow() {
            ConnectionStatus::Connected(_) => None,
            ConnectionStatus::Disconnected(reason) => Some(reason.clone()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, status: ConnectionStatus) {
        self.status.send_if_modified(|told| {
            let changed = *told != status;
            *told = status;
            changed
        });
    }

    /// The server that is tried, or connected to.
    pub(super) fn url(&self) -> String {
        self.state().current.clone()
    }

    /// The connection stands.
    pub(super) fn connected(&self) {
        let mut state = self.state();
        state.attempts = 0;
        state.farewell = None;
        state.refusals.clear();
        let url = state.current.clone();
        drop(state);
        self.tell(ConnectionStatus::Connected(url));
    }

    /// Picks the server for the next try: the one that failed least, then the next in the operator's order.
    pub(super) fn choose(&self, servers: &[Server]) -> Option<ReconnectToServer> {
        let mut state = self.state();
        let failed = servers.iter().find(|server| show(&server.addr) == state.current);
        if let Some(reason) =
            failed.and_then(|server| server.last_error.as_deref()).filter(|_| state.attempts > 0)
        {
            let reason = format!("{}: {reason}", state.current);
            self.status.send_if_modified(|told| match told {
                ConnectionStatus::Disconnected(old) if *old != reason => {
                    *old = reason;
                    true
                }
                _ => false,
            });
        }
        let next = servers.iter().min_by_key(|server| server.failed_attempts)?;
        state.attempts = state.attempts.saturating_add(1);
        state.current = show(&next.addr);
        Some(ReconnectToServer { addr: next.addr.clone(), delay: Some(delay_before(state.attempts)) })
    }

    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected => self.connected(),
            Event::Disconnected => {
                let said = self.state().farewell.take();
                let reason = said.unwrap_or_else(|| "the server closed the connection or is gone".to_owned());
                self.tell(ConnectionStatus::Disconnected(reason));
            }
            Event::Closed => {
                self.tell(ConnectionStatus::Disconnected("the connection was closed".to_owned()));
            }
            Event::ServerError(error) => self.on_server_error(error),
            Event::ClientError(ClientError::Other(reason)) => {
                tracing::debug!(%reason, "a try to reconnect failed");
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(
                    subscription,
                    "messages were dropped: they arrive faster than they are handled"
                );
            }
            _ => {}
        }
    }

    fn on_server_error(&self, error: &ServerError) {
        let text = match error {
            ServerError::Other(text) => text.clone(),
            other => other.to_string(),
        };
        if text.to_lowercase().contains("permissions violation") {
            tracing::warn!(refusal = %text, "the NATS server refused an operation");
            let mut state = self.state();
            if state.refusals.len() == REMEMBERED_REFUSALS {
                state.refusals.pop_front();
            }
            state.refusals.push_back((Instant::now(), text));
        } else {
            self.state().farewell = Some(text);
        }
    }

    /// A refusal that explains why a request got no answer: one of the last `within` that has to do with its subject,
    /// or one of the replies' inbox, which is subscribed to only once.
    pub(super) fn refusal(&self, within: Duration, subject: &str, inbox: &str) -> Option<String> {
        let inbox = format!("Subscription to \"{inbox}");
        let explains = |at: &Instant, text: &str| {
            (at.elapsed() <= within && text.contains(subject)) || text.contains(&inbox)
        };
        let state = self.state();
        state.refusals.iter().rev().find(|(at, text)| explains(at, text)).map(|(_, text)| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_why_the_connection_is_down() {
        let monitor = Monitor::new();
        let status = monitor.subscribe();
        monitor.state().current = "nats://a:4222".to_owned();
        monitor.on_event(&Event::Connected);
        assert_eq!(*status.borrow(), ConnectionStatus::Connected("nats://a:4222".to_owned()));
        monitor.on_event(&Event::ServerError(ServerError::Other("user authentication expired".to_owned())));
        monitor.on_event(&Event::Disconnected);
        assert_eq!(
            *status.borrow(),
            ConnectionStatus::Disconnected("user authentication expired".to_owned())
        );
    }

    #[test]
    fn refusals_are_found_by_subject_and_bounded() {
        let monitor = Monitor::new();
        for n in 0..100 {
            let text = format!("Permissions Violation for Publish to \"a.{n}\"");
            monitor.on_event(&Event::ServerError(ServerError::Other(text)));
        }
        let minute = Duration::from_secs(60);
        assert!(monitor.refusal(minute, "\"a.99\"", "_INBOX").unwrap().contains("a.99"));
        assert_eq!(monitor.refusal(minute, "\"a.5\"", "_INBOX"), None);
        assert_eq!(monitor.state().refusals.len(), REMEMBERED_REFUSALS);
    }
}
