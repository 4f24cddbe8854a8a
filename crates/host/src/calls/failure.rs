//! One failure of a call in the words of each of its sides: the component's, the provider's, the lattice's.

use std::time::Duration;

use wattle_lattice::{CallError as LatticeError, Outcome, Reason};
use wattle_provider::CallError;
use wattle_runtime::CallError as ComponentError;

/// Codes of calls that failed after they were begun, as `docs/protocol.md` lists them.
mod code {
    pub(super) const TIMEOUT: u16 = 501;
    pub(super) const TRAPPED: u16 = 502;
    pub(super) const NO_RESPONSE: u16 = 503;
    pub(super) const CANCELED: u16 = 504;
    pub(super) const LOST: u16 = 505;
    pub(super) const VALUE: u16 = 506;
}

/// What a component's failure is to its caller.
pub(crate) fn of_component(target: &str, error: ComponentError) -> CallError {
    let target = target.to_owned();
    let reason = error.to_string();
    match error {
        ComponentError::Busy { .. } => CallError::Busy { target },
        ComponentError::Stopping { .. } => CallError::NotRunning { target },
        ComponentError::Timeout { after, .. } => CallError::Timeout { target, after },
        ComponentError::NotExported { .. } => CallError::Unsupported { target, reason },
        ComponentError::OutOfMemory { .. } | ComponentError::Trapped { .. } => {
            CallError::Trapped { target, reason }
        }
        ComponentError::TooDeep { .. } => CallError::Refused { target, reason },
        ComponentError::BadValue { .. } => CallError::NoResponse { target, reason },
    }
}

/// What the answering member tells of a failure. What was certainly not begun is a refusal, so that the caller may go
/// elsewhere.
pub(crate) fn to_outcome(error: &CallError) -> Outcome {
    let message = error.to_string();
    let refused = |reason| Outcome::Refused { reason, message: message.clone() };
    let failed = |code| Outcome::Failed { code, message: message.clone() };
    match error {
        CallError::NotRunning { .. } => refused(Reason::NotHere),
        CallError::NoLink { .. } => refused(Reason::NoLink),
        CallError::Busy { .. } => refused(Reason::Busy),
        CallError::Unsupported { .. } => refused(Reason::NoFunction),
        CallError::Refused { .. } => refused(Reason::Denied),
        CallError::Timeout { .. } => failed(code::TIMEOUT),
        CallError::Trapped { .. } => failed(code::TRAPPED),
        CallError::NoResponse { .. } => failed(code::NO_RESPONSE),
        CallError::Canceled { .. } => failed(code::CANCELED),
        CallError::Lost { .. } => failed(code::LOST),
    }
}

/// A value that the target could not read or write.
pub(crate) fn bad_value(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Failed { code: code::VALUE, message: error.to_string() }
}

/// What a failure on the way, or at the other end, is to the caller here.
pub(crate) fn of_lattice(error: LatticeError, source: &str, link_name: &str) -> CallError {
    let reason = error.to_string();
    match error {
        LatticeError::NotFound { target } => CallError::NotRunning { target: target.to_string() },
        LatticeError::Timeout { target, after, .. } => {
            CallError::Timeout { target: target.to_string(), after }
        }
        LatticeError::Lost { target, .. } => CallError::Lost { target: target.to_string(), reason },
        LatticeError::Refused { target, reason: why, message } => {
            of_refusal(target.to_string(), why, message, source, link_name)
        }
        LatticeError::Failed { target, code, message } => of_failure(target.to_string(), code, message),
        other => CallError::Refused { target: other.target().to_owned(), reason },
    }
}

fn of_refusal(target: String, why: Reason, message: String, source: &str, link_name: &str) -> CallError {
    match why {
        Reason::Busy => CallError::Busy { target },
        Reason::NotHere | Reason::Draining => CallError::NotRunning { target },
        Reason::NoLink => {
            CallError::NoLink { source_id: source.to_owned(), target, link_name: link_name.to_owned() }
        }
        Reason::NoFunction | Reason::TypesDiffer => CallError::Unsupported { target, reason: message },
        Reason::DeadlinePassed => CallError::Timeout { target, after: Duration::ZERO },
        other => CallError::Refused { target, reason: format!("{other}: {message}") },
    }
}

fn of_failure(target: String, code: u16, reason: String) -> CallError {
    match code {
        code::TIMEOUT => CallError::Timeout { target, after: Duration::ZERO },
        code::TRAPPED => CallError::Trapped { target, reason },
        code::CANCELED => CallError::Canceled { target },
        code::LOST => CallError::Lost { target, reason },
        _ => CallError::NoResponse { target, reason },
    }
}
