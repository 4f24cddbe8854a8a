//! The host's ends of streams and futures: where they leave a store and where they get into one.
//!
//! What leaves is pulled: a component's write is done when its elements are in a message, and a message is taken from
//! it only when the one before was read. What gets in is read when a component reads.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, FutureAny, FutureConsumer, FutureReader, Source, StreamAny, StreamConsumer, StreamProducer,
    StreamReader, StreamResult, Val, VecBuffer,
};

use super::elements::Wire;
use super::error::CodecError;
use super::outlet::{MAX_MESSAGE, NotRead, Outlet, StreamHost};
use super::reader::Reader;
use super::{ByteStream, types::Type};

/// The longest element, in bytes.
const MAX_ELEMENT: usize = 8 << 20;
/// Elements that are taken from a component, or given to one, at a time.
const TAKEN: usize = 16;
const GIVEN: usize = 4096;

/// Takes a stream out of a store.
pub(super) fn take_stream<D: StreamHost, T: Wire>(
    mut store: StoreContextMut<'_, D>,
    stream: StreamAny,
) -> wasmtime::Result<ByteStream> {
    let (outlet, inlet) = Outlet::new(store.data().life(), true);
    let consumer = Consumer::<T> { outlet, out: Bytes::new(), taken: false, element: PhantomData };
    stream.try_into_stream_reader::<T>()?.pipe(&mut store, consumer)?;
    Ok(inlet)
}

/// Takes a stream of bytes out of a store.
pub(super) fn take_bytes<D: StreamHost>(
    mut store: StoreContextMut<'_, D>,
    stream: StreamAny,
) -> wasmtime::Result<ByteStream> {
    let (outlet, inlet) = Outlet::new(store.data().life(), true);
    stream.try_into_stream_reader::<u8>()?.pipe(&mut store, ByteConsumer(outlet))?;
    Ok(inlet)
}

/// Takes a future out of a store.
pub(super) fn take_future<D: StreamHost, T: Wire>(
    mut store: StoreContextMut<'_, D>,
    future: FutureAny,
) -> wasmtime::Result<ByteStream> {
    let (outlet, inlet) = Outlet::new(store.data().life(), false);
    let consumer = ValueConsumer::<T> { outlet, out: Bytes::new(), taken: false, element: PhantomData };
    future.try_into_future_reader::<T>()?.pipe(&mut store, consumer)?;
    Ok(inlet)
}

/// Puts a stream into a store.
pub(super) fn put_stream<D: StreamHost, T: Wire>(
    mut store: StoreContextMut<'_, D>,
    stream: ByteStream,
) -> wasmtime::Result<Val> {
    let producer = Producer::<T> { intake: Intake::new(stream), element: PhantomData };
    let reader = StreamReader::new(&mut store, producer)?;
    Ok(Val::Stream(reader.try_into_stream_any(store)?))
}

/// Puts a stream of bytes into a store.
pub(super) fn put_bytes<D: StreamHost>(
    mut store: StoreContextMut<'_, D>,
    stream: ByteStream,
) -> wasmtime::Result<Val> {
    let reader = StreamReader::new(&mut store, ByteProducer { stream: Some(stream), message: Bytes::new() })?;
    Ok(Val::Stream(reader.try_into_stream_any(store)?))
}

/// Puts a future into a store.
pub(super) fn put_future<D: StreamHost, T: Wire>(
    mut store: StoreContextMut<'_, D>,
    stream: ByteStream,
) -> wasmtime::Result<Val> {
    let mut intake = Intake::new(stream);
    let value = async move {
        loop {
            if let Some(value) = intake.next::<T>()? {
                return intake.check_empty::<T>("future").map(|()| value);
            }
            if !std::future::poll_fn(|cx| intake.poll_more(cx)).await? {
                return Err(broken("future", T::ty().as_ref(), "it ended without a value"));
            }
        }
    };
    let reader = FutureReader::new(&mut store, value)?;
    Ok(Val::Future(reader.try_into_future_any(store)?))
}

/// Reads a component's stream.
struct Consumer<T> {
    outlet: Outlet,
    /// Encoded elements of the write that is going on, which are not yet handed on.
    out: Bytes,
    taken: bool,
    element: PhantomData<fn() -> T>,
}

impl<D: 'static, T: Wire> StreamConsumer<D> for Consumer<T> {
    type Item = T;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, T>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if !this.taken {
            match this.outlet.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(NotRead)) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
            let mut out = Vec::new();
            while out.len() < MAX_MESSAGE && source.remaining(&mut store) > 0 {
                take_some(&mut store, &mut source, &mut out)?;
            }
            this.out = out.into();
            this.taken = true;
        }
        let sent = ready!(this.outlet.poll_send_all(cx, &mut this.out));
        this.taken = false;
        Poll::Ready(Ok(if sent.is_ok() { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}

/// Encodes a few of the elements that a component writes.
fn take_some<D: 'static, T: Wire>(
    store: &mut StoreContextMut<'_, D>,
    source: &mut Source<'_, T>,
    out: &mut Vec<u8>,
) -> wasmtime::Result<()> {
    if T::IS_RUST_UNIT_TYPE {
        // There is no room that such elements could fill.
        let mut element = None;
        source.read(store, &mut element)?;
        element.iter().for_each(|element: &T| element.put(out));
    } else {
        let mut elements = Vec::<T>::with_capacity(TAKEN);
        source.read(store, &mut elements)?;
        elements.iter().for_each(|element| element.put(out));
    }
    Ok(())
}

/// Reads a component's stream of bytes.
struct ByteConsumer(Outlet);

impl<D: 'static> StreamConsumer<D> for ByteConsumer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.0.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(NotRead)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let message = Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_MESSAGE)]);
        source.mark_read(message.len());
        let sent = if message.is_empty() { Ok(()) } else { self.0.send(message) };
        Poll::Ready(Ok(if sent.is_ok() { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}

/// Reads a component's future.
struct ValueConsumer<T> {
    outlet: Outlet,
    out: Bytes,
    taken: bool,
    element: PhantomData<fn() -> T>,
}

impl<D: 'static, T: Wire> FutureConsumer<D> for ValueConsumer<T> {
    type Item = T;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, T>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let this = self.get_mut();
        if !this.taken {
            let mut value = None;
            source.read(store, &mut value)?;
            let mut out = Vec::new();
            value.iter().for_each(|value: &T| value.put(&mut out));
            this.out = out.into();
            this.taken = true;
        }
        // Nobody is left to be told that nobody reads it: a written future is done.
        let _ = ready!(this.outlet.poll_send_all(cx, &mut this.out));
        this.outlet.end();
        Poll::Ready(Ok(()))
    }
}

/// Elements as they come in, in messages which end anywhere.
struct Intake {
    stream: Option<ByteStream>,
    bytes: BytesMut,
}

impl Intake {
    fn new(stream: ByteStream) -> Self {
        Self { stream: Some(stream), bytes: BytesMut::new() }
    }

    /// Waits for more bytes; says whether there are any.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<wasmtime::Result<bool>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(false)) };
        match ready!(stream.as_mut().poll_next(cx)) {
            Some(Ok(message)) => {
                self.bytes.extend_from_slice(&message);
                Poll::Ready(Ok(true))
            }
            Some(Err(error)) => {
                self.stream = None;
                Poll::Ready(Err(error.into()))
            }
            None => {
                self.stream = None;
                Poll::Ready(Ok(false))
            }
        }
    }

    /// The next element, if it is there as a whole.
    fn next<T: Wire>(&mut self) -> wasmtime::Result<Option<T>> {
        let mut reader = Reader::new(&self.bytes);
        match T::get(&mut reader) {
            Ok(element) => {
                let used = self.bytes.len() - reader.remaining();
                self.bytes.advance(used);
                Ok(Some(element))
            }
            Err(CodecError::Truncated { missing, .. })
                if self.bytes.len().saturating_add(missing) <= MAX_ELEMENT =>
            {
                Ok(None)
            }
            Err(CodecError::Truncated { .. }) => {
                let problem = format!("an element is longer than {MAX_ELEMENT} bytes");
                Err(broken("stream", T::ty().as_ref(), &problem))
            }
            Err(error) => Err(broken("stream", T::ty().as_ref(), &error.within("an element").to_string())),
        }
    }

    fn check_empty<T: Wire>(&self, kind: &str) -> wasmtime::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(broken(kind, T::ty().as_ref(), &format!("{} bytes too many", self.bytes.len())))
    }
}

fn broken(kind: &str, ty: Option<&Type>, problem: &str) -> wasmtime::Error {
    let ty = ty.map(|ty| format!("<{ty}>")).unwrap_or_default();
    wasmtime::Error::msg(format!("{kind}{ty}: {problem}"))
}

/// Writes a stream that a component reads. Its failure is the engine's: the component that reads it fails too, as it
/// could not tell a stream that broke off from one that ended.
struct Producer<T> {
    intake: Intake,
    element: PhantomData<fn() -> T>,
}

impl<D: 'static, T: Wire> StreamProducer<D> for Producer<T> {
    type Item = T;
    type Buffer = VecBuffer<T>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, T, VecBuffer<T>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let intake = &mut self.get_mut().intake;
        let mut elements = Vec::new();
        loop {
            while elements.len() < GIVEN
                && let Some(element) = intake.next::<T>()?
            {
                elements.push(element);
            }
            if !elements.is_empty() {
                destination.set_buffer(elements.into());
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            match intake.poll_more(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    intake.check_empty::<T>("stream")?;
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Writes a stream of bytes that a component reads.
struct ByteProducer {
    stream: Option<ByteStream>,
    message: Bytes,
}

impl<D: 'static> StreamProducer<D> for ByteProducer {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        while this.message.is_empty() {
            let Some(stream) = &mut this.stream else { return Poll::Ready(Ok(StreamResult::Dropped)) };
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(message)) => this.message = message?,
                Poll::Ready(None) => this.stream = None,
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
        }
        // A component that asks for no bytes wants to know whether there are any.
        if destination.remaining(&mut store) != Some(0) {
            let mut room = destination.as_direct(store, this.message.len());
            let count = room.remaining().len().min(this.message.len());
            room.remaining()[..count].copy_from_slice(&this.message[..count]);
            room.mark_written(count);
            this.message.advance(count);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
