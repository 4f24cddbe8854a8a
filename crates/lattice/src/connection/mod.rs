//! The connection to NATS: made once, and kept up by the client from then on.

mod auth;
mod options;
mod status;

use std::{sync::Arc, time::Duration};

use async_nats::{
    AuthError, Client, ConnectErrorKind, Message, Request, RequestErrorKind, ServerAddr, rustls,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    auth::Authenticator,
    options::{parse_urls, show},
    status::Monitor,
};
pub use self::{
    options::{Auth, ConnectOptions, TlsOptions},
    status::ConnectionStatus,
};
use crate::{
    Error,
    backoff::{Reminder, delay_before},
};

/// A silent server is noticed after two or three of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A connection to NATS. Clones share it; it closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    monitor: Arc<Monitor>,
    inbox_prefix: Arc<str>,
    request_timeout: Duration,
}

/// Connects, trying each server once.
///
/// # Errors
/// [`Error::Option`], [`Error::File`] and [`Error::Seed`] for options that can't work; [`Error::Unauthorized`],
/// [`Error::Tls`] and [`Error::Unreachable`] for what the servers did, the most telling one of several.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, Error> {
    Plan::new(options)?.try_all().await
}

/// Connects, however long it takes: tries again with a growing delay of at most 5 s, and says in the log what it waits
/// for, once and then every 30 s.
///
/// # Errors
/// [`Error::Option`], [`Error::File`] and [`Error::Seed`] at once, because waiting can't help; [`Error::Cancelled`]
/// when `cancel` is.
pub async fn connect_waiting(
    options: &ConnectOptions,
    cancel: &CancellationToken,
) -> Result<Connection, Error> {
    let plan = Plan::new(options)?;
    let mut reminder = Reminder::default();
    for attempt in 2.. {
        let tried = cancel.run_until_cancelled(plan.try_all()).await.ok_or(Error::Cancelled)?;
        match tried {
            Ok(connection) => return Ok(connection),
            Err(error) if reminder.is_due(&error.to_string()) => tracing::warn!(%error, "waiting for NATS"),
            Err(_) => {}
        }
        let pause = tokio::time::sleep(delay_before(attempt));
        cancel.run_until_cancelled(pause).await.ok_or(Error::Cancelled)?;
    }
    Err(Error::Cancelled)
}

/// Checked options.
struct Plan<'a> {
    options: &'a ConnectOptions,
    servers: Vec<ServerAddr>,
    authenticator: Option<Arc<Authenticator>>,
}

impl<'a> Plan<'a> {
    fn new(options: &'a ConnectOptions) -> Result<Self, Error> {
        let servers = parse_urls(&options.urls)?;
        options.tls.check()?;
        let authenticator = Authenticator::new(&options.auth)?.map(Arc::new);
        Ok(Self { options, servers, authenticator })
    }

    async fn try_all(&self) -> Result<Connection, Error> {
        let mut worst: Option<Error> = None;
        for server in &self.servers {
            match self.try_one(server).await {
                Ok(connection) => return Ok(connection),
                Err(error) if worst.as_ref().is_none_or(|known| weight(&error) >= weight(known)) => {
                    worst = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or(Error::Cancelled))
    }

    async fn try_one(&self, server: &ServerAddr) -> Result<Connection, Error> {
        let monitor = Arc::new(Monitor::new());
        let options = self.client_options(&monitor);
        let connecting = async_nats::connect_with_options(server.clone(), options);
        let limit = self.options.request_timeout;
        let client = match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(self.explain(server, &error)),
            Err(_) => {
                let reason = format!("no answer within {limit:?}");
                return Err(Error::Unreachable { url: show(server), reason });
            }
        };
        if self.servers.len() > 1 {
            // Only from now on may the client move to the others: an error of the first try names its server.
            let _ = client.set_server_pool(self.servers.as_slice()).await;
        }
        monitor.connected();
        let inbox_prefix = self.options.inbox_prefix.as_deref().unwrap_or("_INBOX").into();
        Ok(Connection { client, monitor, inbox_prefix, request_timeout: limit })
    }

    fn client_options(&self, monitor: &Arc<Monitor>) -> async_nats::ConnectOptions {
        let mut options = match &self.authenticator {
            None => async_nats::ConnectOptions::new(),
            Some(authenticator) => {
                let authenticator = Arc::clone(authenticator);
                async_nats::ConnectOptions::with_auth_callback(move |nonce| {
                    let answer = authenticator.answer(&nonce).map_err(AuthError::new);
                    async move { answer }
                })
            }
        };
        let (observer, chooser) = (Arc::clone(monitor), Arc::clone(monitor));
        options = options
            .name(&self.options.name)
            .connection_timeout(self.options.request_timeout)
            .request_timeout(Some(self.options.request_timeout))
            .ping_interval(PING_INTERVAL)
            .event_callback(move |event| {
                observer.on_event(&event);
                async {}
            })
            .reconnect_to_server_callback(move |servers, _| {
                let choice = chooser.choose(&servers);
                async move { choice }
            });
        if let Some(prefix) = &self.options.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        self.with_tls(options)
    }

    fn with_tls(&self, mut options: async_nats::ConnectOptions) -> async_nats::ConnectOptions {
        let tls = &self.options.tls;
        options = options.require_tls(tls.required);
        if let Some(ca) = &tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        if tls.first { options.tls_first() } else { options }
    }

    fn explain(&self, server: &ServerAddr, error: &async_nats::ConnectError) -> Error {
        let url = show(server);
        let reason = root_cause(error);
        let refused = matches!(
            error.kind(),
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
        ) || reason.to_lowercase().contains("authentication");
        if refused {
            return Error::Unauthorized { url, reason, auth: self.options.auth.advice() };
        }
        if error.kind() == ConnectErrorKind::Tls || is_tls_failure(error) {
            return Error::Tls { url, reason };
        }
        Error::Unreachable { url, reason }
    }
}

/// Which error of several servers tells most.
fn weight(error: &Error) -> u8 {
    match error {
        Error::Unauthorized { .. } => 2,
        Error::Tls { .. } => 1,
        _ => 0,
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A failed handshake arrives as an I/O error that holds the TLS error.
fn is_tls_failure(error: &async_nats::ConnectError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(current) = cause {
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if current.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = current.source();
    }
    false
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    Disconnected(String),
    NoResponders,
    TimedOut,
    Denied(String),
    Other(String),
}

impl RequestFailure {
    /// The error of a request for which "no responders" has no meaning of its own.
    pub(crate) fn into_error(self, what: String, after: Duration) -> Error {
        match self {
            Self::Disconnected(reason) => Error::Disconnected { what, reason },
            Self::NoResponders => Error::Message { what, reason: "nobody listens".to_owned() },
            Self::TimedOut => Error::Timeout { what, after },
            Self::Denied(reason) => Error::Permission { what, reason },
            Self::Other(reason) => Error::Message { what, reason },
        }
    }
}

impl Connection {
    /// The NATS client, for subscriptions of one's own.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Follows whether the connection stands.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConnectionStatus> {
        self.monitor.subscribe()
    }

    /// The server, as given in the options (or as the cluster announced it): the one that the connection leads to, or
    /// led to last.
    #[must_use]
    pub fn url(&self) -> String {
        self.monitor.url()
    }

    /// How long a request waits for its answer.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Waits until everything published so far was handed to the server.
    ///
    /// # Errors
    /// [`Error::Disconnected`] at once when the connection is down, [`Error::Timeout`] after the request timeout.
    pub async fn flush(&self) -> Result<(), Error> {
        let what = || "flush".to_owned();
        if let Some(reason) = self.down() {
            return Err(Error::Disconnected { what: what(), reason });
        }
        match tokio::time::timeout(self.request_timeout, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Message { what: what(), reason: error.to_string() }),
            Err(_) => Err(Error::Timeout { what: what(), after: self.request_timeout }),
        }
    }

    /// Why the connection is down, if it is.
    /// Waits until the server has seen everything that was sent before: subscriptions are made, or refused.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`] or [`Error::Message`].
    pub async fn round_trip(&self) -> Result<(), Error> {
        use futures::StreamExt as _;
        let what = || "hear from the server".to_owned();
        if let Some(reason) = self.down() {
            return Err(Error::Disconnected { what: what(), reason });
        }
        let failed = |reason: String| Error::Message { what: what(), reason };
        let inbox = self.client.new_inbox();
        let asked = async {
            let mut answers =
                self.client.subscribe(inbox.clone()).await.map_err(|e| failed(e.to_string()))?;
            self.client.publish(inbox, bytes::Bytes::new()).await.map_err(|e| failed(e.to_string()))?;
            answers.next().await.map(drop).ok_or_else(|| failed("the connection was closed".to_owned()))
        };
        tokio::time::timeout(self.request_timeout, asked)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { what: what(), after: self.request_timeout }))
    }

    /// Why the server lately refused to let this connection use `subject`, if it did.
    #[must_use]
    pub fn refused(&self, subject: &str) -> Option<String> {
        self.monitor.refusal(self.request_timeout, subject, &self.inbox_prefix)
    }

    pub(crate) fn down(&self) -> Option<String> {
        self.monitor.down()
    }

    /// A request that is refused, not queued, while the connection is down, so that it can't take effect long after
    /// it was given up.
    pub(crate) async fn request(
        &self,
        subject: &str,
        request: Request,
        timeout: Duration,
    ) -> Result<Message, RequestFailure> {
        if let Some(reason) = self.down() {
            return Err(RequestFailure::Disconnected(reason));
        }
        let request = request.timeout(Some(timeout));
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Ok(message),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => RequestFailure::NoResponders,
                RequestErrorKind::TimedOut => match self.refusal(timeout, subject) {
                    Some(refusal) => RequestFailure::Denied(refusal),
                    None => RequestFailure::TimedOut,
                },
                _ => RequestFailure::Other(root_cause(&error)),
            }),
        }
    }

    /// What the server refused, if that explains why a request on this subject got no answer for so long.
    pub(crate) fn refusal(&self, within: Duration, subject: &str) -> Option<String> {
        self.monitor.refusal(within + Duration::from_millis(100), subject, &self.inbox_prefix)
    }
}
