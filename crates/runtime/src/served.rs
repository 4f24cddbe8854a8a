//! A component with an identity and limits, answering calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::compiled::Compiled;
use crate::error::CallError;
use crate::permits::{Permits, Refused};

/// The bounds within which a component answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLimits {
    /// Memories and tables of one instance together, in bytes.
    pub max_memory_bytes: u64,
    /// Wall-clock time of one call, from its arrival to the end of its answer.
    pub max_execution_time: Duration,
    /// Calls that run at once.
    pub max_concurrent_calls: u32,
    /// Calls that may wait for one of those to end.
    pub max_queued_calls: u32,
}

/// Who a component is, and how it runs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Its id on the lattice; its output is logged under it.
    pub id: String,
    /// The bounds within which it answers.
    pub limits: ComponentLimits,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
}

/// A component that answers calls, each in an instance of its own. Cheap to clone.
#[derive(Clone)]
pub struct Served(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: Arc<str>,
    pub(crate) compiled: Compiled,
    pub(crate) limits: ComponentLimits,
    pub(crate) config: ArcSwap<BTreeMap<String, String>>,
    permits: Permits,
    instances: Arc<Semaphore>,
    pub(crate) calls: TaskTracker,
    pub(crate) ended: CancellationToken,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl Served {
    pub(crate) fn new(compiled: Compiled, options: ServeOptions) -> Self {
        let instances = compiled.0.instances.clone();
        Self(Arc::new(Inner {
            id: options.id.into(),
            limits: options.limits,
            config: ArcSwap::from_pointee(options.config),
            permits: Permits::new(options.limits.max_concurrent_calls, options.limits.max_queued_calls),
            instances,
            calls: TaskTracker::new(),
            ended: CancellationToken::new(),
            compiled,
        }))
    }

    /// Whether both are the same component with the same calls.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What runs.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.0.compiled
    }

    /// How many calls may run at once.
    #[must_use]
    pub fn max_concurrent_calls(&self) -> u32 {
        self.0.permits.count()
    }

    /// Changes how many calls may run at once; fewer takes effect as running calls end.
    pub fn set_max_concurrent_calls(&self, count: u32) {
        self.0.permits.set_count(count);
    }

    /// Changes what the component reads through `wasi:config`; calls that run keep what they have.
    pub fn set_config(&self, config: BTreeMap<String, String>) {
        self.0.config.store(Arc::new(config));
    }

    /// How many calls have an instance now.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.0.calls.len()
    }

    /// Takes no more calls and waits for those that run, at most until `deadline` has passed; then it ends them.
    /// Answers whether all of them ended by themselves.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.0.permits.close();
        self.0.calls.close();
        let drained = tokio::time::timeout(deadline, self.0.calls.wait()).await.is_ok();
        self.0.ended.cancel();
        self.0.calls.wait().await;
        drained
    }
}

/// A place for one call: taken before the call is handed over, so that a call which finds no place is still whole and
/// may go elsewhere. Dropping it gives the place back.
pub struct Reserved {
    pub(crate) served: Arc<Inner>,
    /// One of the component's concurrent calls and one of the engine's instances.
    _permits: [OwnedSemaphorePermit; 2],
    pub(crate) deadline: Instant,
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserved").field("id", &self.served.id).finish_non_exhaustive()
    }
}

impl Served {
    /// Waits for a place among the component's concurrent calls. The call's time runs from here.
    ///
    /// # Errors
    ///
    /// Where the component is busy or being stopped, or no place came free in the time that a call may take.
    pub async fn reserve(&self) -> Result<Reserved, CallError> {
        let served = &self.0;
        let deadline = Instant::now() + served.limits.max_execution_time;
        let permits = tokio::time::timeout_at(deadline, served.admit()).await.unwrap_or_else(|_| {
            Err(CallError::Timeout { id: served.id.clone(), after: served.limits.max_execution_time })
        })?;
        Ok(Reserved { served: served.clone(), _permits: permits, deadline })
    }
}

impl Inner {
    /// One permit of the component and one of the engine's instances; both are given back when the instance is gone.
    async fn admit(&self) -> Result<[OwnedSemaphorePermit; 2], CallError> {
        let call = self.permits.acquire().await.map_err(|refused| match refused {
            Refused::Closed => CallError::Stopping { id: self.id.clone() },
            Refused::QueueFull => CallError::Busy {
                id: self.id.clone(),
                reason: format!(
                    "{} calls run and {} wait, which is the limit",
                    self.permits.count(),
                    self.limits.max_queued_calls
                ),
            },
        })?;
        let instance = self.instances.clone().acquire_owned();
        let instance = instance.await.map_err(|_| CallError::Stopping { id: self.id.clone() })?;
        Ok([call, instance])
    }
}
