//! The receiving end: what a member does with the calls that reach it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use wattle_identity::Member;
use wattle_seal::message::{Encoding, Reason};

use super::{InStream, OutStream, Trace};

/// Serves the calls that reach this member.
#[async_trait::async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a call. The future is dropped when the caller cancels or is gone, and at the call's deadline.
    async fn serve(&self, call: Incoming) -> Outcome;

    /// How busy a target is: 0 when idle, up to 1000 when full; `None` when it does not run here.
    fn load(&self, target: &str) -> Option<u16>;
}

/// A call that arrived. That it comes from a member which may speak for its source, and which may call the target as far
/// as its certificate says, was checked; links and policy were not.
#[derive(Debug)]
pub struct Incoming {
    /// The member that calls.
    pub caller: Arc<Member>,
    /// The component, provider or client in whose name it calls.
    pub source: Arc<str>,
    /// The component or provider that is called.
    pub target: Arc<str>,
    /// Name of the link; empty for a client's call.
    pub link_name: Arc<str>,
    /// The interface; empty for a function outside of any.
    pub interface: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// How the parameters are written, and the result is to be.
    pub encoding: Encoding,
    /// Stands for the function's type as the caller knows it; zeros when it does not.
    pub types: [u8; 8],
    /// Revision of the state at which the caller found the link.
    pub state_revision: u64,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// How many calls this one is within.
    pub depth: u8,
    /// Where the call belongs in a trace.
    pub trace: Trace,
    /// The encoded parameters.
    pub parameters: Bytes,
    /// The streams that come along with them.
    pub streams: Vec<InStream>,
}

/// What became of a call that arrived.
pub enum Outcome {
    /// The function returned.
    Value {
        /// The encoded result.
        value: Bytes,
        /// The streams that come along with it, at most 255.
        streams: Vec<OutStream>,
    },
    /// The call failed after it was begun.
    Failed {
        /// The number of the reason, which is for those who call and run components to agree on.
        code: u16,
        /// The reason for people.
        message: String,
    },
    /// The call was not begun.
    Refused {
        /// Why.
        reason: Reason,
        /// The reason for people.
        message: String,
    },
}

/// Shows the lengths of values and no content.
impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value { value, streams } => {
                write!(f, "Value({} bytes, {} streams)", value.len(), streams.len())
            }
            Self::Failed { code, message } => write!(f, "Failed({code}, {message:?})"),
            Self::Refused { reason, message } => write!(f, "Refused({reason:?}, {message:?})"),
        }
    }
}
