//! From a provider to the component that its link names.

use std::sync::{Arc, Weak};
use std::time::Instant;

use http::Response;
use http_body_util::BodyExt;
use wattle_provider::{Body, BodyError, CallError, HttpCall, Lattice, async_trait};
use wattle_runtime::{CallError as ComponentError, Reserved};

use crate::metrics::{Metrics, Outcome};
use crate::shared::Shared;

/// A component that is just being replaced is looked up again; no call waits for more replacements than this.
const LOOKUPS: usize = 3;

/// How a provider reaches components. It does not keep the host alive.
pub(crate) struct Router(Weak<Shared>);

impl Router {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

#[async_trait]
impl Lattice for Router {
    async fn handle_http(&self, call: HttpCall) -> Result<Response<Body>, CallError> {
        let HttpCall { source, target, link_name, request } = call;
        let Some(shared) = self.0.upgrade() else { return Err(CallError::NotRunning { target }) };
        shared.check_link(&source, &target, &link_name)?;
        let mut counted = Counted::new(&shared.metrics, &source, &target);
        let called = async {
            let place = shared.reserve(&target).await?;
            place.handle_http(request).await.map_err(|error| call_error(&target, error))
        };
        let result = called.await;
        counted.outcome = outcome(&result);
        result.map(|response| response.map(|body| body.map_err(BodyError::new).boxed_unsync()))
    }
}

impl Shared {
    /// Only what is linked may call.
    fn check_link(&self, source: &str, target: &str, link_name: &str) -> Result<(), CallError> {
        let snapshot = self.store.snapshot();
        let linked = snapshot.specs.get(source).is_some_and(|spec| {
            spec.links.iter().any(|link| {
                link.target == target
                    && link.name == link_name
                    && link.wit_namespace == "wasi"
                    && link.wit_package == "http"
            })
        });
        if linked {
            return Ok(());
        }
        Err(CallError::NoLink {
            source_id: source.to_owned(),
            target: target.to_owned(),
            link_name: link_name.to_owned(),
        })
    }

    /// A place in the component as it runs now; one that is just being replaced is looked up again.
    async fn reserve(&self, target: &str) -> Result<Reserved, CallError> {
        for _ in 0..LOOKUPS {
            let component = self.components.get(target);
            let component = component.ok_or_else(|| CallError::NotRunning { target: target.to_owned() })?;
            match component.served.reserve().await {
                Ok(place) => return Ok(place),
                Err(ComponentError::Stopping { .. }) => {}
                Err(error) => return Err(call_error(target, error)),
            }
        }
        Err(CallError::NotRunning { target: target.to_owned() })
    }
}

fn call_error(target: &str, error: ComponentError) -> CallError {
    let target = target.to_owned();
    match error {
        ComponentError::Busy { .. } => CallError::Busy { target },
        ComponentError::Stopping { .. } => CallError::NotRunning { target },
        ComponentError::Timeout { after, .. } => CallError::Timeout { target, after },
        error @ ComponentError::NotExported { .. } => {
            CallError::Unsupported { target, reason: error.to_string() }
        }
        error @ (ComponentError::OutOfMemory { .. } | ComponentError::Trapped { .. }) => {
            CallError::Trapped { target, reason: error.to_string() }
        }
    }
}

fn outcome<T>(result: &Result<T, CallError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Ok,
        Err(CallError::Busy { .. }) => Outcome::Busy,
        Err(CallError::Timeout { .. }) => Outcome::Timeout,
        Err(_) => Outcome::Failed,
    }
}

/// Counts a call when it is over, also where its caller gave it up.
struct Counted<'a> {
    metrics: &'a Metrics,
    source: &'a str,
    target: &'a str,
    start: Instant,
    outcome: Outcome,
}

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics, source: &'a str, target: &'a str) -> Self {
        Self { metrics, source, target, start: Instant::now(), outcome: Outcome::Canceled }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.call(self.source, self.target, self.outcome, self.start.elapsed());
    }
}
