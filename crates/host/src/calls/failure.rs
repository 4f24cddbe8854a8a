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
    match error {
        ComponentError::Busy { .. } => CallError::Busy { target },
        ComponentError::Stopping { .. } => CallError::NotRunning { target },
        ComponentError::Timeout { after, .. } => CallError::Timeout { target, after },
        ComponentError::NotExported { interface, .. } => {
            CallError::Unsupported { target, reason: format!("it does not export {interface}") }
        }
        ComponentError::OutOfMemory { limit, .. } => {
            CallError::Trapped { target, reason: format!("it ran out of memory: it may use {limit} bytes") }
        }
        ComponentError::Trapped { reason, .. } => CallError::Trapped { target, reason },
        ComponentError::TooDeep { depth, .. } => CallError::Refused {
            target,
            reason: format!("{depth} calls have caused one another already, which looks endless"),
        },
        ComponentError::BadValue { reason, .. } => CallError::NoResponse { target, reason },
    }
}

/// What the answering member tells of a failure. What was certainly not begun is a refusal, so that the caller may go
/// elsewhere. The reason alone is told: the caller says what failed.
pub(crate) fn to_outcome(error: &CallError) -> Outcome {
    let message = match error {
        CallError::Trapped { reason, .. }
        | CallError::NoResponse { reason, .. }
        | CallError::Unsupported { reason, .. }
        | CallError::Refused { reason, .. }
        | CallError::Lost { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    let reason = match error {
        CallError::NotRunning { .. } | CallError::Unreachable { .. } => Reason::NotHere,
        CallError::NoLink { .. } => Reason::NoLink,
        CallError::Busy { .. } => Reason::Busy,
        CallError::Unsupported { .. } => Reason::NoFunction,
        CallError::Refused { .. } => Reason::Denied,
        CallError::Timeout { .. } => return Outcome::Failed { code: code::TIMEOUT, message },
        CallError::Trapped { .. } => return Outcome::Failed { code: code::TRAPPED, message },
        CallError::NoResponse { .. } => return Outcome::Failed { code: code::NO_RESPONSE, message },
        CallError::Canceled { .. } => return Outcome::Failed { code: code::CANCELED, message },
        CallError::Lost { .. } => return Outcome::Failed { code: code::LOST, message },
    };
    Outcome::Refused { reason, message }
}

/// A value that the target could not read or write.
pub(crate) fn bad_value(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Failed { code: code::VALUE, message: error.to_string() }
}

/// What a failure on the way, or at the other end, is to the caller here, after the time that was spent.
pub(crate) fn of_lattice(error: LatticeError, spent: Duration, source: &str, link_name: &str) -> CallError {
    let target = error.target().to_owned();
    match error {
        LatticeError::NotFound { .. } => CallError::NotRunning { target },
        LatticeError::Timeout { after, .. } => CallError::Timeout { target, after },
        LatticeError::Lost { reason, .. } => CallError::Lost { target, reason },
        LatticeError::Refused { reason: Reason::NoLink, .. } => {
            CallError::NoLink { source_id: source.to_owned(), target, link_name: link_name.to_owned() }
        }
        LatticeError::Refused { reason, message, .. } => of_refusal(target, reason, message, spent),
        LatticeError::Failed { code, message, .. } => of_failure(target, code, message, spent),
        LatticeError::Unreachable { reason, .. } | LatticeError::Disconnected { reason, .. } => {
            CallError::Unreachable { target, reason }
        }
        LatticeError::Untrusted { peer, reason, .. } => {
            CallError::Unreachable { target, reason: format!("no session with {peer}: {reason}") }
        }
        LatticeError::TooLarge { length, max, .. } => CallError::Unsupported {
            target,
            reason: format!(
                "the message would have {length} bytes, and the NATS server takes {max}; pass large data as a stream"
            ),
        },
        LatticeError::Invalid { reason, .. } => CallError::Unsupported { target, reason },
    }
}

/// Whether a call of which the lattice said this was certainly not begun anywhere, and may go better here.
pub(crate) fn may_go_on_here(error: &CallError) -> bool {
    matches!(
        error,
        CallError::NotRunning { .. }
            | CallError::Unreachable { .. }
            | CallError::Busy { .. }
            | CallError::Unsupported { .. }
    )
}

fn of_refusal(target: String, why: Reason, message: String, spent: Duration) -> CallError {
    match why {
        Reason::Busy => CallError::Busy { target },
        Reason::NotHere | Reason::Draining => CallError::NotRunning { target },
        Reason::NoFunction | Reason::TypesDiffer => CallError::Unsupported { target, reason: message },
        Reason::DeadlinePassed => CallError::Timeout { target, after: spent },
        Reason::StateBehind => CallError::Unreachable { target, reason: format!("{why}: {message}") },
        other => CallError::Refused { target, reason: format!("{other}: {message}") },
    }
}

fn of_failure(target: String, code: u16, reason: String, spent: Duration) -> CallError {
    match code {
        code::TIMEOUT => CallError::Timeout { target, after: spent },
        code::TRAPPED => CallError::Trapped { target, reason },
        code::CANCELED => CallError::Canceled { target },
        code::LOST => CallError::Lost { target, reason },
        _ => CallError::NoResponse { target, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<CallError> {
        let (target, reason) = (|| "b".to_owned(), || "why".to_owned());
        vec![
            CallError::NotRunning { target: target() },
            CallError::Busy { target: target() },
            CallError::NoLink { source_id: "a".into(), target: target(), link_name: "default".into() },
            CallError::Unsupported { target: target(), reason: reason() },
            CallError::Refused { target: target(), reason: reason() },
            CallError::Timeout { target: target(), after: Duration::from_secs(3) },
            CallError::Trapped { target: target(), reason: reason() },
            CallError::NoResponse { target: target(), reason: reason() },
            CallError::Canceled { target: target() },
            CallError::Lost { target: target(), reason: reason() },
        ]
    }

    /// What the caller on another host makes of it.
    fn over_the_lattice(error: &CallError) -> CallError {
        let target = "b".into();
        let seen = match to_outcome(error) {
            Outcome::Refused { reason, message } => LatticeError::Refused { target, reason, message },
            Outcome::Failed { code, message } => LatticeError::Failed { target, code, message },
            Outcome::Value { .. } => unreachable!("it is an error"),
        };
        of_lattice(seen, Duration::from_secs(3), "a", "default")
    }

    #[test]
    fn a_failure_is_the_same_here_and_on_another_host() {
        for error in all() {
            let seen = over_the_lattice(&error);
            assert_eq!(std::mem::discriminant(&seen), std::mem::discriminant(&error), "{error}: {seen}");
            if !matches!(error, CallError::Refused { .. }) {
                assert_eq!(seen.to_string(), error.to_string());
            }
        }
    }

    #[test]
    fn what_was_begun_is_never_begun_again() {
        for error in all() {
            let begun = matches!(to_outcome(&error), Outcome::Failed { .. });
            assert!(!(begun && may_go_on_here(&error)), "{error}");
        }
        let target = || "b".into();
        let again = |error| may_go_on_here(&of_lattice(error, Duration::ZERO, "a", "default"));
        assert!(again(LatticeError::NotFound { target: target() }));
        assert!(again(LatticeError::Unreachable { target: target(), reason: String::new() }));
        assert!(again(LatticeError::Disconnected { target: target(), reason: String::new() }));
        assert!(again(LatticeError::TooLarge { target: target(), length: 2, max: 1 }));
        assert!(!again(LatticeError::Lost { target: target(), reason: String::new() }));
        for code in 0..=999 {
            let failed = LatticeError::Failed { target: target(), code, message: String::new() };
            assert!(!again(failed), "{code}");
        }
    }

    #[test]
    fn a_component_is_named_once() {
        let error = ComponentError::Trapped { id: "b".into(), reason: "it said so".into() };
        let error = of_component("b", error);
        assert_eq!(over_the_lattice(&error).to_string(), "component b trapped: it said so");
    }
}
