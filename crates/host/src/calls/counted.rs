//! Counting calls: each is seen, also the one that its caller gave up.

use std::sync::Arc;
use std::time::Instant;

use wattle_lattice::{Incoming as Call, Outcome as Answered};
use wattle_provider::CallError;

use crate::calls::router::Way;
use crate::calls::spy::{Seen, microseconds};
use crate::metrics::{Outcome, Place};
use crate::shared::Shared;

/// Counts a call of this host when it is over, and shows it to those who watch.
pub(super) struct Counted<'a> {
    shared: &'a Shared,
    way: &'a Way,
    function: &'a str,
    start: Instant,
    pub(super) place: Place,
    outcome: Outcome,
}

impl<'a> Counted<'a> {
    pub(super) fn new(shared: &'a Shared, way: &'a Way, function: &'a str) -> Self {
        let (place, outcome) = (Place::Local, Outcome::Canceled);
        Self { shared, way, function, start: Instant::now(), place, outcome }
    }

    /// Notes how the call ended.
    pub(super) fn end<T>(&mut self, result: &Result<T, CallError>) {
        self.outcome = match result {
            Ok(_) => Outcome::Ok,
            Err(CallError::Busy { .. }) => Outcome::Busy,
            Err(CallError::Timeout { .. }) => Outcome::Timeout,
            Err(_) => Outcome::Failed,
        };
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Way { source, target, link_name, interface, .. } = self.way;
        let took = self.start.elapsed();
        self.shared.metrics.call(source, target, self.outcome, self.place, took);
        // A call to another host is shown there.
        if self.place == Place::Local && self.shared.spies.any() {
            let seen = Seen {
                source,
                target,
                link_name,
                interface,
                function: self.function,
                outcome: self.outcome.label(),
                remote: false,
                microseconds: microseconds(took),
            };
            self.shared.spies.saw(&self.shared.id, seen);
        }
    }
}

/// A call of another host's, for those who watch; `None` while nobody does.
pub(super) struct Watched {
    call: [Arc<str>; 5],
    start: Instant,
    outcome: Outcome,
    shared: Arc<Shared>,
}

impl Watched {
    pub(super) fn begin(shared: &Arc<Shared>, call: &Call) -> Option<Self> {
        let Call { source, target, link_name, interface, function, .. } = call;
        let call = [source, target, link_name, interface, function];
        shared.spies.any().then(|| Self {
            call: call.map(Arc::clone),
            start: Instant::now(),
            outcome: Outcome::Canceled,
            shared: shared.clone(),
        })
    }

    pub(super) fn end(&mut self, answered: &Answered) {
        self.outcome = match answered {
            Answered::Value { .. } => Outcome::Ok,
            Answered::Failed { .. } | Answered::Refused { .. } => Outcome::Failed,
        };
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let [source, target, link_name, interface, function] = &self.call;
        let (outcome, microseconds) = (self.outcome.label(), microseconds(self.start.elapsed()));
        let seen =
            Seen { source, target, link_name, interface, function, outcome, remote: true, microseconds };
        self.shared.spies.saw(&self.shared.id, seen);
    }
}
