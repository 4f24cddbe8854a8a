//! The capability providers that ship with wattle.
//!
//! **Invariant**: each is one type that implements [`Provider`] and knows the lattice only through [`Lattice`], so that
//! the same code runs inside a host (reference `builtin://NAME`) or as a process of its own.
//!
//! | name | what it does |
//! |---|---|
//! | `http-server` | [`HttpServer`]: gives the HTTP requests that it receives to components |
//!
//! # Example
//!
//! A host runs a built-in provider by its name:
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use wattle_provider::{Body, CallError, HttpCall, Lattice, async_trait, body};
//!
//! /// Stands for the components of a host.
//! struct Hello;
//!
//! #[async_trait]
//! impl Lattice for Hello {
//!     async fn handle_http(&self, _call: HttpCall) -> Result<http::Response<Body>, CallError> {
//!         Ok(http::Response::new(body::full("hello")))
//!     }
//! }
//!
//! # async fn run() -> Result<(), wattle_provider::ProviderError> {
//! let server = wattle_capabilities::builtin("http-server", "VSERVER".into(), Arc::new(Hello)).expect("it is built in");
//! server.configure(BTreeMap::from([("default_address".into(), "127.0.0.1:8080".into())])).await?;
//! # Ok(())
//! # }
//! assert!(wattle_capabilities::builtin("teapot", "VTEAPOT".into(), Arc::new(Hello)).is_none());
//! ```

mod http_server;

pub use http_server::HttpServer;

use std::sync::Arc;
use wattle_provider::{Lattice, Provider};

/// The names that [`builtin`] knows.
pub const BUILTIN_NAMES: &[&str] = &["http-server"];

/// Makes the built-in provider called `name`, with the id `id`. `None` if there is no such provider; see
/// [`BUILTIN_NAMES`].
pub fn builtin(name: &str, id: String, lattice: Arc<dyn Lattice>) -> Option<Arc<dyn Provider>> {
    match name {
        "http-server" => Some(Arc::new(HttpServer::new(id, lattice))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_provider::{Body, CallError, HttpCall, async_trait};

    struct Nobody;

    #[async_trait]
    impl Lattice for Nobody {
        async fn handle_http(&self, call: HttpCall) -> Result<http::Response<Body>, CallError> {
            Err(CallError::NotRunning { target: call.target })
        }
    }

    #[test]
    fn every_name_is_built_in() {
        for name in BUILTIN_NAMES {
            assert!(builtin(name, "V".into(), Arc::new(Nobody)).is_some(), "{name}");
        }
    }
}
