//! Listeners: bound, changed, closed, and what becomes of requests in flight meanwhile.

use super::super::{HttpServer, Limits, testing::*};
use http::Response;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use wattle_provider::{Lattice, Provider, ProviderError, body};

/// Components that answer with their id once the gate has a permit, and say when they were called.
fn gated() -> (Arc<dyn Lattice>, Arc<Semaphore>, mpsc::UnboundedReceiver<&'static str>) {
    let gate = Arc::new(Semaphore::new(0));
    let (events, seen) = mpsc::unbounded_channel();
    let handler_gate = Arc::clone(&gate);
    let components = lattice(move |call| {
        let (gate, events) = (Arc::clone(&handler_gate), events.clone());
        async move {
            let _guard = Guard(events.clone());
            events.send("called").unwrap();
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(body::full(call.target)))
        }
    });
    (components, gate, seen)
}

/// A client whose request is in flight.
async fn in_flight(address: SocketAddr, seen: &mut mpsc::UnboundedReceiver<&'static str>) -> Client {
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(within("the call", seen.recv()).await, Some("called"));
    client
}

async fn refuses_connections(address: SocketAddr) -> bool {
    TcpStream::connect(address)
        .await
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (server, first) = serve(names()).await;
    let taken = address();
    let _other = TcpListener::bind(taken).await.unwrap();
    for link in [link_at("M2", taken), link_at("M1", taken)] {
        let error = server.link_put(link).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{text}");
        assert!(
            text.contains(&taken.to_string()) && text.contains("in use") && text.contains("`address`"),
            "{text}"
        );
    }
    assert!(get(first, "/").await.ends_with("M1"), "a refused change must change nothing");
}

#[tokio::test]
async fn one_address_goes_to_one_link() {
    let (server, address) = serve(names()).await;
    let error = server.link_put(link_at("M2", address)).await.unwrap_err();
    assert!(matches!(error, ProviderError::LinkConfig { ref key, .. } if key == "address"), "{error}");
    assert!(get(address, "/").await.ends_with("M1"));
}

#[tokio::test]
async fn a_changed_address_takes_over_while_requests_finish() {
    let (components, gate, mut seen) = gated();
    let (server, old) = serve(components).await;
    let mut client = in_flight(old, &mut seen).await;
    let idle = Client::connect(old).await;

    let new = address();
    server.link_put(link_at("M1", new)).await.unwrap();
    assert!(refuses_connections(old).await);
    let mut second = in_flight(new, &mut seen).await;
    drop(idle);

    gate.add_permits(2);
    let response = client.read_to_end().await;
    assert!(response.contains("connection: close") && response.ends_with("M1"), "{response}");
    assert!(second.read_until("M1").await.contains("200 OK"));
}

#[tokio::test]
async fn a_change_at_the_same_address_moves_only_new_requests() {
    let (components, gate, mut seen) = gated();
    let (server, address) = serve(components).await;
    let mut client = in_flight(address, &mut seen).await;
    server.link_deleted(&link("M1", &[]).key()).await;
    server.link_put(link_at("M2", address)).await.unwrap();
    let mut second = in_flight(address, &mut seen).await;
    gate.add_permits(2);
    assert!(client.read_to_end().await.ends_with("M1"));
    second.read_until("M2").await;
}

#[tokio::test]
async fn an_address_can_widen_to_all_and_is_kept_if_it_cannot() {
    let (server, _) = serve(names()).await;
    // Outside of the range that clients' ports come from, so that only the blocker is in the way.
    let port = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    let narrow = SocketAddr::from(([127, 0, 0, 1], port));
    let wide = SocketAddr::from(([0, 0, 0, 0], port));
    server.link_put(link_at("M2", narrow)).await.unwrap();

    let blocker = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).await.unwrap();
    let error = server.link_put(link_at("M2", wide)).await.unwrap_err();
    assert!(error.to_string().contains(&wide.to_string()), "{error}");
    assert!(get(narrow, "/").await.ends_with("M2"));
    assert!(server.health().await.healthy);

    drop(blocker);
    server.link_put(link_at("M2", wide)).await.unwrap();
    assert!(get(narrow, "/").await.ends_with("M2"));
    assert!(get(SocketAddr::from(([127, 0, 0, 2], port)), "/").await.ends_with("M2"));
}

#[tokio::test]
async fn a_changed_configuration_holds_for_the_links_that_are_there() {
    let server = HttpServer::new(ID.into(), names());
    let (old, new) = (address(), address());
    server.configure(map(&[("default_address", &old.to_string())])).await.unwrap();
    server.link_put(link("M1", &[])).await.unwrap();
    assert!(get(old, "/").await.ends_with("M1"));

    server.configure(map(&[("default_address", &new.to_string())])).await.unwrap();
    assert!(get(new, "/").await.ends_with("M1"));
    assert!(refuses_connections(old).await);

    let error = server.configure(map(&[("routing_mode", "path")])).await.unwrap_err();
    assert!(error.to_string().contains("`path`"), "{error}");
    assert!(get(new, "/").await.ends_with("M1"), "a refused change must change nothing");
}

#[tokio::test]
async fn a_deleted_link_frees_its_port_at_once_and_finishes_its_requests() {
    let (components, gate, mut seen) = gated();
    let (server, address) = serve(components).await;
    let mut client = in_flight(address, &mut seen).await;
    let key = link("M1", &[]).key();
    server.link_deleted(&key).await;
    server.link_deleted(&key).await;
    let _reused = TcpListener::bind(address).await.unwrap();
    gate.add_permits(1);
    assert!(client.read_to_end().await.ends_with("M1"));
}

#[tokio::test]
async fn shutdown_drains() {
    let (components, gate, mut seen) = gated();
    let (server, address) = serve(components).await;
    let server = Arc::new(server);
    let mut client = in_flight(address, &mut seen).await;
    let mut idle = Client::connect(address).await;

    let shutdown = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.shutdown().await }
    });
    assert_eq!(idle.read_to_end().await, "", "an idle connection ends at once");
    assert!(refuses_connections(address).await);
    assert!(matches!(server.link_put(link_at("M2", address)).await, Err(ProviderError::ShuttingDown)));
    assert!(!shutdown.is_finished(), "a request is still in flight");

    gate.add_permits(1);
    assert!(client.read_to_end().await.ends_with("M1"));
    within("the shutdown", shutdown).await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_cuts_off_what_did_not_finish() {
    let (components, _gate, mut seen) = gated();
    let (server, address) = serve(components).await;
    let mut client = in_flight(address, &mut seen).await;
    let bounded = tokio::time::timeout(Duration::from_millis(50), server.shutdown()).await;
    assert!(bounded.is_err(), "the request can't have finished");
    drop(server);
    assert_eq!(within("the call to be cancelled", seen.recv()).await, Some("dropped"));
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn connections_above_the_limit_wait_their_turn() {
    let (components, gate, mut seen) = gated();
    let limits = Limits { connections: 1, ..Limits::default() };
    let (_server, address) = serve_with(components, limits).await;
    let mut first = in_flight(address, &mut seen).await;
    let mut second = Client::connect(address).await;
    second.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;

    gate.add_permits(2);
    first.read_until("M1").await;
    assert_eq!(within("the first call to end", seen.recv()).await, Some("dropped"));
    assert!(seen.try_recv().is_err(), "the second connection was served beside the first");
    drop(first);
    assert!(second.read_to_end().await.ends_with("M1"));
}

/// Runs in a process of its own, because the limit is the process's.
#[tokio::test]
async fn a_want_of_file_descriptors_passes() {
    const MARK: &str = "WATTLE_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(MARK).is_some() {
        return run_out_of_descriptors().await;
    }
    let (_crate_name, module) = module_path!().split_once("::").unwrap();
    let output = tokio::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 64 && exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::a_want_of_file_descriptors_passes")])
        .env(MARK, "1")
        .kill_on_drop(true)
        .output();
    let output = within("the test in a process of its own", output).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn run_out_of_descriptors() {
    let (server, address) = serve(names()).await;
    let spare = std::fs::File::open("/dev/null").unwrap();
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(address).await {
        clients.push(client);
    }
    drop(spare);
    clients.push(TcpStream::connect(address).await.unwrap());
    within("the server to notice", async {
        while server.health().await.healthy {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(server.health().await.message.unwrap().contains(&address.to_string()));

    drop(clients);
    assert!(get(address, "/").await.ends_with("M1"));
    assert!(server.health().await.healthy);
}
