//! The HTTP server: gives the HTTP requests that it receives to components.
//!
//! A control plane (this file) turns configuration and links into listeners and route tables; it takes a
//! lock. The path of a request ([`service`]) takes none.

mod config;
mod listener;
mod routes;
mod service;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use config::Settings;
use listener::{Listener, Server};
use routes::{RouteTable, plan};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;
use wattle_provider::{Health, Lattice, LinkKey, Provider, ProviderError, ResolvedLink, async_trait};

/// The HTTP server: a capability provider that gives the HTTP/1.1 requests that it receives to components.
///
/// It is the source of its links; the target is the component, the interface `wasi:http/incoming-handler` (or
/// `handler`, WASI 0.3's name for it).
///
/// # Configuration
///
/// Of the provider:
///
/// | key | values | default |
/// |---|---|---|
/// | `routing_mode` | `address`: each link has an address of its own; `path`, `host`: all share one | `address` |
/// | `default_address` | the shared address, and that of a link that names none | `127.0.0.1:8000` |
/// | `header` | with `host`: the header to route on | `Host` |
///
/// Of a link, in its source configuration:
///
/// | key | meaning |
/// |---|---|
/// | `address` | with `address`: the IP address and port to listen on |
/// | `path` | with `path`: what the path begins with, by whole segments; the longest one wins. It is not cut off |
/// | `host` | with `host`: the host without a port, in any case |
/// | `timeout_ms` | how long the component may take for the head of its response; without it, only the host's limits hold |
///
/// Keys that are not in these tables are refused: a setting that does nothing, such as one for TLS, would be
/// a trap.
///
/// # What a client sees
///
/// The component's response, with both bodies streamed and trailers passed on (towards the client only as
/// HTTP/1.1 has it: those that the response announces in its `Trailer` header, to a client that sent `TE:
/// trailers`). The component sees an absolute URI with the scheme `http` and the authority that the client
/// asked for. Or else one line of text:
///
/// | status | when |
/// |---|---|
/// | 400 | there is no valid `Host` |
/// | 403 | a policy forbids the call |
/// | 404 | no link's `path` or `host` fits |
/// | 431 | the head has more than 32 KiB, or more than 100 headers |
/// | 500 | the component crashed, or returned without a response |
/// | 501 | the method is `CONNECT` |
/// | 502 | the component doesn't export the interface, the way to it broke, or its response is not a valid one |
/// | 503, with `Retry-After` | the component isn't running, is not linked any more, is stopping or has as many calls as it may have |
/// | 504 | it did not answer in time |
///
/// A client that goes away cancels its call. HTTP/1 shows that only once the request's body was read: while a
/// component leaves a large one unread, the call goes on until the component reads, answers or meets its
/// limit of time.
///
/// A client has 10 s to send the head of a request, counted from the connection or the response before it, so
/// an idle connection ends after that time too. At most 10,000 connections are open at a time; more wait to
/// be accepted.
pub struct HttpServer {
    server: Arc<Server>,
    state: Mutex<State>,
}

/// What bounds the clients' use of memory and connections.
struct Limits {
    /// Connections open at a time.
    connections: usize,
    /// How long a client may take for the head of a request.
    header_timeout: Duration,
    /// Size of the head of a request.
    header_bytes: usize,
    /// Size of a connection's buffers, one for reading and one for writing.
    buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            header_bytes: 32 << 10,
            buffer_bytes: 64 << 10,
        }
    }
}

#[derive(Default)]
struct State {
    settings: Settings,
    links: BTreeMap<LinkKey, ResolvedLink>,
    listeners: HashMap<SocketAddr, Listener>,
    shut_down: bool,
}

impl HttpServer {
    /// Makes a server that calls components as the provider `id`. It listens once it has a link.
    pub fn new(id: String, lattice: Arc<dyn Lattice>) -> Self {
        Self::with_limits(id, lattice, &Limits::default())
    }

    fn with_limits(id: String, lattice: Arc<dyn Lattice>, limits: &Limits) -> Self {
        Self { server: Arc::new(Server::new(id, lattice, limits)), state: Mutex::default() }
    }

    /// Makes settings and links those of the server, or changes nothing.
    async fn change(
        &self,
        state: &mut State,
        settings: Settings,
        links: BTreeMap<LinkKey, ResolvedLink>,
    ) -> Result<(), ProviderError> {
        let tables = plan(&settings, &self.server.id, &links)?;
        self.listen(&mut state.listeners, tables).await?;
        state.settings = settings;
        state.links = links;
        Ok(())
    }

    /// Listens at the addresses of `tables`, and only there, with these routes. On an error, all is as it
    /// was.
    async fn listen(
        &self,
        listeners: &mut HashMap<SocketAddr, Listener>,
        mut tables: BTreeMap<SocketAddr, RouteTable>,
    ) -> Result<(), ProviderError> {
        let missing: Vec<SocketAddr> =
            tables.keys().filter(|address| !listeners.contains_key(address)).copied().collect();
        let unwanted: Vec<SocketAddr> =
            listeners.keys().filter(|address| !tables.contains_key(address)).copied().collect();

        let closed = close_in_the_way(listeners, &unwanted, &missing).await;
        let bound = match self.bind_all(missing, &mut tables).await {
            Ok(bound) => bound,
            Err(error) => {
                self.restore(listeners, closed);
                return Err(error);
            }
        };
        for (address, table) in tables {
            if let Some(listener) = listeners.get(&address) {
                listener.set_routes(table);
            }
        }
        listeners.extend(bound);
        for address in unwanted {
            if let Some(listener) = listeners.remove(&address) {
                listener.close().await;
            }
        }
        Ok(())
    }

    /// Binds each of the addresses with its table, or none.
    async fn bind_all(
        &self,
        addresses: Vec<SocketAddr>,
        tables: &mut BTreeMap<SocketAddr, RouteTable>,
    ) -> Result<Vec<(SocketAddr, Listener)>, ProviderError> {
        let mut bound = Vec::new();
        for address in addresses {
            let Some(table) = tables.remove(&address) else { continue };
            match Listener::bind(address, Arc::new(table), &self.server) {
                Ok(listener) => bound.push((address, listener)),
                Err(error) => {
                    for (_, listener) in bound {
                        listener.close().await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(bound)
    }

    /// Listens again where it did a moment ago.
    fn restore(
        &self,
        listeners: &mut HashMap<SocketAddr, Listener>,
        closed: Vec<(SocketAddr, Arc<RouteTable>)>,
    ) {
        for (address, routes) in closed {
            match Listener::bind(address, routes, &self.server) {
                Ok(listener) => {
                    listeners.insert(address, listener);
                }
                Err(error) => {
                    tracing::error!(%error, "http server lost an address while it tried for another");
                }
            }
        }
    }
}

/// Closes the unwanted listeners that could keep a missing one from being bound, as 127.0.0.1:80 does
/// 0.0.0.0:80. Gives what it takes to put them back.
async fn close_in_the_way(
    listeners: &mut HashMap<SocketAddr, Listener>,
    unwanted: &[SocketAddr],
    missing: &[SocketAddr],
) -> Vec<(SocketAddr, Arc<RouteTable>)> {
    let mut closed = Vec::new();
    for address in unwanted {
        let in_the_way = missing.iter().any(|wanted| wanted.port() == address.port());
        if in_the_way && let Some(listener) = listeners.remove(address) {
            closed.push((*address, listener.routes()));
            listener.close().await;
        }
    }
    closed
}

#[async_trait]
impl Provider for HttpServer {
    async fn configure(&self, config: BTreeMap<String, String>) -> Result<(), ProviderError> {
        let settings = Settings::parse(&config)?;
        let mut state = self.state.lock().await;
        if state.shut_down {
            return Err(ProviderError::ShuttingDown);
        }
        let links = state.links.clone();
        self.change(&mut state, settings, links).await
    }

    async fn link_put(&self, link: ResolvedLink) -> Result<(), ProviderError> {
        let mut state = self.state.lock().await;
        if state.shut_down {
            return Err(ProviderError::ShuttingDown);
        }
        let mut links = state.links.clone();
        links.insert(link.key(), link);
        let settings = state.settings.clone();
        self.change(&mut state, settings, links).await
    }

    async fn link_deleted(&self, link: &LinkKey) {
        let mut state = self.state.lock().await;
        if state.links.remove(link).is_none() {
            return;
        }
        let State { settings, links, listeners, .. } = &mut *state;
        let forgotten = match plan(settings, &self.server.id, links) {
            Ok(mut tables) => {
                // An address that was lost must not keep a link from being deleted: see `restore`.
                tables.retain(|address, _| listeners.contains_key(address));
                self.listen(listeners, tables).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            // Fewer links can't clash where more did not, and nothing new was to be bound.
            tracing::error!(%error, %link, "http server could not forget a link");
        }
    }

    async fn health(&self) -> Health {
        let State { settings, links, listeners, .. } = &*self.state.lock().await;
        if let Some(problem) = listeners.values().find_map(Listener::problem) {
            return Health::unhealthy(problem.as_str());
        }
        let tables = plan(settings, &self.server.id, links).unwrap_or_default();
        match tables.keys().find(|address| !listeners.contains_key(address)) {
            Some(lost) => Health::unhealthy(format!("does not listen at {lost}; put the link again")),
            None => Health::healthy(),
        }
    }

    async fn shutdown(&self) {
        let mut state = self.state.lock().await;
        state.shut_down = true;
        state.links.clear();
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        for listener in listeners.into_values() {
            listener.close().await;
        }
        self.server.tasks.close();
        self.server.tasks.wait().await;
    }
}

impl Drop for HttpServer {
    /// Cuts off what [`Provider::shutdown`] was not given the time to finish.
    fn drop(&mut self) {
        self.server.kill.cancel();
    }
}
