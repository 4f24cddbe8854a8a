//! The admin address: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::shared::Shared;

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait after a connection could not be taken, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The admin address of a host. It answers from the first moment, while the host still waits for NATS.
#[derive(Clone)]
pub(crate) struct Admin(Arc<OnceLock<Weak<Shared>>>);

impl Admin {
    /// Takes the address, so that a bad one is found out before anything else starts, and answers until `stopping`.
    pub(crate) async fn serve(address: SocketAddr, stopping: CancellationToken) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(address).await.map_err(|reason| Error::AdminAddress { address, reason })?;
        let admin = Self(Arc::default());
        tokio::spawn(stopping.run_until_cancelled_owned(admin.clone().accept(listener)));
        Ok(admin)
    }

    /// From now on the host itself says how it is.
    pub(crate) fn joined(&self, shared: &Arc<Shared>) {
        if self.0.set(Arc::downgrade(shared)).is_err() {
            tracing::debug!("the admin address already serves its host");
        }
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().serve_connection(stream))),
                Err(error) => {
                    tracing::warn!(%error, "the admin address can't take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "admin connection ended");
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return answer(StatusCode::NOT_FOUND, JSON, r#"{"status":"not found"}"#.to_owned());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, JSON, String::new());
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let ok = || r#"{"status":"ok"}"#.to_owned();
        let shared = self.0.get().and_then(Weak::upgrade);
        match path {
            "/metrics" => {
                let text = shared
                    .map(|shared| shared.metrics.encode(shared.seat.load().as_deref()))
                    .unwrap_or_default();
                answer(StatusCode::OK, PROMETHEUS, text)
            }
            "/livez" => answer(StatusCode::OK, JSON, ok()),
            _ => match shared.map_or_else(|| Err("waiting for NATS".to_owned()), |shared| shared.ready()) {
                Ok(()) => answer(StatusCode::OK, JSON, ok()),
                Err(reason) => {
                    let status = serde_json::json!({ "status": "failure", "reason": reason });
                    answer(StatusCode::INTERNAL_SERVER_ERROR, JSON, status.to_string())
                }
            },
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
