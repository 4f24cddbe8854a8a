//! Watching calls as they happen: who called what, how long it took, what came of it. Never what was said.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use wattle_identity::certificate::Role;
use wattle_lattice::{Incoming as Call, OutStream, Outcome, Reason, StreamBroken};

use crate::shared::Shared;

/// Calls that wait to be shown to one who watches; beyond them the newest are left out.
const BACKLOG: usize = 256;

/// Watchers at once.
const MAX_WATCHERS: usize = 64;

/// One call that was seen where it was carried out.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Seen<'a> {
    pub(super) source: &'a str,
    pub(super) target: &'a str,
    pub(super) link_name: &'a str,
    pub(super) interface: &'a str,
    pub(super) function: &'a str,
    pub(super) outcome: &'static str,
    /// Whether the caller runs on another host.
    pub(super) remote: bool,
    pub(super) microseconds: u64,
}

/// Those who watch. While nobody does, a call pays for one look at a number.
#[derive(Default)]
pub(crate) struct Spies {
    count: AtomicUsize,
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    all: Vec<Watcher>,
    /// Nobody may watch any more.
    closed: bool,
}

struct Watcher {
    target: String,
    calls: mpsc::Sender<Bytes>,
}

impl Spies {
    /// Whether anybody watches at all.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Shows a call to those who watch its target.
    pub(super) fn saw(&self, host: &str, seen: Seen<'_>) {
        #[derive(Serialize)]
        struct Line<'a> {
            host: &'a str,
            #[serde(flatten)]
            seen: Seen<'a>,
        }
        let mut watchers = self.lock();
        watchers.all.retain(|watcher| !watcher.calls.is_closed());
        self.count.store(watchers.all.len(), Ordering::Relaxed);
        let mut concerned = watchers.all.iter().filter(|watcher| watcher.target == seen.target).peekable();
        if concerned.peek().is_none() {
            return;
        }
        let Ok(line) = serde_json::to_vec(&Line { host, seen }) else { return };
        let line = Bytes::from(line);
        for watcher in concerned {
            // Who watches too slowly misses some; calls never wait for it.
            let _ = watcher.calls.try_send(line.clone());
        }
    }

    fn watch(&self, target: &str) -> Option<mpsc::Receiver<Bytes>> {
        let mut watchers = self.lock();
        watchers.all.retain(|watcher| !watcher.calls.is_closed());
        if watchers.closed || watchers.all.len() >= MAX_WATCHERS {
            return None;
        }
        let (calls, seen) = mpsc::channel(BACKLOG);
        watchers.all.push(Watcher { target: target.to_owned(), calls });
        self.count.store(watchers.all.len(), Ordering::Relaxed);
        Some(seen)
    }

    /// Ends all watching: a host that stops waits for what it still answers.
    pub(crate) fn close(&self) {
        let mut watchers = self.lock();
        *watchers = Watchers { all: Vec::new(), closed: true };
        self.count.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls as they are seen, one message each.
struct Watching(mpsc::Receiver<Bytes>);

impl Stream for Watching {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|line| line.map(Ok))
    }
}

impl Shared {
    /// Lets a client watch the calls of a target, if its certificate allows it.
    pub(super) fn let_watch(&self, call: &Call) -> Outcome {
        let refused = |reason, message: String| Outcome::Refused { reason, message };
        if call.caller.role() != Role::Client || !call.caller.may_spy(&call.target) {
            let message = format!("the certificate of {} does not list it for watching", call.caller.key());
            return refused(Reason::TargetNotAllowed, message);
        }
        if self.components.get(&call.target).is_none() {
            return refused(Reason::NotHere, "it does not run here".to_owned());
        }
        let Some(seen) = self.spies.watch(&call.target) else {
            return refused(
                Reason::Busy,
                format!("{MAX_WATCHERS} watch calls here already, or the host stops"),
            );
        };
        tracing::info!(client = %call.caller.key(), target = %call.target, "a client watches calls");
        let stream: OutStream = Box::pin(Watching(seen));
        Outcome::Value { value: Bytes::new(), streams: vec![stream] }
    }
}

/// Whole microseconds.
pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(target: &str) -> Seen<'_> {
        Seen {
            source: "a",
            target,
            link_name: "default",
            interface: "wattle:test/echo@0.1.0",
            function: "echo",
            outcome: "ok",
            remote: false,
            microseconds: 7,
        }
    }

    #[test]
    fn who_watches_sees_the_calls_of_its_target_and_who_left_is_forgotten() {
        let spies = Spies::default();
        assert!(!spies.any());
        let mut watching = spies.watch("b").unwrap();
        spies.saw("NHOST", seen("b"));
        spies.saw("NHOST", seen("c"));
        let line: serde_json::Value = serde_json::from_slice(&watching.try_recv().unwrap()).unwrap();
        assert_eq!(
            (&line["host"], &line["source"], &line["target"]),
            (&"NHOST".into(), &"a".into(), &"b".into())
        );
        assert_eq!(line["microseconds"], 7);
        assert!(watching.try_recv().is_err(), "another target's calls are not shown");
        drop(watching);
        spies.saw("NHOST", seen("b"));
        assert!(!spies.any());
    }

    #[test]
    fn there_is_a_bound_to_those_who_watch_and_to_what_waits_for_them() {
        let spies = Spies::default();
        let mut all: Vec<_> = (0..MAX_WATCHERS).map(|_| spies.watch("b").unwrap()).collect();
        assert!(spies.watch("b").is_none());
        (0..BACKLOG * 2).for_each(|_| spies.saw("NHOST", seen("b")));
        let mut waiting = 0;
        while all[0].try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, BACKLOG);
        all.clear();
        let mut last = spies.watch("b").unwrap();
        spies.close();
        assert!(matches!(last.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)), "it ended");
        assert!(!spies.any() && spies.watch("b").is_none());
    }
}
