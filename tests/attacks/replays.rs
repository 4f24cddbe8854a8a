//! What was sent once is sent again, elsewhere, or late.

use futures::StreamExt as _;
use tokio::time::{Duration, sleep};
use wattle_seal::Kind;
use wattle_seal::message::{Cancel, End, Frame, Ping, Request};
use wattle_tests::{DEADLINE, eventually, http};

use crate::kit::{
    Arena, FRONT, HELLO, Line, Peer, SILENCE, Verdict, ask, assert_good, assert_page_is, find, guest,
    http_get, refused_by, request, wait_refused_by,
};

/// How many sessions a host keeps.
const SESSIONS: usize = 16_384;

/// A sealed request for the page of [`HELLO`].
fn sealed(line: &Line) -> Vec<u8> {
    let page = http_get("http://hello/");
    line.seal(Kind::Request, request(FRONT, HELLO, &page).encode().unwrap())
}

#[tokio::test]
async fn attack_request_replayed() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let message = sealed(&line);
    assert_eq!(line.submit(&message).await.status(), 200);
    let before = arena.refused(205).await;
    for _ in 0..10 {
        line.send(&message).await;
    }
    arena.wait_refused(205, before + 10).await;
    assert!(line.ping().await.is_empty(), "a replayed request was answered");
    // Whoever replays it, and wherever the answer should go.
    arena.send(&message).await;
    arena.wait_refused(205, before + 11).await;
    // Also when it is so old that nobody remembers it by itself.
    for _ in 0..32_768 + 100 {
        drop(line.seal(Kind::Ping, Ping { token: 0 }.encode()));
    }
    assert!(line.ping().await.is_empty());
    let before = arena.refused(206).await;
    arena.send(&message).await;
    arena.wait_refused(206, before + 1).await;
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_replayed_of_calls_between_hosts() {
    let mut arena = Arena::start().await;
    // What goes from one host to another is recorded and sent once more.
    let far = arena.another_host(|options| options).await;
    let start = ["start", "component", &guest("misbehave"), "afar", "--host", &far.id()];
    arena.stage.cli.run(start).await.ok();
    let url = arena.stage.expose("afar").await;
    arena.stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    let target = find(&arena.client, arena.lattice(), &arena.issuers, "afar").await;
    let subject = arena.subject(&target);
    let recorded: Vec<_> = arena
        .bus
        .all()
        .into_iter()
        .filter(|seen| seen.subject == subject && seen.head().is_some_and(|head| head.kind == Kind::Request))
        .collect();
    assert!(!recorded.is_empty(), "no call between the hosts was seen");
    let before = refused_by(&far, 205).await;
    for seen in &recorded {
        arena.send_to(&target, &seen.payload).await;
    }
    wait_refused_by(&far, 205, before + recorded.len() as u64).await;
    arena.stage.wait_for_page(&format!("{url}/hello"), "hello\n").await;
    arena.assert_lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_request_replayed_after_the_session_was_evicted() {
    let mut arena = Arena::start().await;
    let insider = arena.host_by_certificate();
    let mut line = arena.line(&insider).await;
    assert_good(&mut line).await;
    let message = sealed(&line);
    assert_eq!(line.submit(&message).await.status(), 200);
    // As many more sessions of the same member as it takes until the host gives up the first, which is idle longest.
    let (arena_ref, insider_ref) = (&arena, &insider);
    futures::stream::iter(0..SESSIONS)
        .for_each_concurrent(32, |_| async move {
            assert!(arena_ref.line(insider_ref).await.ping().await.is_empty());
        })
        .await;
    // It does not say that the call was not begun, because it was.
    let before = arena.refused(209).await;
    let verdict = line.submit(&message).await;
    assert_eq!(verdict, Verdict::InTheClear(209));
    arena.wait_refused(209, before + 1).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_replayed_after_the_receiver_restarted() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let message = sealed(&line);
    assert_eq!(line.submit(&message).await.status(), 200);
    let old = arena.target.clone();
    arena.stage.host.kill9();
    arena.stage.host.start_again().await;
    let new = eventually("the host's new process to answer", DEADLINE, || async {
        let found = ask(&arena.client, arena.lattice(), &arena.issuers, HELLO).await;
        found.into_iter().find(|found| found.instance != old.instance)
    })
    .await;
    assert_eq!(new.member, old.member);
    arena.target = new.clone();
    // Nobody listens where the old process did; the new one knows nothing of its sessions, nor of its offers.
    let asked = arena.client.request(arena.subject(&old), message.clone().into()).await;
    assert!(asked.is_err(), "somebody takes what was for the old process: {asked:?}");
    let before = arena.refused(202).await;
    line.target = new.clone();
    line.send_to(&arena.subject(&new), &message).await;
    assert_eq!(line.verdict(&message).await, Verdict::InTheClear(202));
    arena.wait_refused(202, before + 1).await;
    arena.assert_offer_refused(&line.offer, 103).await;
    // Nor is anything else of the old session taken, and for that there is no answer.
    let before = arena.refused(202).await;
    let frame = Frame { call: 1, stream: 0, sequence: 0, end: End::Open, credit: 0, data: b"x" };
    for (kind, content) in [
        (Kind::Frame, frame.encode().unwrap()),
        (Kind::Ping, Ping { token: 1 }.encode()),
        (Kind::Cancel, Cancel { call: 1 }.encode()),
    ] {
        arena.send(&line.seal(kind, content)).await;
    }
    arena.wait_refused(202, before + 3).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_reply_replayed_after_the_caller_restarted() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let get = |url: &str| {
        let url = url.to_owned();
        tokio::spawn(async move { http(&url).await })
    };
    let page = get(&url);
    let first = peer.request().await;
    let reply = first.page("first");
    peer.send(&first.inbox, reply.clone()).await;
    assert_page_is(page, "first").await;

    arena.stage.host.kill9();
    arena.stage.host.start_again().await;
    let listens = arena.client.request(first.inbox.clone(), reply.clone().into()).await;
    assert!(listens.is_err(), "somebody listens at the inbox of the old process: {listens:?}");
    let second = eventually("the new process to call the peer", DEADLINE, || async {
        let page = get(&url);
        let asked = tokio::time::timeout(Duration::from_secs(2), peer.request()).await.ok()?;
        Some((page, asked))
    })
    .await;
    let (page, second) = second;
    let before = arena.refused(202).await;
    peer.send(&second.inbox, reply).await;
    arena.wait_refused(202, before + 1).await;
    assert!(!page.is_finished(), "a reply to the old process ended a call of the new one");
    peer.send(&second.inbox, second.page("second")).await;
    assert_page_is(page, "second").await;
    arena.target = find(&arena.client, arena.lattice(), &arena.issuers, HELLO).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_redirected_to_another_host() {
    let mut arena = Arena::start().await;
    let other = arena.another_host(|options| options).await;
    let start = ["start", "component", &guest("http-hello"), "elsewhere", "--host", &other.id()];
    arena.stage.cli.run(start).await.ok();
    let target = find(&arena.client, arena.lattice(), &arena.issuers, "elsewhere").await;
    assert_eq!(target.member, other.id());
    let mut line = arena.good_line().await;
    let message = sealed(&line);
    let before = refused_by(&other, 202).await;
    let (near, subject) = (line.target.clone(), arena.subject(&target));
    line.target = target;
    line.send_to(&subject, &message).await;
    assert_eq!(line.verdict(&message).await, Verdict::InTheClear(202));
    wait_refused_by(&other, 202, before + 1).await;
    // The same bytes are good where they belong.
    line.target = near;
    assert_eq!(line.submit(&message).await.status(), 200);
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_frame_replayed_reordered_or_lost() {
    let mut arena = Arena::start().await;
    arena.stage.start_component(&guest("misbehave"), "echo", &[]).await.ok();
    let link = ["link", "put", FRONT, "echo", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "echo"])).await.ok();
    let mut line = arena.good_line().await;
    let head = crate::kit::streamed_post("http://echo/echo");
    let frame = |line: &Line, call, sequence, end, data: &[u8]| {
        let data = [&[0], data].concat();
        let data = if end == End::Complete { &[][..] } else { &data };
        let frame = Frame { call, stream: 0, sequence, end, credit: 0, data };
        line.seal(Kind::Frame, frame.encode().unwrap())
    };
    let open = |line: &Line| {
        let call = Request { streams: 1, link_name: "echo", ..request(FRONT, "echo", &head) };
        (call.call, line.seal(Kind::Request, call.encode().unwrap()))
    };

    // Each piece twice, and the replay is refused: what comes back has each piece once.
    let before = arena.refused(205).await;
    let (call, message) = open(&line);
    line.send(&message).await;
    for (sequence, piece) in [b"one ", b"two ", b"tri "].iter().enumerate() {
        let packet = frame(&line, call, sequence as u64, End::Open, &piece[..]);
        line.send(&packet).await;
        line.send(&packet).await;
    }
    line.send(&frame(&line, call, 3, End::Complete, b"")).await;
    arena.wait_refused(205, before + 3).await;
    assert_eq!(line.body(call).await.unwrap(), b"one two tri ");

    // A piece is missing, or comes a second time under another counter: the body breaks off, and is never a short one.
    for sequences in [[0, 2, 3], [0, 0, 1], [1, 0, 2]] {
        let (call, message) = open(&line);
        line.send(&message).await;
        for sequence in sequences {
            line.send(&frame(&line, call, sequence, End::Open, b"piece")).await;
        }
        line.send(&frame(&line, call, 4, End::Complete, b"")).await;
        let body = line.body(call).await;
        assert!(body.is_err(), "{sequences:?} made a whole body of {body:?}");
    }
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_reply_replayed() {
    let mut arena = Arena::start().await;
    let peer = Peer::join(&arena, &["afar"]).await;
    let url = arena.stage.expose("afar").await;
    let get = |url: &str| {
        let url = url.to_owned();
        tokio::spawn(async move { http(&url).await })
    };
    let page = get(&url);
    let first = peer.request().await;
    let reply = first.page("first");
    peer.send(&first.inbox, reply.clone()).await;
    assert_page_is(page, "first").await;

    // The next call is not answered with what was said to the last one.
    let page = get(&url);
    let second = peer.request().await;
    let before = arena.refused(205).await;
    for inbox in [&first.inbox, &second.inbox] {
        peer.send(inbox, reply.clone()).await;
    }
    arena.wait_refused(205, before + 2).await;
    tokio::time::sleep(SILENCE).await;
    assert!(!page.is_finished(), "a replayed reply ended a call");
    peer.send(&second.inbox, second.page("second")).await;
    assert_page_is(page, "second").await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_held_back_past_its_deadline() {
    let mut arena = Arena::start().await;
    let mut line = arena.good_line().await;
    let page = http_get("http://hello/");
    let short = Request { remaining: 1_000, ..request(FRONT, HELLO, &page) };
    let (held, control) = (short.encode().unwrap(), Request { call: short.call + 1_000_000, ..short });
    let (held, control) =
        (line.seal(Kind::Request, held), line.seal(Kind::Request, control.encode().unwrap()));
    assert_eq!(line.submit(&control).await.status(), 200);
    let before = arena.refused(410).await + arena.refused(207).await;
    sleep(Duration::from_millis(1_500)).await;
    match line.submit(&held).await {
        Verdict::Refused(410 | 207, _) => {}
        other => panic!("a request without time was not refused: {other:?}"),
    }
    let after = arena.refused(410).await + arena.refused(207).await;
    assert_eq!(after, before + 1);
    assert_good(&mut line).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_first_message_held_back() {
    let mut arena = Arena::start().await;
    // A handshake that nobody confirms is forgotten after ten seconds, and with it what was sealed for it.
    let mut line = arena.line(&arena.host_by_certificate()).await;
    let message = sealed(&line);
    sleep(Duration::from_millis(11_000)).await;
    let before = arena.refused(202).await;
    assert_eq!(line.submit(&message).await, Verdict::InTheClear(202));
    arena.wait_refused(202, before + 1).await;
    let mut line = arena.line(&arena.host_by_certificate()).await;
    let message = sealed(&line);
    sleep(Duration::from_millis(2_000)).await;
    assert_eq!(line.submit(&message).await.status(), 200);
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_request_with_time_without_end() {
    let mut arena = Arena::start().await;
    let hang = ["--max-execution-time", "2s"];
    arena.stage.start_component(&guest("misbehave"), "hang", &hang).await.ok();
    let link = ["link", "put", FRONT, "hang", "wasi", "http", "--interface", "incoming-handler"];
    arena.stage.cli.run(link.into_iter().chain(["--name", "hang"])).await.ok();
    let mut line = arena.good_line().await;
    // Seven weeks are left, says the caller. The component's own limit holds all the same.
    let page = http_get("http://hang/hang");
    let call = Request { remaining: u32::MAX, link_name: "hang", ..request(FRONT, "hang", &page) };
    let began = std::time::Instant::now();
    let verdict = line.ask(call.encode().unwrap()).await;
    assert!(matches!(verdict, Verdict::Failed(..)), "{verdict:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    arena.assert_lives().await;
}
