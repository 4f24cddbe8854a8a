//! Write a capability provider.
//!
//! A capability provider gives components something that a component has no means for: a port that listens, a
//! database, a clock that calls. The host tells it its configuration and its [links](ResolvedLink); the
//! provider calls components through the [`Lattice`] that the host lends it. The same implementation of
//! [`Provider`] can run inside a host or as a process of its own: it cannot tell.
//!
//! **Invariant**: the dependency tree stays small. No WebAssembly engine, no NATS client: a provider's author
//! compiles the provider, not a host.
//!
//! # Example
//!
//! A provider that asks every component that it is linked to for `/` as soon as the link is there:
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use wattle_provider::{Health, HttpCall, Lattice, LinkKey, Provider, ProviderError, ResolvedLink, async_trait, body};
//!
//! struct Greeter {
//!     id: String,
//!     lattice: Arc<dyn Lattice>,
//! }
//!
//! #[async_trait]
//! impl Provider for Greeter {
//!     async fn configure(&self, _config: BTreeMap<String, String>) -> Result<(), ProviderError> {
//!         Ok(())
//!     }
//!
//!     async fn link_put(&self, link: ResolvedLink) -> Result<(), ProviderError> {
//!         let refused = |reason: String| ProviderError::Link { link: link.key().into(), reason };
//!         let request = http::Request::get("http://greeter/").body(body::empty());
//!         let call = HttpCall {
//!             source: self.id.clone(),
//!             target: link.target.clone(),
//!             link_name: link.name.clone(),
//!             request: request.map_err(|error| refused(error.to_string()))?,
//!         };
//!         let response = self.lattice.handle_http(call).await.map_err(|error| refused(error.to_string()))?;
//!         println!("{} answers {}", link.target, response.status());
//!         Ok(())
//!     }
//!
//!     async fn link_deleted(&self, _link: &LinkKey) {}
//!
//!     async fn health(&self) -> Health {
//!         Health::healthy()
//!     }
//!
//!     async fn shutdown(&self) {}
//! }
//! ```

pub mod body;
mod error;
mod lattice;
mod link;

pub use async_trait::async_trait;
pub use body::{Body, BodyError};
pub use error::{CallError, ProviderError};
pub use lattice::{HttpCall, Lattice};
pub use link::{LinkKey, ResolvedLink};

use std::collections::BTreeMap;

/// A capability provider, as the host that runs it sees it.
///
/// The host calls [`configure`](Provider::configure) once before the first link, and never two of
/// `configure`, [`link_put`](Provider::link_put), [`link_deleted`](Provider::link_deleted) and
/// [`shutdown`](Provider::shutdown) at a time for one provider. [`health`](Provider::health) may be asked at
/// any time.
///
/// **A refusal changes nothing.** A provider that returns an error goes on with the configuration and the links that
/// it had; the host shows the error to the operator.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Takes the provider's configuration: its named configs, merged. Called before the first link, and again
    /// with the whole map whenever a value changed.
    ///
    /// # Errors
    ///
    /// A key that the provider does not know, a value that it cannot use, or one that does not go with its
    /// links.
    async fn configure(&self, config: BTreeMap<String, String>) -> Result<(), ProviderError>;

    /// Takes a link of which this provider is one end: a new one, or another version of the one with the same
    /// [key](ResolvedLink::key). Returns once the link is in force.
    ///
    /// # Errors
    ///
    /// An interface that the provider does not serve, a configuration that it cannot use, or something
    /// outside that the link needs and that could not be had, such as a port.
    async fn link_put(&self, link: ResolvedLink) -> Result<(), ProviderError>;

    /// Forgets a link. New work over it ends before this returns; work in flight is finished. A link that is
    /// not known is not an error.
    async fn link_deleted(&self, link: &LinkKey);

    /// Says whether the provider can do its work now. Answers at once, from what the provider knows already.
    async fn health(&self) -> Health;

    /// Takes on nothing new, finishes what was accepted, then returns. The host bounds the wait; what is not
    /// finished when the host drops the provider is cut off.
    async fn shutdown(&self);
}

/// What a provider says of its own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the provider can do its work.
    pub healthy: bool,
    /// What is wrong, for the operator.
    pub message: Option<String>,
}

impl Health {
    /// All is well.
    pub fn healthy() -> Self {
        Self { healthy: true, message: None }
    }

    /// Something is wrong: `message` says what, and what to do about it.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self { healthy: false, message: Some(message.into()) }
    }
}
