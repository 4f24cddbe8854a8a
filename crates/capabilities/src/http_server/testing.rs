//! What the tests share: links, a lattice that is a closure, addresses of their own, and a bare HTTP client.

use super::{HttpServer, Limits};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use wattle_provider::{Body, CallError, HttpCall, Lattice, Provider, ResolvedLink, async_trait, body};

/// The id of the server under test.
pub(super) const ID: &str = "VSERVER";

pub(super) type Answer = Result<http::Response<Body>, CallError>;

/// A link from the server under test.
pub(super) fn link(target: &str, config: &[(&str, &str)]) -> ResolvedLink {
    ResolvedLink {
        source: ID.into(),
        target: target.into(),
        name: "default".into(),
        namespace: "wasi".into(),
        package: "http".into(),
        interfaces: vec!["incoming-handler".into()],
        source_config: map(config),
        target_config: BTreeMap::new(),
    }
}

/// A link in address mode.
pub(super) fn link_at(target: &str, address: SocketAddr) -> ResolvedLink {
    link(target, &[("address", &address.to_string())])
}

pub(super) fn map(config: &[(&str, &str)]) -> BTreeMap<String, String> {
    config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

type Handler = dyn Fn(HttpCall) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

struct Components(Box<Handler>);

#[async_trait]
impl Lattice for Components {
    async fn handle_http(&self, call: HttpCall) -> Answer {
        (self.0)(call).await
    }
}

/// A lattice whose components all do what `handler` does.
pub(super) fn lattice<F, A>(handler: F) -> Arc<dyn Lattice>
where
    F: Fn(HttpCall) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Arc::new(Components(Box::new(move |call| Box::pin(handler(call)))))
}

/// Components that say their id.
pub(super) fn names() -> Arc<dyn Lattice> {
    lattice(|call| async move { Ok(http::Response::new(body::full(call.target))) })
}

/// A server with one link, in address mode.
pub(super) async fn serve(lattice: Arc<dyn Lattice>) -> (HttpServer, SocketAddr) {
    serve_with(lattice, Limits::default()).await
}

pub(super) async fn serve_with(lattice: Arc<dyn Lattice>, limits: Limits) -> (HttpServer, SocketAddr) {
    let server = HttpServer::with_limits(ID.into(), lattice, &limits);
    let address = address();
    server.link_put(link_at("M1", address)).await.unwrap();
    (server, address)
}

/// An address that no other test has, without asking for a free port that is taken a moment later: the
/// loopback network has 16 million addresses.
pub(super) fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, high | 1, low, last), 18080))
}

/// Waits for something that must not take long, and says what it was if it does.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited 20 s for {what}"),
    }
}

/// A connection on which bytes are written as they are.
pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(within("a connection", TcpStream::connect(address)).await.unwrap())
    }

    pub(super) async fn send(&mut self, text: &str) {
        within("the request to be sent", self.0.write_all(text.as_bytes())).await.unwrap();
    }

    /// Reads up to and with `end`.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = within(&format!("`{end}`"), self.0.read_u8()).await;
            read.push(
                byte.unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&read))),
            );
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads to the end of the connection; one that was reset has ended, too.
    pub(super) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let _ = within("the connection to end", self.0.read_to_end(&mut read)).await;
        String::from_utf8(read).unwrap()
    }
}

/// Sends a request on a connection of its own; gives all that comes back. The request has to ask for
/// `Connection: close`, or be one after which the server closes by itself.
pub(super) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.read_to_end().await
}

/// A `GET` on a connection of its own.
pub(super) async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n"))
        .await
}

/// The status of a response.
pub(super) fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or("no response")
}

/// Says when it is dropped.
pub(super) struct Guard(pub(super) mpsc::UnboundedSender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}
