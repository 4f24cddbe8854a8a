//! The calling end: a call, its answer, and what can become of it instead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use wattle_identity::Member;
use wattle_seal::message::{Encoding, Reason};

use super::{InStream, OutStream};

/// A call of a function of a target, wherever on the lattice that runs.
pub struct Call {
    /// The component, provider or client in whose name it is made; the member must be allowed to speak for it.
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
    /// Stands for the function's type; zeros when it is not known.
    pub types: [u8; 8],
    /// Revision of the state at which the link was found.
    pub state_revision: u64,
    /// By when there must be an answer. Streams may go on after it.
    pub deadline: Instant,
    /// How many calls this one is within.
    pub depth: u8,
    /// Where the call belongs in a trace.
    pub trace: Trace,
    /// The encoded parameters.
    pub parameters: Bytes,
    /// The streams that go along with them, at most 255. They are pulled only as far as the target takes them.
    pub streams: Vec<OutStream>,
    /// Whether it does no harm to make the call twice: only then it is made again when an answer is lost.
    pub repeatable: bool,
}

/// Where a call belongs in a distributed trace, as the W3C's trace context writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`; empty for none.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
}

/// What a call returned.
#[derive(Debug)]
pub struct Answer {
    /// The encoded result.
    pub value: Bytes,
    /// The streams that come along with it. The call goes on until all have ended or were dropped.
    pub streams: Vec<InStream>,
    /// The member that answered.
    pub peer: Arc<Member>,
}

/// Whether a call that failed may have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// Certainly not.
    No,
    /// Wholly, in part or not at all.
    Maybe,
}

/// Why there is no answer to a call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nobody on the lattice said that the target runs there.
    #[error("failed to call `{target}`: it was not found on the lattice; check that it was started")]
    NotFound {
        /// The target.
        target: Arc<str>,
    },
    /// The target's member refused to begin the call; when others could have taken it, the last one that was asked.
    #[error("failed to call `{target}`: refused: {reason}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// The target.
        target: Arc<str>,
        /// Why.
        reason: Reason,
        /// The same for people; can be empty.
        message: String,
    },
    /// The call was begun and failed there.
    #[error("the call of `{target}` failed: {message}")]
    Failed {
        /// The target.
        target: Arc<str>,
        /// The number of the reason.
        code: u16,
        /// The reason for people.
        message: String,
    },
    /// There was no answer by the deadline.
    #[error("the call of `{target}` was not answered within {after:?}")]
    Timeout {
        /// The target.
        target: Arc<str>,
        /// How long was waited.
        after: Duration,
        /// Whether it had been sent.
        executed: Executed,
    },
    /// The member that had taken the call vanished, or nobody can say any more what became of it.
    #[error("the answer of `{target}` was lost: {reason}; the call may have been carried out")]
    Lost {
        /// The target.
        target: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// Those that run the target could not be reached, so the call was not sent.
    #[error("failed to call `{target}`: {reason}")]
    Unreachable {
        /// The target.
        target: Arc<str>,
        /// Who was tried last, and what happened.
        reason: String,
    },
    /// Those that run the target and this member do not accept each other's certificates.
    #[error("failed to call `{target}`: no session with {peer}: {reason}")]
    Untrusted {
        /// The target.
        target: Arc<str>,
        /// The member that was asked last.
        peer: String,
        /// What is wrong with the certificates, or which clock is wrong.
        reason: String,
    },
    /// The connection to NATS is down, or the seat was left.
    #[error("failed to call `{target}`: {reason}")]
    Disconnected {
        /// The target.
        target: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The parameters are longer than a message can be.
    #[error(
        "failed to call `{target}`: the message would have {length} bytes, and the NATS server takes {max}; pass large \
         data as a stream"
    )]
    TooLarge {
        /// The target.
        target: Arc<str>,
        /// Length of the message.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The call can't be written: a name is too long or empty, or it is within too many others.
    #[error("failed to call `{target}`: {reason}")]
    Invalid {
        /// The target.
        target: Arc<str>,
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// The target of the call.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            Self::NotFound { target }
            | Self::Refused { target, .. }
            | Self::Failed { target, .. }
            | Self::Timeout { target, .. }
            | Self::Lost { target, .. }
            | Self::Unreachable { target, .. }
            | Self::Untrusted { target, .. }
            | Self::Disconnected { target, .. }
            | Self::TooLarge { target, .. }
            | Self::Invalid { target, .. } => target,
        }
    }

    /// Whether the call may have been carried out.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::Failed { .. } | Self::Lost { .. } => Executed::Maybe,
            Self::Timeout { executed, .. } => *executed,
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Disconnected { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. } => Executed::No,
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Timeout { .. } => "timeout",
            Self::Lost { .. } => "lost",
            Self::Unreachable { .. } => "unreachable",
            Self::Untrusted { .. } => "untrusted",
            Self::Disconnected { .. } => "disconnected",
            Self::TooLarge { .. } => "too_large",
            Self::Invalid { .. } => "invalid",
        }
    }
}
