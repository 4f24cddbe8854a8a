//! One call: a deadline, and an end that is always seen.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiBody;

use crate::error::CallError;
use crate::lane::PATIENCE;
use crate::served::Inner;

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

/// Those who read what an instance still writes after its result: it lives as long as one of them does.
pub(crate) struct Readers {
    early: AtomicBool,
    gone: Option<oneshot::Sender<bool>>,
}

impl Readers {
    /// What is received when the last of them is gone: whether one of them left before its stream's end.
    pub(crate) fn new() -> (Arc<Self>, oneshot::Receiver<bool>) {
        let (gone, received) = oneshot::channel();
        (Arc::new(Self { early: AtomicBool::new(false), gone: Some(gone) }), received)
    }

    /// A stream's reader is dropped before the stream's end.
    pub(crate) fn left_early(&self) {
        self.early.store(true, Ordering::Relaxed);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            // Nobody listens where the instance is gone already.
            let _ = gone.send(self.early.load(Ordering::Relaxed));
        }
    }
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
    pub(crate) fn describe(self, served: &Inner, fate: &Fate, allowed: Duration) -> CallError {
        let id = served.id.clone();
        match self {
            Self::Timeout => CallError::Timeout { id, after: allowed },
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

/// Bounds work in an instance by its deadline and by the component's end.
pub(crate) async fn bounded<T>(
    served: &Inner,
    deadline: Instant,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        result = tokio::time::timeout_at(deadline, work) => result.unwrap_or(Err(Failure::Timeout)),
        () = served.ended.cancelled() => Err(Failure::Ended),
    }
}

/// Runs work in an instance, on the busy lane from the moment that it keeps the processor busy.
pub(crate) async fn in_its_lane<T: Send + 'static>(
    served: &Inner,
    fate: &Fate,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let mut work = Box::pin(work);
    let quick = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if fate.interruptions.load(Ordering::Relaxed) >= PATIENCE => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match quick.await {
        Some(result) => result,
        None => Running::new(served.compiled.0.lane.spawn(work)).end().await,
    }
}

/// The task that runs an instance; dropping this ends it.
pub(crate) struct Running<T = ()>(Option<JoinHandle<Result<T, Failure>>>);

impl<T> Running<T> {
    pub(crate) fn new(task: JoinHandle<Result<T, Failure>>) -> Self {
        Self(Some(task))
    }

    /// Waits for the instance's end, once.
    pub(crate) async fn end(&mut self) -> Result<T, Failure> {
        let Some(task) = &mut self.0 else { return Err(Failure::Ended) };
        let result = task.await;
        self.0 = None;
        result.unwrap_or_else(|error| Err(Failure::Failed(wasmtime::Error::msg(error.to_string()))))
    }

    /// Lets the instance finish what it does after its answer.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl<T> Drop for Running<T> {
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
    /// The time that the call was given.
    allowed: Duration,
    /// Bytes that the answer's head still promises, where it says.
    promised: Option<u64>,
    done: bool,
    /// Dropped when nobody reads on, for the instance that waits for it.
    read: Option<futures::channel::oneshot::Sender<()>>,
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
        allowed: Duration,
        read: futures::channel::oneshot::Sender<()>,
    ) -> Self {
        let read = Some(read);
        Self { inner, running, served, fate, allowed, promised, done: false, read, broken: None }
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
        Poll::Ready(failure.describe(&self.served, &self.fate, self.allowed))
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
                    (this.done, this.read) = (true, None);
                    return Poll::Ready(None);
                }
            }
        }
        this.read = None;
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
