use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::join_all;
use wattle_identity::{Grant, Ids, KeyKind, KeyPair};
use wattle_lattice::{Call, CallError, Encoding, Executed, Reason, SeatLimits, SeatOptions, Trace};

use crate::members::{Cluster, LATTICE, Member, call};
use crate::server::Server;

fn in_millis(millis: u64) -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_millis(millis)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_its_target_and_its_value_comes_back() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let (near, far) =
        (Member::join(&server, cluster.host()).await, Member::join(&server, cluster.host()).await);
    far.seat.serve("echo");
    let made = Call {
        encoding: Encoding::Http,
        types: *b"types678",
        state_revision: 9,
        depth: 3,
        trace: Trace { parent: "00-1".to_owned(), state: "a=b".to_owned() },
        ..call("echo", "fields", b"")
    };
    let answer = near.make(made).await.unwrap();
    let expected = format!(
        "gateway echo default test:lattice/target@1.0.0 Http {:?} 9 3 Trace {{ parent: \"00-1\", state: \"a=b\" }}",
        b"types678"
    );
    assert_eq!(std::str::from_utf8(&answer.value).unwrap(), expected);
    assert_eq!(answer.peer.key(), far.seat.address().member);
    assert!(near.seat.knows_peer_for("echo") && !near.seat.knows_peer_for("nobody"));

    // From nothing to large.
    for length in [0, 1, 1000, 300_000] {
        let sent = vec![7; length];
        assert_eq!(near.call("echo", "echo", &sent).await.unwrap().value, sent);
    }
    assert_eq!(near.count("handshakes", "made"), 1);
    assert_eq!(near.count("calls_in_flight", "made") + far.count("calls_in_flight", "served"), 0);
    assert_eq!(far.script.callers.lock().unwrap()[0], near.seat.address().member);

    let error = near.call("echo", "echo", &vec![0; 2 * 1024 * 1024]).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { max: 1_048_576, .. }), "{error}");
    let error = near.make(Call { depth: 33, ..call("echo", "echo", b"") }).await.unwrap_err();
    assert!(matches!(error, CallError::Invalid { .. }), "{error}");
    let error = near.call("nobody", "echo", b"").await.unwrap_err();
    assert!(matches!(&error, CallError::NotFound { target } if &**target == "nobody"), "{error}");
    assert_eq!((error.executed(), error.target()), (Executed::No, "nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_at_once_share_one_handshake() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let (near, far) =
        (Member::join(&server, cluster.host()).await, Member::join(&server, cluster.host()).await);
    far.seat.serve("echo");
    let calls = (0..10_000u32).map(|number| {
        let near = &near;
        async move {
            let sent = number.to_be_bytes();
            assert_eq!(near.call("echo", "echo", &sent).await.unwrap().value, sent.as_slice());
        }
    });
    join_all(calls).await;
    assert_eq!(near.count("handshakes", "made"), 1);
    assert_eq!(far.count("calls_served", ""), 10_000);
    assert_eq!(near.count("calls_in_flight", "made") + far.count("calls_in_flight", "served"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_made_elsewhere_and_a_failed_one_is_not() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    let full =
        SeatOptions { limits: SeatLimits { calls: 0, ..SeatLimits::default() }, ..SeatOptions::new(LATTICE) };
    let busy = Member::join_with(&server, cluster.host(), full).await;
    busy.seat.serve("echo");
    let error = near.call("echo", "echo", b"").await.unwrap_err();
    assert!(matches!(error, CallError::Refused { reason: Reason::Busy, .. }), "{error}");
    assert_eq!((busy.count("refusals_sent", "401"), near.count("refusals_received", "401")), (1, 1));

    let free = Member::join(&server, cluster.host()).await;
    free.seat.serve("echo");
    near.until("both are known", |near| near.seat.knows_peer_for("echo")).await;
    for _ in 0..20 {
        let answer = near.call("echo", "echo", b"x").await.unwrap();
        assert_eq!(answer.peer.key(), free.seat.address().member);
    }

    let begun = || free.script.begun.load(Ordering::SeqCst);
    let before = begun();
    let error = near.call("echo", "denied", b"").await.unwrap_err();
    assert!(matches!(error, CallError::Refused { reason: Reason::Denied, .. }), "{error}");
    let error = near.call("echo", "fail", b"").await.unwrap_err();
    assert!(
        matches!(&error, CallError::Failed { code: 7, message, .. } if message == "it trapped"),
        "{error}"
    );
    assert_eq!(error.executed(), Executed::Maybe);
    let error = near.call("echo", "panic", b"").await.unwrap_err();
    assert!(matches!(error, CallError::Failed { .. }), "{error}");
    assert_eq!(begun() - before, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_decide_who_may_call_what_in_whose_name() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let host_key = KeyPair::generate(KeyKind::Host).unwrap();
    let grant = Grant { answers_for: Ids::only(["kv", "echo"]), ..Grant::host(LATTICE) };
    let far = Member::join(&server, cluster.certify(&host_key, grant, 3600).0).await;
    far.seat.serve("kv");
    far.seat.serve("echo");

    let key = KeyPair::generate(KeyKind::User).unwrap();
    let client = cluster.certify(&key, Grant::client(LATTICE, Ids::only(["kv"])), 3600).0;
    let client = Member::join(&server, client).await;
    let own = |target: &str| Call { source: key.public_key().into(), ..call(target, "echo", b"hello") };
    assert_eq!(client.make(own("kv")).await.unwrap().value, "hello");
    let error = client.make(own("echo")).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { reason: Reason::TargetNotAllowed, .. }), "{error}");
    let error = client.call("kv", "echo", b"").await.unwrap_err();
    assert!(matches!(error, CallError::Refused { reason: Reason::SourceNotAllowed, .. }), "{error}");
    assert_eq!(far.script.begun.load(Ordering::SeqCst), 1);

    // A member of another cluster is nobody here.
    let stranger = Member::join(&server, Cluster::new().host()).await;
    stranger.seat.serve("else");
    let error = client.make(own("else")).await.unwrap_err();
    assert!(matches!(error, CallError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_dropped_at_the_target() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let (near, far) =
        (Member::join(&server, cluster.host()).await, Member::join(&server, cluster.host()).await);
    far.seat.serve("echo");
    let near = Arc::new(near);
    let waiting = tokio::spawn({
        let near = Arc::clone(&near);
        async move { near.call("echo", "wait", b"").await.map(drop) }
    });
    far.script.until("the call", |script| script.begun.load(Ordering::SeqCst) == 1).await;
    waiting.abort();
    far.script.until("the end of the call", |script| script.dropped.load(Ordering::SeqCst) == 1).await;

    // At its deadline a call ends on both sides.
    let began = Instant::now();
    let error = near.make(Call { deadline: in_millis(300), ..call("echo", "wait", b"") }).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { executed: Executed::Maybe, .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    far.script.until("the end of the call", |script| script.dropped.load(Ordering::SeqCst) == 2).await;
    far.until("no call", |far| far.count("calls_in_flight", "served") == 0).await;
    assert_eq!(near.count("calls_in_flight", "made"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_drains_finishes_what_it_has() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let (near, far) =
        (Member::join(&server, cluster.host()).await, Member::join(&server, cluster.host()).await);
    far.seat.serve("echo");
    let (near, seat) = (Arc::new(near), far.seat.clone());
    let running = tokio::spawn({
        let near = Arc::clone(&near);
        async move { near.call("echo", "wait", b"done").await }
    });
    far.script.until("the call", |script| script.begun.load(Ordering::SeqCst) == 1).await;
    let drained = tokio::spawn(async move { seat.drain().await });
    near.until("the news", |near| !near.seat.knows_peer_for("echo")).await;
    let error = near.call("echo", "echo", b"").await.unwrap_err();
    assert_eq!(error.executed(), Executed::No, "{error}");
    assert!(!drained.is_finished());
    far.script.go.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap().value, "done");
    crate::server::within("the drain", drained).await.unwrap();
}
