//! Between the runtime's words and the lattice's: neither knows the other.

use futures::StreamExt;
use wattle_lattice::{InStream, OutStream, Trace};
use wattle_runtime::{ByteStream, TraceContext};

pub(super) fn trace_to_lattice(trace: &TraceContext) -> Trace {
    Trace { parent: trace.parent.clone(), state: trace.state.clone() }
}

pub(super) fn trace_from_lattice(trace: Trace) -> TraceContext {
    TraceContext { parent: trace.parent, state: trace.state }
}

pub(super) fn streams_to_lattice(streams: Vec<ByteStream>) -> Vec<OutStream> {
    let broken = |error: wattle_runtime::StreamBroken| wattle_lattice::StreamBroken::new(error.reason);
    let convert = |stream: ByteStream| Box::pin(stream.map(move |item| item.map_err(broken))) as OutStream;
    streams.into_iter().map(convert).collect()
}

pub(super) fn streams_from_lattice(streams: Vec<InStream>) -> Vec<ByteStream> {
    let broken = |error: wattle_lattice::StreamBroken| wattle_runtime::StreamBroken::new(error.to_string());
    let convert = |stream: InStream| Box::pin(stream.map(move |item| item.map_err(broken))) as ByteStream;
    streams.into_iter().map(convert).collect()
}
