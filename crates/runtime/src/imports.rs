//! Where a component's imports lead: to whatever the user of this crate says.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

use crate::context::CallContext;
use crate::values::{FunctionType, Values};

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed HTTP body, with trailers, on its way out of or into a component.
pub type HttpBody = UnsyncBoxBody<Bytes, BodyError>;

/// Answers the calls that components make. One object serves many components and many calls at once.
///
/// Dropping a returned future means that the caller is gone: what it started should end.
pub trait Imports: Send + Sync + 'static {
    /// Calls an imported function.
    fn call(&self, call: ImportCall) -> BoxFuture<'static, Result<Values, ImportError>>;

    /// Answers an outgoing HTTP request; its URI is absolute.
    fn handle_http(
        &self,
        caller: Caller,
        request: Request<HttpBody>,
    ) -> BoxFuture<'static, Result<Response<HttpBody>, ImportError>>;

    /// Whether the component has a link of that name for the interface (`ns:package/interface`, without a version).
    /// Components of `wasmcloud:bus@2` are told when they choose a link that doesn't exist.
    fn has_link(&self, component: &str, link_name: &str, interface: &str) -> bool;
}

/// On whose behalf something is called.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the calling component.
    pub component: Arc<str>,
    /// The link that the component chose for the interface; `default` where it chose none.
    pub link_name: Arc<str>,
    /// The call that the component is answering.
    pub context: CallContext,
}

/// A call of an imported function.
pub struct ImportCall {
    /// On whose behalf.
    pub caller: Caller,
    /// What is called, as the caller was built against it.
    pub function: Arc<FunctionType>,
    /// Its parameters.
    pub parameters: Values,
}

impl std::fmt::Debug for ImportCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportCall")
            .field("caller", &self.caller)
            .field("interface", self.function.interface())
            .field("function", self.function.name())
            .finish_non_exhaustive()
    }
}

/// An import was called in vain. The caller of a function fails with this message; the sender of an HTTP request gets
/// the error code that fits.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// No link says where the call should go.
    #[error("{0}")]
    NoLink(String),
    /// The target, or a policy on the way, doesn't take the call.
    #[error("{0}")]
    Refused(String),
    /// The target runs and has no room for the call.
    #[error("{0}")]
    Busy(String),
    /// The target runs nowhere, or nowhere that can be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The target did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// This host is being stopped.
    #[error("this host is being stopped")]
    Stopping,
    /// The target took the call and failed.
    #[error("{0}")]
    Failed(String),
}

impl ImportError {
    /// [`ImportError::NoLink`]
    pub fn no_link(message: impl Into<String>) -> Self {
        Self::NoLink(message.into())
    }

    /// [`ImportError::Refused`]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// [`ImportError::Busy`]
    pub fn busy(message: impl Into<String>) -> Self {
        Self::Busy(message.into())
    }

    /// [`ImportError::Unreachable`]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable(message.into())
    }

    /// [`ImportError::Timeout`]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::Timeout(message.into())
    }

    /// [`ImportError::Stopping`]
    #[must_use]
    pub fn stopping() -> Self {
        Self::Stopping
    }

    /// [`ImportError::Failed`]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}
