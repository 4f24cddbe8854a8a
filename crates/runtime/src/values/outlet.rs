//! What a component writes on its way out of the store: from the component's end of a stream to whoever reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{Stream, StreamExt};

use super::ByteStream;
use super::error::StreamBroken;

/// The longest message, in bytes. A longer element goes on in the next one.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// Says when a store is gone. It has to be in the store's data, because that is dropped before the store's streams are.
#[derive(Debug, Default)]
pub(crate) struct Life(Arc<AtomicBool>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Data of a store that streams may leave.
pub(crate) trait StreamHost: Send + 'static {
    fn life(&self) -> &Life;
}

/// A component's end of a stream was dropped without a word: either by the component, which is the proper end of a
/// stream, or because it failed and all that it had is dropped, which is none.
pub(super) struct Outlet {
    messages: Option<mpsc::Sender<Bytes>>,
    complete: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    /// Whether dropping it is its proper end: not so for a future, which has to have a value.
    may_be_dropped: bool,
}

/// Whoever read a stream doesn't any more.
pub(super) struct NotRead;

impl Outlet {
    pub(super) fn new(life: &Life, may_be_dropped: bool) -> (Self, ByteStream) {
        let (messages, receiver) = mpsc::channel(0);
        let complete = Arc::<AtomicBool>::default();
        let inlet = Inlet { messages: Some(receiver), complete: complete.clone() };
        (Self { messages: Some(messages), complete, gone: life.0.clone(), may_be_dropped }, Box::pin(inlet))
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotRead>> {
        match &mut self.messages {
            Some(messages) => messages.poll_ready(cx).map_err(|_| NotRead),
            None => Poll::Ready(Err(NotRead)),
        }
    }

    /// Only after [`Self::poll_ready`] said so.
    pub(super) fn send(&mut self, message: Bytes) -> Result<(), NotRead> {
        self.messages.as_mut().ok_or(NotRead)?.start_send(message).map_err(|_| NotRead)
    }

    /// Hands on all of `out`, in messages.
    pub(super) fn poll_send_all(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Bytes,
    ) -> Poll<Result<(), NotRead>> {
        while !out.is_empty() {
            ready!(self.poll_ready(cx))?;
            let message = out.split_to(out.len().min(MAX_MESSAGE));
            self.send(message)?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn end(&mut self) {
        self.complete.store(true, Ordering::Release);
        self.messages = None;
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if self.may_be_dropped && !self.gone.load(Ordering::Acquire) {
            self.complete.store(true, Ordering::Release);
        }
    }
}

/// The other half of an [`Outlet`].
struct Inlet {
    messages: Option<mpsc::Receiver<Bytes>>,
    complete: Arc<AtomicBool>,
}

impl Stream for Inlet {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        if let Some(message) = ready!(messages.poll_next_unpin(cx)) {
            return Poll::Ready(Some(Ok(message)));
        }
        self.messages = None;
        Poll::Ready(if self.complete.load(Ordering::Acquire) {
            None
        } else {
            Some(Err(StreamBroken::new("the component that writes it is gone")))
        })
    }
}
