//! A component with an identity and limits, answering calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::compiled::Compiled;
use crate::error::CallError;
use crate::output::Log;
use crate::permits::{Closed, Permits, Place};

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
    pub(crate) log: Arc<Log>,
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
        let id: Arc<str> = options.id.into();
        Self(Arc::new(Inner {
            log: Arc::new(Log::new(id.clone())),
            id,
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

    /// How many calls have or want a place now.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.0.calls.len()
    }

    /// Takes no more calls and ends those that run.
    pub fn end(&self) {
        self.0.permits.close();
        self.0.calls.close();
        self.0.ended.cancel();
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
    /// Dropped last: a drain waits for whoever wants or has a place, until nothing is left of it.
    _counted: TaskTrackerToken,
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
        let counted = served.calls.token();
        let deadline = Instant::now() + served.limits.max_execution_time;
        let permits = tokio::time::timeout_at(deadline, served.admit()).await.unwrap_or_else(|_| {
            Err(CallError::Timeout { id: served.id.clone(), after: served.limits.max_execution_time })
        })?;
        Ok(Reserved { served: served.clone(), _permits: permits, deadline, _counted: counted })
    }
}

impl Inner {
    /// One of the component's concurrent calls and one of the engine's instances; both are given back when the
    /// instance is gone. Who must wait for either has a place in the bounded queue.
    async fn admit(&self) -> Result<[OwnedSemaphorePermit; 2], CallError> {
        let stopping = |_| CallError::Stopping { id: self.id.clone() };
        if let Some(call) = self.permits.try_acquire().map_err(stopping)? {
            if let Ok(instance) = self.instances.clone().try_acquire_owned() {
                return Ok([call, instance]);
            }
            let _place = self.queue()?;
            return Ok([call, self.instances.clone().acquire_owned().await.map_err(|_| stopping(Closed))?]);
        }
        let _place = self.queue()?;
        let call = self.permits.acquire().await.map_err(stopping)?;
        Ok([call, self.instances.clone().acquire_owned().await.map_err(|_| stopping(Closed))?])
    }

    fn queue(&self) -> Result<Place<'_>, CallError> {
        self.permits.queue().ok_or_else(|| CallError::Busy {
            id: self.id.clone(),
            reason: format!(
                "{} calls may run and {} may wait, and as many do",
                self.permits.count(),
                self.limits.max_queued_calls
            ),
        })
    }
}
