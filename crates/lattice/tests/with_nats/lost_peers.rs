use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::RequestErrorKind;
use futures::StreamExt;
use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wattle_lattice::{Call, CallError, Executed};

use crate::members::{Cluster, LATTICE, Member, call};
use crate::server::{Server, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_loses_its_calls_at_once() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    let far = Member::join(&server, cluster.host()).await;
    far.seat.serve("target");
    let mut bulk = near.call("target", "bulk", b"").await.unwrap().streams.pop().unwrap();
    let script = Arc::clone(&far.script);
    let calls = join_all((0..10).map(|_| near.call("target", "wait", b"")));
    let end = async {
        script.until("the calls", |script| script.begun.load(Ordering::SeqCst) == 11).await;
        far.seat.leave();
        Instant::now()
    };
    let (lost, ended) = tokio::join!(calls, end);
    assert!(ended.elapsed() < Duration::from_millis(1500), "{:?}", ended.elapsed());
    for error in lost.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, CallError::Lost { .. }) && error.executed() == Executed::Maybe, "{error}");
    }
    // The stream is not taken for complete.
    let broken = async { while bulk.next().await.unwrap().is_ok() {} };
    within("the end of the stream", broken).await;
    assert!(!near.seat.knows_peer_for("target"));
    assert_eq!(near.count("calls_in_flight", "made"), 0);
    assert_eq!(script.dropped.load(Ordering::SeqCst), 10);

    // What never got there is made elsewhere.
    let other = Member::join(&server, cluster.host()).await;
    other.seat.serve("target");
    assert_eq!(near.call("target", "echo", b"again").await.unwrap().value, "again");
    let last = Member::join(&server, cluster.host()).await;
    last.seat.serve("target");
    other.seat.leave();
    // Until the server has heard of it, messages are still delivered, and what was delivered may have been begun.
    let address = other.seat.address();
    let subject = wattle_protocol::rpc::rpc_subject(LATTICE, &address.member, address.instance.as_bytes());
    let client = server.connect().await.client().clone();
    let gone = async {
        while !client
            .request(subject.clone(), "".into())
            .await
            .is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
        {}
    };
    within("the end of the subscription", gone).await;
    assert_eq!(near.call("target", "echo", b"again").await.unwrap().value, "again");
}

/// A process that is there and does nothing, as after a crash of its machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_silent_loses_its_calls_and_only_repeatable_ones_are_made_again() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    let (url, membership) = (server.url(), cluster.host());
    let (told, joined) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let far = Member::join_at(&url, membership).await;
            far.seat.serve("target");
            let _ = told.send(());
            let _ = ended.await;
        });
    });
    within("the other seat", joined).await.unwrap();
    assert_eq!(near.call("target", "echo", b"x").await.unwrap().value, "x");
    let spare = Member::join(&server, cluster.host()).await;
    let began = Instant::now();
    let spare_soon = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        spare.script.go.add_permits(1);
        spare.seat.serve("target");
    };
    let blocking = near.call("target", "block", b"");
    let repeated = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        near.make(Call { repeatable: true, ..call("target", "wait", b"again") }).await
    };
    let (lost, repeated, ()) = tokio::join!(blocking, repeated, spare_soon);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{lost:?}");
    assert_eq!(repeated.unwrap().value, "again");
    let _ = end.send(());
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
}

/// Anyone who sees the traffic can say in the server's name that nobody listens. A process that is there is not taken for
/// gone because of that, and no call is made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_absence_is_not_believed() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    let far = Member::join(&server, cluster.host()).await;
    far.seat.serve("target");
    assert_eq!(near.call("target", "echo", b"x").await.unwrap().value, "x");
    let liar = server.connect().await;
    let mut seen = liar.client().subscribe("wattle.rpc.>").await.unwrap();
    liar.round_trip().await.unwrap();
    let mut raw = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    raw.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").await.unwrap();
    let lies = tokio::spawn(async move {
        while let Some(message) = seen.next().await {
            let Some(reply) = message.reply else { continue };
            let lie = format!("HPUB {reply} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
            raw.write_all(lie.as_bytes()).await.unwrap();
        }
    });
    let spare = Member::join(&server, cluster.host()).await;
    let go = async {
        far.script.until("the call", |script| script.begun.load(Ordering::SeqCst) == 2).await;
        spare.seat.serve("target");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        far.script.go.add_permits(1);
        spare.script.go.add_permits(1);
    };
    let (answer, ()) = tokio::join!(near.call("target", "wait", b"once"), go);
    assert_eq!(answer.unwrap().value, "once");
    assert_eq!(spare.script.begun.load(Ordering::SeqCst) + far.script.begun.load(Ordering::SeqCst), 2);
    assert!(near.count("dropped", "untrue_no_responders") > 0, "{:?}", near.seat.counters());
    lies.abort();
}
