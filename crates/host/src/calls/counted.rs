//! Counting calls: each is seen, also the one that its caller gave up.

use std::time::Instant;

use wattle_provider::CallError;

use crate::metrics::{Metrics, Outcome, Place};

/// Counts a call when it is over.
pub(super) struct Counted<'a> {
    metrics: &'a Metrics,
    source: &'a str,
    target: &'a str,
    start: Instant,
    pub(super) place: Place,
    outcome: Outcome,
}

impl<'a> Counted<'a> {
    pub(super) fn new(metrics: &'a Metrics, source: &'a str, target: &'a str) -> Self {
        let (place, outcome) = (Place::Local, Outcome::Canceled);
        Self { metrics, source, target, start: Instant::now(), place, outcome }
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
        self.metrics.call(self.source, self.target, self.outcome, self.place, self.start.elapsed());
    }
}
