//! What a call hands on to the calls that it causes: how long, how deep, and in which trace.

use tokio::time::Instant;

/// How many calls may cause one another in a chain; a deeper one is refused.
pub const MAX_DEPTH: u8 = 32;

/// The W3C trace context of a call: the values of `traceparent` and `tracestate`, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
}

/// What surrounds one call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The moment at which the caller gives up. It is only ever lowered on the way.
    pub deadline: Instant,
    /// How many calls caused this one: 0 for a call from outside the lattice, at most [`MAX_DEPTH`].
    pub depth: u8,
    /// The trace that the call belongs to.
    pub trace: TraceContext,
}

impl CallContext {
    /// The context of a call that no other call caused.
    #[must_use]
    pub fn outermost(deadline: Instant) -> Self {
        Self { deadline, depth: 0, trace: TraceContext::default() }
    }

    /// The context of a call that the call with this context causes.
    #[must_use]
    pub fn nested(&self) -> Self {
        Self { depth: self.depth.saturating_add(1), ..self.clone() }
    }
}
