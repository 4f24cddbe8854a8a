//! What a host lends to a provider.

use crate::{Body, CallError, async_trait};
use std::fmt;

/// The components of the lattice, as a provider reaches them. The host implements it.
#[async_trait]
pub trait Lattice: Send + Sync + 'static {
    /// Gives one HTTP request to a component (`wasi:http/incoming-handler` or `wasi:http/handler`, whichever
    /// it exports) and returns the head of its response as soon as that is there.
    ///
    /// Both bodies are streams with back-pressure: the component sees the request's body as it arrives, and
    /// goes on only as fast as the response's body is read. The request's URI is absolute, so that the
    /// component learns scheme and authority.
    ///
    /// Dropping the future, or later the response's body before its end, cancels the call.
    ///
    /// # Errors
    ///
    /// Any [`CallError`]. After the head, failures are errors of the response's body.
    async fn handle_http(&self, call: HttpCall) -> Result<http::Response<Body>, CallError>;
}

/// One HTTP request to a component.
pub struct HttpCall {
    /// The id of the provider that calls.
    pub source: String,
    /// The id of the component that is called.
    pub target: String,
    /// The name of the link that the call goes over, most often `default`.
    pub link_name: String,
    /// The request.
    pub request: http::Request<Body>,
}

impl fmt::Debug for HttpCall {
    /// Leaves out path and headers: they carry tokens and cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCall")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("link_name", &self.link_name)
            .field("method", self.request.method())
            .finish_non_exhaustive()
    }
}
