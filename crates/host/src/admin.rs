//! The admin address: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
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

use crate::error::Error;
use crate::shared::Shared;

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address, so that a bad one is found out before anything else starts.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|reason| Error::AdminAddress { address, reason })
}

impl Shared {
    pub(crate) async fn serve_admin(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().serve_admin_connection(stream))),
                Err(error) => {
                    tracing::warn!(%error, "the admin address can't take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve_admin_connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = self.answer_admin(request.method(), request.uri().path());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "admin connection ended");
        }
    }

    fn answer_admin(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return answer(StatusCode::NOT_FOUND, JSON, r#"{"status":"not found"}"#.to_owned());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, JSON, String::new());
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let ok = || r#"{"status":"ok"}"#.to_owned();
        match path {
            "/metrics" => answer(StatusCode::OK, PROMETHEUS, self.metrics.encode()),
            "/livez" => answer(StatusCode::OK, JSON, ok()),
            _ => match self.ready() {
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
