//! A component with an identity and limits, answering calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_config::WasiConfigVariables;

use crate::compiled::Compiled;
use crate::idle::{self, Idle};
use crate::imports::Imports;
use crate::instance::Instance;
use crate::output::Log;
use crate::permits::Permits;

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
    /// Calls that one instance answers, one after another, before it is dropped; 1 is an instance of its own for each
    /// call. With more, a component keeps what it has in memory from call to call.
    pub max_instance_reuse: u32,
}

/// Who a component is, and how it runs.
#[derive(Clone)]
pub struct ServeOptions {
    /// Its id on the lattice; its output is logged under it.
    pub id: String,
    /// The bounds within which it answers.
    pub limits: ComponentLimits,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Where its imports and its outgoing HTTP requests lead.
    pub imports: Arc<dyn Imports>,
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions")
            .field("id", &self.id)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A component that answers calls, each in an instance of its own or in one that is idle. Cheap to clone.
#[derive(Clone)]
pub struct Served(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: Arc<str>,
    pub(crate) compiled: Compiled,
    pub(crate) limits: ComponentLimits,
    pub(crate) config: ArcSwap<WasiConfigVariables>,
    pub(crate) imports: Arc<dyn Imports>,
    pub(crate) log: Arc<Log>,
    pub(crate) permits: Permits,
    /// Running calls that wait for calls of their own.
    pub(crate) waiting_calls: Arc<AtomicU32>,
    pub(crate) idle: Idle,
    /// Room for one more instance in the engine.
    pub(crate) instances: Arc<Semaphore>,
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
            config: ArcSwap::from_pointee(options.config.into_iter().collect()),
            imports: options.imports,
            waiting_calls: Arc::default(),
            idle: Idle::default(),
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
        self.0.config.store(Arc::new(config.into_iter().collect()));
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
        self.0.idle.close();
    }

    /// Takes no more calls and waits for those that run, at most until `deadline` has passed; then it ends them.
    /// Answers whether all of them ended by themselves.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.0.permits.close();
        self.0.calls.close();
        let drained = tokio::time::timeout(deadline, self.0.calls.wait()).await.is_ok();
        self.0.ended.cancel();
        self.0.idle.close();
        self.0.calls.wait().await;
        drained
    }
}

impl Inner {
    /// Keeps an instance whose call went well for the next one, where that is wanted.
    pub(crate) fn keep(self: &Arc<Self>, mut instance: Instance) {
        if !instance.may_go_on(&self.limits) || !self.idle.put(instance) {
            return;
        }
        let served = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(idle::PATIENCE).await;
                if !served.upgrade().is_some_and(|served| served.idle.sweep()) {
                    return;
                }
            }
        });
    }
}
