//! One address: accepting connections there, and serving HTTP/1 on each.

use super::{Limits, routes::RouteTable, service};
use arc_swap::{ArcSwap, ArcSwapOption};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wattle_provider::{Lattice, ProviderError};

/// Connections that the kernel completes and holds while none is accepted.
const BACKLOG: u32 = 1024;

/// The longest pause after an accept that failed for want of something, such as file descriptors.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Least time between two warnings about calls of one server.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// What all listeners of one server share.
pub(super) struct Server {
    /// The provider's id: the source of every call.
    pub(super) id: String,
    pub(super) lattice: Arc<dyn Lattice>,
    /// One permit for each connection that may be open.
    connections: Arc<Semaphore>,
    /// Every connection, so that a shutdown can wait for them.
    pub(super) tasks: TaskTracker,
    /// Cuts off every connection, whatever it does.
    pub(super) kill: CancellationToken,
    pub(super) warnings: Throttle,
    http: http1::Builder,
}

impl Server {
    pub(super) fn new(id: String, lattice: Arc<dyn Lattice>, limits: &Limits) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.buffer_bytes);
        Self {
            id,
            lattice,
            connections: Arc::new(Semaphore::new(limits.connections)),
            tasks: TaskTracker::new(),
            kill: CancellationToken::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
            http,
        }
    }
}

/// What a listener and its connections share.
pub(super) struct Shared {
    pub(super) server: Arc<Server>,
    /// Where it listens.
    pub(super) address: SocketAddr,
    pub(super) routes: ArcSwap<RouteTable>,
    /// Why connections are not being accepted at the moment.
    problem: ArcSwapOption<String>,
}

/// A bound address. Dropping it stops accepting at once and lets connections finish what they are at.
pub(super) struct Listener {
    shared: Arc<Shared>,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds the address and starts to accept.
    pub(super) fn bind(
        address: SocketAddr,
        routes: Arc<RouteTable>,
        server: &Arc<Server>,
    ) -> Result<Self, ProviderError> {
        let socket = listen(address).map_err(|error| ProviderError::Unavailable {
            resource: format!("address {address}"),
            reason: explain(&error),
        })?;
        let shared = Arc::new(Shared {
            server: Arc::clone(server),
            // Not the same if the system chose the port.
            address: socket.local_addr().unwrap_or(address),
            routes: ArcSwap::new(routes),
            problem: ArcSwapOption::empty(),
        });
        let stop = server.kill.child_token();
        let accepting = tokio::spawn(accept_until(stop.clone(), socket, address, Arc::clone(&shared)));
        tracing::info!(%address, provider = server.id, "http server listens");
        Ok(Self { shared, stop, accepting })
    }

    /// Requests from now on follow these routes; those in flight stay where they are.
    pub(super) fn set_routes(&self, routes: RouteTable) {
        self.shared.routes.store(Arc::new(routes));
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> Arc<RouteTable> {
        self.shared.routes.load_full()
    }

    /// Why connections are not being accepted at the moment.
    pub(super) fn problem(&self) -> Option<Arc<String>> {
        self.shared.problem.load_full()
    }

    /// Stops accepting and frees the port. Idle connections close, the others finish the request they are at.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        // Only a cancelled runtime makes this an error, and then there is nothing left to wait for.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else the port stays blocked for a minute after connections were closed from this side. Elsewhere than
    // on Unix the option means that two programs may share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What an operator can do about an address that can't be had.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "in use by another program or another HTTP server; stop that one, or give another address with the \
             configuration key `address` of the link (or `default_address` of the provider)"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not listen there; choose a port from 1024 on, or let the host's user bind low ports".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; give one that it has, or `0.0.0.0` for all".to_owned()
        }
        _ => format!("can't listen: {error}"),
    }
}

async fn accept_until(
    stop: CancellationToken,
    socket: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
) {
    let mut pause = Pause::default();
    while let Some((accepted, permit)) = stop.run_until_cancelled(next(&socket, &shared)).await {
        match accepted {
            Ok(stream) => {
                if pause.end() {
                    shared.problem.store(None);
                    tracing::info!(%address, "http server accepts connections again");
                }
                let connection = serve(stream, permit, Arc::clone(&shared), stop.child_token());
                shared.server.tasks.spawn(connection);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                let (wait, first) = pause.lengthen();
                if first {
                    tracing::warn!(%address, %error, "http server can't accept connections and tries again");
                    shared
                        .problem
                        .store(Some(Arc::new(format!("can't accept connections at {address}: {error}"))));
                }
                stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        }
    }
    tracing::info!(%address, "http server no longer listens");
}

/// Takes a permit before a connection, so that what is too much waits in the kernel's queue and not in
/// memory.
async fn next(
    socket: &TcpListener,
    shared: &Shared,
) -> (io::Result<TcpStream>, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let permit = Arc::clone(&shared.server.connections).acquire_owned().await.ok();
    (socket.accept().await.map(|(stream, _peer)| stream), permit)
}

/// Whether accepting failed because of the peer: the next connection is another matter.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Growing pauses between accepts that fail.
#[derive(Default)]
struct Pause(Option<Duration>);

impl Pause {
    /// The next pause, and whether it is the first.
    fn lengthen(&mut self) -> (Duration, bool) {
        let first = self.0.is_none();
        let wait = self.0.map_or(Duration::from_millis(5), |last| (last * 2).min(LONGEST_PAUSE));
        self.0 = Some(wait);
        (wait, first)
    }

    /// Whether there was one.
    fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Serves one connection until it ends, until it is idle after `stop`, or until the server is cut off.
async fn serve(
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    // Small responses must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection ended before its first request");
        return;
    }
    let server = Arc::clone(&shared.server);
    let service = service_fn(move |request| service::answer(Arc::clone(&shared), request));
    let mut connection = std::pin::pin!(server.http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            server.kill.run_until_cancelled(connection).await
        }
    };
    if let Some(Err(error)) = ended {
        // Slow, rude or vanished clients; what components do wrong is told where it is seen.
        tracing::debug!(%error, "connection broke off");
    }
}

/// Lets one event in an interval pass and counts the others.
pub(super) struct Throttle {
    interval: Duration,
    start: Instant,
    /// Milliseconds from `start` at which the next event may pass.
    next: AtomicU64,
    held: AtomicU64,
}

impl Throttle {
    fn new(interval: Duration) -> Self {
        Self { interval, start: Instant::now(), next: AtomicU64::new(0), held: AtomicU64::new(0) }
    }

    /// `Some` if the event may pass, with how many were held back before it.
    pub(super) fn pass(&self) -> Option<u64> {
        self.pass_at(self.start.elapsed())
    }

    fn pass_at(&self, since_start: Duration) -> Option<u64> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(since_start);
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(millis(self.interval));
        let passes = now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if passes {
            Some(self.held.swap(0, Ordering::Relaxed))
        } else {
            self.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_counts_what_it_holds_back() {
        let throttle = Throttle::new(Duration::from_secs(1));
        assert_eq!(throttle.pass_at(Duration::ZERO), Some(0));
        assert_eq!(throttle.pass_at(Duration::from_millis(1)), None);
        assert_eq!(throttle.pass_at(Duration::from_millis(999)), None);
        assert_eq!(throttle.pass_at(Duration::from_millis(1000)), Some(2));
        assert_eq!(throttle.pass_at(Duration::from_millis(1001)), None);
    }

    #[test]
    fn pauses_grow_to_a_second_and_start_over() {
        let mut pause = Pause::default();
        assert!(!pause.end());
        assert_eq!(pause.lengthen(), (Duration::from_millis(5), true));
        let last = (0..20).map(|_| pause.lengthen()).last();
        assert_eq!(last, Some((LONGEST_PAUSE, false)));
        assert!(pause.end());
        assert_eq!(pause.lengthen(), (Duration::from_millis(5), true));
    }
}
