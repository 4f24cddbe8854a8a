//! One call: an instance of its own, a deadline, and an end that is always seen.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::WasiBody;

use crate::error::CallError;
use crate::served::Inner;
use crate::state::{MAX_RESOURCES, MemoryLimit, State};

/// Bytes that a component may make the host copy out of its memory in one call of a host function.
const MAX_COPIED: usize = 16 << 20;

/// What an instance lets those know who wait for it, before it is gone.
#[derive(Default)]
pub(crate) struct Fate {
    /// It asked for more memory than it may have.
    pub(crate) exhausted: AtomicBool,
    /// It ends before its work is done: what looks like the end of its body is none.
    pub(crate) failed: AtomicBool,
    /// How often it was interrupted because its turn on the processor was over.
    pub(crate) interruptions: AtomicU32,
}

/// How an instance ended that did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not done when its time was over.
    Timeout,
    /// The component is being stopped and its patience is over.
    Ended,
    /// The engine or the component's own code failed.
    Failed(wasmtime::Error),
}

impl Failure {
    /// What the caller is told.
    pub(crate) fn describe(self, served: &Inner, fate: &Fate) -> CallError {
        let id = served.id.clone();
        match self {
            Self::Timeout => CallError::Timeout { id, after: served.limits.max_execution_time },
            Self::Ended => CallError::Stopping { id },
            Self::Failed(_) if fate.exhausted.load(Ordering::Relaxed) => {
                CallError::OutOfMemory { id, limit: served.limits.max_memory_bytes }
            }
            Self::Failed(error) if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() => {
                CallError::Busy { id, reason: "this host's pool of instances is used up".into() }
            }
            Self::Failed(error) => CallError::Trapped { id, reason: reason(&error) },
        }
    }
}

/// The engine's one-line word for a failure; its backtrace goes to the log only.
fn reason(error: &wasmtime::Error) -> String {
    tracing::debug!(error = %format!("{error:?}"), "component failed");
    error.downcast_ref::<wasmtime::Trap>().map_or_else(|| error.root_cause().to_string(), ToString::to_string)
}

/// A store for one call, with the component's configuration as it is now.
pub(crate) fn store(served: &Inner, fate: Arc<Fate>) -> Store<State> {
    let config: WasiConfigVariables = if served.compiled.0.imports_config {
        served.config.load().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    } else {
        WasiConfigVariables::new()
    };
    let memory = MemoryLimit::new(served.limits.max_memory_bytes, fate.clone());
    let mut store = Store::new(&served.compiled.0.engine, State::new(&served.log, config, memory));
    store.limiter(|state| &mut state.memory);
    store.set_max_component_handles(MAX_RESOURCES);
    store.set_hostcall_fuel(MAX_COPIED);
    // At least one tick: a deadline of zero would make each call yield at its first instruction.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        fate.interruptions.fetch_add(1, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// The task that runs an instance; dropping this ends it.
pub(crate) struct Running(Option<JoinHandle<Result<(), Failure>>>);

impl Running {
    pub(crate) fn new(task: JoinHandle<Result<(), Failure>>) -> Self {
        Self(Some(task))
    }

    /// Waits for the instance's end.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        let Some(task) = &mut self.0 else { return Ok(()) };
        let result = task.await;
        self.0 = None;
        result.unwrap_or_else(|error| Err(Failure::Failed(wasmtime::Error::msg(error.to_string()))))
    }

    /// Lets the instance finish what it does after its answer.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// The body of a component's answer, as the component writes it. Dropping it before its end ends the instance; an
/// instance that ends before its body does is an error here, never a short body.
pub struct Body {
    inner: WasiBody,
    running: Running,
    served: Arc<Inner>,
    fate: Arc<Fate>,
    /// Bytes that the answer's head still promises, where it says.
    promised: Option<u64>,
    done: bool,
    /// What the body said when it broke off; the instance's end is awaited for a better reason.
    broken: Option<String>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("component", &self.served.id)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn new(
        inner: WasiBody,
        promised: Option<u64>,
        running: Running,
        served: Arc<Inner>,
        fate: Arc<Fate>,
    ) -> Self {
        Self { inner, running, served, fate, promised, done: false, broken: None }
    }

    fn account(&mut self, frame: &Frame<Bytes>) {
        if let (Some(promised), Some(data)) = (&mut self.promised, frame.data_ref()) {
            *promised = promised.saturating_sub(data.len() as u64);
        }
    }

    /// Why the body broke off: the instance's own end says it best.
    fn poll_reason(&mut self, cx: &mut Context<'_>, said: &str) -> Poll<CallError> {
        let end = std::pin::pin!(self.running.end());
        let failure = match std::task::ready!(end.poll(cx)) {
            Err(failure) => failure,
            Ok(()) => Failure::Failed(wasmtime::Error::msg(format!("its answer broke off: {said}"))),
        };
        Poll::Ready(failure.describe(&self.served, &self.fate))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if this.broken.is_none() {
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    this.account(&frame);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => this.broken = Some(error.to_string()),
                None if this.fate.failed.load(Ordering::Acquire) => {
                    this.broken = Some("it was cut short".into());
                }
                None => {
                    this.done = true;
                    return Poll::Ready(None);
                }
            }
        }
        let said = this.broken.clone().unwrap_or_default();
        let error = std::task::ready!(this.poll_reason(cx, &said));
        this.done = true;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.done || self.promised == Some(0) || http_body::Body::is_end_stream(&self.inner) {
            self.running.leave();
        }
    }
}
