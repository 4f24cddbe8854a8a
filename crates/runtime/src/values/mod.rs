//! Parameters and results on their way between components: held, encoded, decoded, shown to people.
//!
//! A [`FunctionType`] is made once per imported or exported function. [`Values`] are taken out of one component's store
//! and put into another's, in this process as they are, across hosts in the encoding of section "Values" of
//! `docs/protocol.md`. Streams and futures leave the store as [`ByteStream`]s, the same way in both cases.

mod codec;
mod elements;
mod ends;
mod error;
mod function;
mod json;
mod outlet;
mod reader;
mod syntax;
#[cfg(test)]
mod tests;
mod types;
mod wave;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use wasmtime::component::Val;
use wasmtime::{AsContextMut, StoreContextMut};

pub(crate) use codec::MAX_DECODED_BYTES;
pub use error::{CodecError, StreamBroken};
pub use function::FunctionType;
pub(crate) use outlet::{Life, StreamHost};

use crate::call::Readers;
use function::Side;
use types::Type;

/// A value stream or a future outside of any store: messages of at most 64 KiB which together are the encoding of its
/// elements. It is pulled, so whoever writes waits for whoever reads; dropping it tells the writer to stop. `None` is
/// the proper end; a stream that breaks off says so.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamBroken>> + Send>>;

/// The parameters or the result of one call, outside of any store.
///
/// Where the function's type has a stream or future, `vals` has [`placeholder`], and `streams` has its other half, in
/// order of appearance.
pub struct Values {
    vals: Vec<Val>,
    streams: Vec<ByteStream>,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("vals", &self.vals).field("streams", &self.streams.len()).finish()
    }
}

impl Values {
    /// Takes a call's parameters out of the caller's store; its streams are host-side ends from then on.
    pub(crate) fn take_parameters<D: StreamHost>(
        store: StoreContextMut<'_, D>,
        function: &FunctionType,
        vals: Vec<Val>,
    ) -> wasmtime::Result<Self> {
        Self::take(store, function.parameters(), vals)
    }

    /// Takes a call's result out of the callee's store.
    pub(crate) fn take_results<D: StreamHost>(
        store: StoreContextMut<'_, D>,
        function: &FunctionType,
        vals: Vec<Val>,
    ) -> wasmtime::Result<Self> {
        Self::take(store, function.results(), vals)
    }

    /// Puts a call's parameters into the callee's store.
    pub(crate) fn put_parameters<D: StreamHost>(
        self,
        store: StoreContextMut<'_, D>,
        function: &FunctionType,
    ) -> wasmtime::Result<Vec<Val>> {
        self.put(store, function.parameters())
    }

    /// Puts a call's result into the caller's store.
    pub(crate) fn put_results<D: StreamHost>(
        self,
        store: StoreContextMut<'_, D>,
        function: &FunctionType,
    ) -> wasmtime::Result<Vec<Val>> {
        self.put(store, function.results())
    }

    /// Whether a stream or future is inside.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Makes each stream inside one of `readers` until it ended, broke off or was dropped.
    pub(crate) fn keep_alive(&mut self, readers: &Arc<Readers>) {
        for stream in &mut self.streams {
            let inner = std::mem::replace(stream, Box::pin(futures::stream::empty()));
            *stream = Box::pin(Kept(Some((inner, readers.clone()))));
        }
    }

    fn take<D: StreamHost>(
        mut store: StoreContextMut<'_, D>,
        side: &Side,
        mut vals: Vec<Val>,
    ) -> wasmtime::Result<Self> {
        let mut streams = Vec::new();
        if side.has_streams() {
            let mut swap = |ty: &Type, val: &mut Val| {
                streams.push(match (ty, std::mem::replace(val, placeholder())) {
                    (Type::Stream(element), Val::Stream(any)) => {
                        elements::ends(element).take_stream(store.as_context_mut(), any)?
                    }
                    (Type::Future(element), Val::Future(any)) => {
                        elements::ends(element).take_future(store.as_context_mut(), any)?
                    }
                    (ty, found) => return Err(codec::mismatch(ty, &found).into()),
                });
                Ok(())
            };
            side.each_stream(&mut vals, &mut swap)?;
        }
        Ok(Self { vals, streams })
    }

    fn put<D: StreamHost>(
        mut self,
        mut store: StoreContextMut<'_, D>,
        side: &Side,
    ) -> wasmtime::Result<Vec<Val>> {
        let given = self.streams.len();
        let mut expected = 0;
        if side.has_streams() {
            let mut streams = std::mem::take(&mut self.streams).into_iter();
            let mut swap = |ty: &Type, val: &mut Val| {
                expected += 1;
                let Some(stream) = streams.next() else { return Ok(()) };
                *val = match ty {
                    Type::Future(element) => {
                        elements::ends(element).put_future(store.as_context_mut(), stream)?
                    }
                    Type::Stream(element) => {
                        elements::ends(element).put_stream(store.as_context_mut(), stream)?
                    }
                    other => return Err(codec::mismatch(other, val).into()),
                };
                Ok(())
            };
            side.each_stream(&mut self.vals, &mut swap)?;
        }
        if given != expected {
            return Err(CodecError::Streams { expected, given }.into());
        }
        Ok(self.vals)
    }
}

/// What stands in a value where a stream or future was taken out.
fn placeholder() -> Val {
    Val::Tuple(Vec::new())
}

/// A stream with something that lives as long as it is read.
struct Kept(Option<(ByteStream, Arc<Readers>)>);

impl Stream for Kept {
    type Item = Result<Bytes, StreamBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((inner, _)) = &mut self.0 else { return Poll::Ready(None) };
        let next = std::task::ready!(inner.as_mut().poll_next(cx));
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((_, readers)) = &self.0 {
            readers.left_early();
        }
    }
}
