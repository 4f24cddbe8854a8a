use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use wattle_lattice::{
    Call, CallError, InStream, MAX_STREAM_MESSAGE_LEN, OutStream, SeatLimits, SeatOptions, StreamBroken,
};

use crate::members::{Cluster, LATTICE, Member, call, counted};
use crate::server::{Server, within};

async fn pair() -> (Server, Member, Member) {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let (near, far) =
        (Member::join(&server, cluster.host()).await, Member::join(&server, cluster.host()).await);
    far.seat.serve("target");
    (server, near, far)
}

fn none_left(members: [&Member; 2]) -> bool {
    let left =
        |member: &Member| member.count("calls_in_flight", "made") + member.count("calls_in_flight", "served");
    members.map(left) == [0, 0]
}

/// Everything that comes, message by message.
async fn collect(stream: InStream) -> Result<Vec<Bytes>, StreamBroken> {
    let messages: Vec<_> = within("the end of the stream", stream.collect()).await;
    messages.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_both_ways_and_keep_their_messages() {
    let (_server, near, far) = pair().await;
    let pulled = Arc::default();
    let sent = [(300, 10_000), (0, 0), (5, MAX_STREAM_MESSAGE_LEN), (3_000, 0)];
    let streams = sent.iter().map(|(messages, length)| counted(&pulled, *messages, *length)).collect();
    let answer = near.make(Call { streams, ..call("target", "mirror", b"value") }).await.unwrap();
    assert_eq!((answer.value, answer.streams.len()), (Bytes::from_static(b"value"), 4));
    let back = join_all(answer.streams.into_iter().map(collect)).await;
    for ((messages, length), back) in sent.into_iter().zip(back) {
        let back = back.unwrap();
        assert_eq!(back.len(), messages);
        assert!(back.iter().enumerate().all(|(number, data)| *data == vec![number as u8; length]));
    }
    near.until("no call", |near| none_left([near, &far])).await;

    // More than everything that may be on the way at once, to one that reads it all.
    let streams = (0..40).map(|_| counted(&pulled, 20, 60_000)).collect();
    let answer = near.make(Call { streams, ..call("target", "sum", b"") }).await.unwrap();
    assert_eq!(answer.value, (40 * 20 * 60_000).to_string());
    near.until("no call", |near| none_left([near, &far])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_its_sender_and_nobody_else() {
    let (_server, near, far) = pair().await;
    // Far more streams than fit into what may be on the way at once.
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(near.call("target", "bulk", b"").await.unwrap());
    }
    // 256 KiB are 26 messages of 10,000 bytes; one more can be pulled and wait.
    let pulled = || far.script.pulled.load(Ordering::SeqCst);
    near.until("the first messages", |_| pulled() >= 30 * 10).await;
    // Small calls get through all the while, and each stream that is read flows.
    for _ in 0..200 {
        assert_eq!(near.call("target", "echo", b"small").await.unwrap().value, "small");
    }
    assert!(pulled() <= 30 * 28, "{}", pulled());
    assert!(near.count("dropped", "late_frame") == 0);
    let last = answers.pop().unwrap().streams.pop().unwrap();
    assert_eq!(collect(last).await.unwrap().len(), 1000);
    // Those that are dropped stop.
    let so_far = pulled();
    drop(answers);
    near.until("no call", |near| none_left([near, &far])).await;
    assert!(pulled() <= so_far + 29 * 30, "{so_far} and then {}", pulled());
    let all = collect(near.call("target", "bulk", b"").await.unwrap().streams.pop().unwrap()).await.unwrap();
    assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 10_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_is_never_short() {
    let (_server, near, far) = pair().await;
    let mut answer = near.call("target", "broken", b"").await.unwrap();
    let mut stream = answer.streams.pop().unwrap();
    assert_eq!(within("a message", stream.next()).await.unwrap().unwrap(), "a");
    assert!(within("the error", stream.next()).await.unwrap().is_err());
    assert!(within("the end", stream.next()).await.is_none());

    let broken = |messages: Vec<Result<Bytes, StreamBroken>>| {
        let stream: OutStream = Box::pin(futures::stream::iter(messages));
        Call { streams: vec![stream], ..call("target", "sum", b"") }
    };
    let bad = [
        vec![Ok(Bytes::from_static(b"a")), Err(StreamBroken::new("as told"))],
        vec![Ok(Bytes::from(vec![0; MAX_STREAM_MESSAGE_LEN + 1]))],
    ];
    for messages in bad {
        let answer = near.make(broken(messages)).await.unwrap();
        assert_eq!(answer.value, "the stream broke off: its sender broke it off");
    }
    // A target that reads only the beginning.
    let pulled = Arc::default();
    let streams = vec![counted(&pulled, 1_000_000, 1000)];
    near.make(Call { streams, ..call("target", "first", b"") }).await.unwrap();
    near.until("no call", |near| none_left([near, &far])).await;
    assert!(pulled.load(Ordering::SeqCst) < 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_elsewhere_with_its_call() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    let full =
        SeatOptions { limits: SeatLimits { calls: 0, ..SeatLimits::default() }, ..SeatOptions::new(LATTICE) };
    let busy = Member::join_with(&server, cluster.host(), full).await;
    let free = Member::join(&server, cluster.host()).await;
    busy.seat.serve("target");
    let refused = near.call("target", "echo", b"").await;
    assert!(matches!(refused, Err(CallError::Refused { .. })));
    free.seat.serve("target");
    for _ in 0..10 {
        let pulled: Arc<AtomicUsize> = Arc::default();
        let streams = vec![counted(&pulled, 100, 10_000)];
        let answer = near.make(Call { streams, ..call("target", "sum", b"") }).await.unwrap();
        assert_eq!(answer.value, "1000000");
        assert_eq!(pulled.load(Ordering::SeqCst), 100);
    }
    assert!(near.count("refusals_received", "401") > 0);
}
