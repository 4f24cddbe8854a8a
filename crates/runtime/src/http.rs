//! HTTP calls: `wasi:http/incoming-handler@0.2` and `wasi:http/handler@0.3`, bodies streamed both ways.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::channel::oneshot;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body_util::BodyExt;
use wasmtime::AsContextMut;
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView, p3};

use crate::call::{Body, Failure, Fate, Running, bounded, in_its_lane};
use crate::error::CallError;
use crate::instance::Instance;
use crate::reserve::Reserved;
use crate::served::Inner;
use crate::state::State;

type Answer = oneshot::Sender<Result<Response<WasiBody>, wasmtime::Error>>;

/// Says, by being cancelled, that nobody reads the answer's body any more.
type Read = oneshot::Receiver<()>;

impl Reserved {
    /// Hands a request to the component and gives its answer as soon as its head is there. The instance lives until
    /// the answer's body ended and its own work is done; dropping the future or the body before ends it at once.
    ///
    /// # Errors
    ///
    /// Where the component doesn't answer HTTP, takes too long or fails before its answer's head. What happens later
    /// is the body's error.
    pub async fn handle_http<B>(self, request: Request<B>) -> Result<Response<Body>, CallError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (served, allowed) = (self.served.clone(), self.allowed);
        if served.compiled.0.http.is_none() {
            return Err(CallError::NotExported {
                id: served.id.clone(),
                interface: "wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3".to_owned(),
            });
        }
        let request = request.map(|body| {
            body.map_err(|error| HttpError::InternalError(Some(error.to_string()))).boxed_unsync()
        });
        let (answer, answered) = oneshot::channel();
        let (reading, read) = oneshot::channel();
        let fate = Arc::new(Fate::default());
        let task = {
            let (served, fate) = (served.clone(), fate.clone());
            let work = work(self, request, (answer, read), fate.clone());
            async move { in_its_lane(&served, &fate, work).await }
        };
        let mut running = Running::new(served.calls.spawn(task));
        match answered.await {
            Ok(Ok(response)) => {
                let promised = promised_length(&response);
                Ok(response.map(|body| Body::new(body, promised, running, served, fate, allowed, reading)))
            }
            // The component's own refusal is an answer: it is told at once, while the instance ends.
            Ok(Err(error)) if is_refusal(&error) => {
                Err(Failure::Failed(error).describe(&served, &fate, allowed))
            }
            failed => {
                let failure = match (running.end().await, failed) {
                    (Err(failure), _) => failure,
                    (Ok(()), Ok(Err(error))) => Failure::Failed(error),
                    (Ok(()), _) => Failure::Failed(wasmtime::Error::msg("it ended without an answer")),
                };
                Err(failure.describe(&served, &fate, allowed))
            }
        }
    }
}

/// The place is held as long as the instance lives.
async fn work(
    place: Reserved,
    request: Request<WasiBody>,
    answer: (Answer, Read),
    fate: Arc<Fate>,
) -> Result<(), Failure> {
    let deadline = place.context.deadline;
    let (hold, served, mut instance) = place.enter(fate.clone());
    let answered = async { handle(&mut instance, &served, request, answer).await.map_err(Failure::Failed) };
    let result = bounded(&served, deadline, answered).await;
    // Before the store is dropped, and with it the body that someone may be reading.
    fate.failed.store(result.is_err(), Ordering::Release);
    match result {
        Ok(()) => served.keep(instance),
        Err(_) => drop(instance),
    }
    drop(hold);
    result
}

async fn handle(
    instance: &mut Instance,
    served: &Inner,
    request: Request<WasiBody>,
    (answer, read): (Answer, Read),
) -> wasmtime::Result<()> {
    let Some(export) = &served.compiled.0.http else { return Ok(()) };
    let (store, instance) = instance.get(served).await?;
    let proxy = export.load(store, &instance)?;
    let is_wasi_0_3 = matches!(proxy, Proxy::P3(_));
    let call = Prepared::new(store.as_context_mut(), &proxy, request, State::http, answer)?;
    store
        .run_concurrent(async |accessor| {
            // The deadline is kept outside, where it also holds while the component never lets go of the processor.
            call.run(accessor, std::future::pending()).await?;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            if is_wasi_0_3 {
                // What the component handed on without looking at it, such as trailers, still has to pass through here.
                let _ = read.await;
            }
            Ok(())
        })
        .await?
}

/// Whether the component itself said that it can't answer, as opposed to failing.
fn is_refusal(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<HttpError>().is_some()
        || error.downcast_ref::<p3::bindings::http::types::ErrorCode>().is_some()
}

fn promised_length<B>(response: &Response<B>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
