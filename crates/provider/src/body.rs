//! HTTP bodies as they pass between providers and components: streams of frames, never buffered whole.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

/// A body on its way: frames of bytes, then perhaps trailers.
///
/// Any `http_body::Body` of [`Bytes`] becomes one with `http_body_util::BodyExt::boxed_unsync`, after its
/// error was mapped with [`BodyError::new`].
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end: the connection that carried it broke, or the one who wrote it gave up.
///
/// A reader must not take what came before for the whole body.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off before its end: {0}")]
pub struct BodyError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BodyError {
    /// Wraps what went wrong: a transport's error, or a sentence.
    ///
    /// ```
    /// let error = wattle_provider::BodyError::new("the component trapped");
    /// assert_eq!(error.to_string(), "the body broke off before its end: the component trapped");
    /// ```
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// A body without a byte.
pub fn empty() -> Body {
    Body::default()
}

/// A body that is all there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
