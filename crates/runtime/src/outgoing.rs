//! Outgoing HTTP of both `wasi:http` generations goes where the component's link leads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::error::CallError;
use crate::imports::{BodyError, HttpBody, ImportError};
use crate::outward::{OUTGOING_HTTP, Outward, aside};

type Transmission = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(Response<WasiBody>, Transmission), HttpError>;

impl WasiHttpHooks for Outward {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Transmission,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let options = options.unwrap_or_default();
        let request = request.map(|body| body.map_err(BodyError::from).boxed_unsync());
        let pending = self.wait();
        let answer = aside(self.imports.handle_http(self.caller(OUTGOING_HTTP), request));
        Box::new(async move {
            let response = within(head_timeout(&options), answer).await?;
            drop(pending);
            let between_bytes = options.between_bytes_timeout;
            let response = response.map(|body| Incoming::new(body, between_bytes).boxed_unsync());
            // Whoever answers also takes the request's body, so there is nothing left to drive.
            Ok((response, Box::new(std::future::ready(Ok(()))) as Transmission))
        })
    }
}

/// How long the head of the answer may take. There is no connection to wait for of its own, so its time is part of it;
/// alone it bounds nothing.
fn head_timeout(options: &RequestOptions) -> Option<Duration> {
    let first_byte = options.first_byte_timeout?;
    Some(first_byte.saturating_add(options.connect_timeout.unwrap_or_default()))
}

async fn within(
    timeout: Option<Duration>,
    answer: impl Future<Output = Result<Response<HttpBody>, ImportError>>,
) -> Result<Response<HttpBody>, HttpError> {
    let answer = match timeout {
        Some(timeout) => {
            tokio::time::timeout(timeout, answer).await.map_err(|_| HttpError::ConnectionReadTimeout)?
        }
        None => answer.await,
    };
    answer.map_err(|error| {
        tracing::debug!(%error, "an outgoing HTTP request failed");
        error_code(error)
    })
}

fn error_code(error: ImportError) -> HttpError {
    match error {
        ImportError::NoLink(_) | ImportError::Refused(_) => HttpError::HttpRequestDenied,
        ImportError::Busy(_) => HttpError::ConnectionLimitReached,
        ImportError::Unreachable(_) | ImportError::Stopping => HttpError::DestinationUnavailable,
        ImportError::Timeout(_) => HttpError::HttpResponseTimeout,
        ImportError::Failed(message) => HttpError::InternalError(Some(message)),
    }
}

/// The body of an answer, which may not pause for longer than the component said while the component waits for it.
struct Incoming {
    body: HttpBody,
    between_bytes: Option<Duration>,
    /// Runs while the component waits.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    fn new(body: HttpBody, between_bytes: Option<Duration>) -> Self {
        Self { body, between_bytes, pause: None }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| broken_off(&error))));
        }
        let Some(longest) = this.between_bytes else { return Poll::Pending };
        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        ready!(pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(HttpError::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn broken_off(error: &BodyError) -> HttpError {
    tracing::debug!(%error, "the answer to an outgoing HTTP request broke off");
    match error.downcast_ref::<CallError>() {
        Some(CallError::Timeout { .. }) => HttpError::HttpResponseTimeout,
        _ => HttpError::HttpResponseIncomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_make_sense_bound_the_head() {
        let second = Duration::from_secs(1);
        let options = |connect_timeout, first_byte_timeout| RequestOptions {
            connect_timeout,
            first_byte_timeout,
            between_bytes_timeout: None,
        };
        assert_eq!(head_timeout(&options(None, None)), None);
        assert_eq!(head_timeout(&options(Some(second), None)), None);
        assert_eq!(head_timeout(&options(None, Some(second))), Some(second));
        assert_eq!(head_timeout(&options(Some(second), Some(second))), Some(2 * second));
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_given_up() {
        let moment = Duration::from_millis(1);
        let never = std::future::pending::<Result<Response<HttpBody>, ImportError>>();
        let head = within(Some(moment), never).await;
        assert!(matches!(head, Err(HttpError::ConnectionReadTimeout)));
        let (mut sender, body) = http_body_util::Channel::<Bytes, BodyError>::new(1);
        let mut body = Incoming::new(body.boxed_unsync(), Some(moment));
        sender.send_data(Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        let pause = body.frame().await.unwrap();
        assert!(matches!(pause, Err(HttpError::ConnectionReadTimeout)));
    }

    #[test]
    fn what_went_wrong_has_its_code() {
        assert!(matches!(error_code(ImportError::no_link("")), HttpError::HttpRequestDenied));
        assert!(matches!(error_code(ImportError::timeout("")), HttpError::HttpResponseTimeout));
        let failed = error_code(ImportError::failed("it broke"));
        assert!(matches!(failed, HttpError::InternalError(Some(message)) if message == "it broke"));
    }
}
