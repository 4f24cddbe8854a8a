//! What can go wrong, for the two sides of a provider: the host that runs it, and the components that it
//! calls.

use crate::LinkKey;
use std::time::Duration;

/// Why a provider refused what its host told it. Shown to the operator as it is, so a `reason` never holds a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider's own configuration has a key that it does not know or a value that it cannot use.
    #[error("provider configuration key `{key}`: {reason}")]
    Config {
        /// The key, as the operator wrote it.
        key: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The configuration of a link has a key that the provider does not know, lacks one that it needs, or has
    /// a value that it cannot use, for example because another link has it.
    #[error("link {link}: configuration key `{key}`: {reason}")]
    LinkConfig {
        /// The link that was refused.
        link: Box<LinkKey>,
        /// The key, as the operator wrote it.
        key: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The link as such is not one for this provider: the wrong way round, or an interface that it does not
    /// serve.
    #[error("link {link}: {reason}")]
    Link {
        /// The link that was refused.
        link: Box<LinkKey>,
        /// Why, and what would be right.
        reason: String,
    },
    /// Something outside of the provider could not be had: a port in use, a server that does not answer.
    #[error("{resource}: {reason}")]
    Unavailable {
        /// What was asked for.
        resource: String,
        /// Why it was not to be had, and what to do.
        reason: String,
    },
    /// The provider was told to shut down and takes nothing new.
    #[error("the provider is shutting down and takes no new configuration or links")]
    ShuttingDown,
}

/// Why a call to a component has no answer.
///
/// `reason` is for logs and operators: it may tell how the host is built inside and is not for the eyes of an
/// HTTP client. The HTTP status named with each variant is the one that an HTTP server answers with.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No such component runs where this call could reach it. Not executed; may work later. HTTP 503.
    #[error("component {target} is not running")]
    NotRunning {
        /// The component's id.
        target: String,
    },
    /// The way to the component is closed at the moment: this host, or the component's, is cut off from the lattice or
    /// not trusted. Not executed; may work later. HTTP 503.
    #[error("component {target} can't be reached: {reason}")]
    Unreachable {
        /// The component's id.
        target: String,
        /// What is in the way.
        reason: String,
    },
    /// There is no link from the caller to the target, perhaps since a moment ago. Not executed. HTTP 503.
    #[error("no link named `{link_name}` from {source_id} to {target}")]
    NoLink {
        /// The caller's id.
        source_id: String,
        /// The component's id.
        target: String,
        /// The link name that the call gave.
        link_name: String,
    },
    /// All of the component's permits are taken and its queue is full. Not executed; may work later. HTTP
    /// 503.
    #[error("component {target} has as many calls as it may have")]
    Busy {
        /// The component's id.
        target: String,
    },
    /// The call's time ran out. It may have been executed. HTTP 504.
    #[error("component {target} did not answer within {after:?}")]
    Timeout {
        /// The component's id.
        target: String,
        /// The time that the call was given.
        after: Duration,
    },
    /// The component trapped before it answered: it crashed, or ran into its limit of memory. HTTP 500.
    #[error("component {target} trapped: {reason}")]
    Trapped {
        /// The component's id.
        target: String,
        /// What the engine says.
        reason: String,
    },
    /// The component ran to its end and has no response: it returned an error code, or nothing at all. HTTP
    /// 500.
    #[error("component {target} gave no response: {reason}")]
    NoResponse {
        /// The component's id.
        target: String,
        /// The error code, or what was missing.
        reason: String,
    },
    /// The component does not export the interface, or not in a version that can be called. Not executed.
    /// HTTP 502.
    #[error("component {target} can't be called: {reason}")]
    Unsupported {
        /// The component's id.
        target: String,
        /// What it lacks.
        reason: String,
    },
    /// A policy says no. Not executed. HTTP 403.
    #[error("the call to {target} was refused: {reason}")]
    Refused {
        /// The component's id.
        target: String,
        /// Which policy, and why.
        reason: String,
    },
    /// The way to the component broke while the call was under way. It may have been executed. HTTP 502.
    #[error("the connection to {target} was lost: {reason}")]
    Lost {
        /// The component's id.
        target: String,
        /// What happened.
        reason: String,
    },
    /// The host ended the call, because it or the component is stopping. It may have been executed. HTTP 503.
    #[error("the call to {target} was cancelled")]
    Canceled {
        /// The component's id.
        target: String,
    },
}
