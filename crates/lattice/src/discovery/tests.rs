//! Discovery with a real NATS server between members, and with an adversary who sees and sends whatever it likes.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};
use wattle_identity::Grant;
use wattle_identity::certificate::Ids;
use wattle_protocol::rpc::{
    Action, Announcement, Answer, Packet, Query, answer_subject, find_subject, target_hash,
};
use wattle_seal::Address;

use super::testing::{LATTICE, Process, World};
use super::{Discovery, wall};
use crate::Connection;
use crate::test_server::{SOON, Server, within};

const ECHO: &str = "echo";

fn soon() -> Instant {
    Instant::now() + SOON
}

fn in_millis(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

fn bucket() -> String {
    find_subject(LATTICE, target_hash(LATTICE, ECHO)[0])
}

/// Waits until it is so, looking again each time a message passed through the server, which is often enough.
async fn until(what: &str, client: &Client, mut is_so: impl FnMut() -> bool) {
    let turn = async {
        let inbox = client.new_inbox();
        let mut echo = client.subscribe(inbox.clone()).await.unwrap();
        while !is_so() {
            client.publish(inbox.clone(), Bytes::new()).await.unwrap();
            echo.next().await.unwrap();
        }
    };
    within(what, turn).await;
}

/// Waits until a member has subscribed to the bucket, which it does after its first query: it counts what it can't read.
async fn listens(discovery: &Discovery, client: &Client) {
    let publish = async {
        while dropped(discovery, "malformed") == 0 {
            client.publish(bucket(), Bytes::from_static(b"?")).await.unwrap();
            client.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    within("it listens", publish).await;
}

fn count(discovery: &Discovery, name: &str, label: &str) -> u64 {
    let counters = discovery.counters();
    let found = counters.iter().find(|(found, of, _)| *found == name && of == label);
    found.unwrap_or_else(|| panic!("no counter {name} {label}")).2
}

fn dropped(discovery: &Discovery, label: &str) -> u64 {
    count(discovery, "discovery_dropped", label)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_found_and_soon_all() {
    let server = Server::start("");
    let world = World::new();
    let connection = server.connect().await;
    let mut hosts = Vec::new();
    for load in [100, 200, 300] {
        hosts.push(world.join(&server.connect().await, &[(ECHO, load), ("other", 0)]).await);
    }
    let (_, caller) = world.join(&connection, &[]).await;
    // What was announced before nobody asked for it is not known.
    assert!(!caller.knows(ECHO));
    let peer = within("the first", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert!(caller.knows(ECHO) && hosts.iter().any(|(process, _)| process.address == peer.address));
    let addresses: Vec<Address> = hosts.iter().map(|(process, _)| process.address.clone()).collect();
    for (place, address) in addresses.iter().enumerate() {
        let others: Vec<_> = addresses.iter().filter(|other| *other != address).cloned().collect();
        let peer = within("each", caller.find(ECHO, soon(), &others)).await.unwrap();
        assert_eq!(peer.address, addresses[place]);
    }
    // When there is no other, that is known before long.
    assert!(within("no fourth", caller.find(ECHO, soon(), &addresses)).await.is_none());
    assert!(!caller.knows("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_need_a_peer_later_has_it_looked_for() {
    let server = Server::start("");
    let world = World::new();
    let connection = server.connect().await;
    let (host, _discovery) = world.join(&server.connect().await, &[(ECHO, 100)]).await;
    let (_, caller) = world.join(&connection, &[(ECHO, 1000)]).await;
    assert!(!caller.knows_or_seeks(ECHO), "nobody was asked yet");
    until("the peer is known", connection.client(), || caller.knows(ECHO)).await;
    let peer = within("it", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert_eq!(peer.address, host.address);
    // However often one asks, the lattice is asked now and then.
    assert!((0..1000).all(|_| !caller.knows_or_seeks("nobody")));
    assert!(count(&caller, "discovery_queries_sent", "") < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_nobody_is_waited_for() {
    let server = Server::start("");
    let (_, caller) = World::new().join(&server.connect().await, &[]).await;
    let start = Instant::now();
    assert!(within("the server's word", caller.find(ECHO, soon(), &[])).await.is_none());
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    // Now the caller listens itself, so that the server has nothing to say.
    assert!(within("two seconds", caller.find(ECHO, soon(), &[])).await.is_none());
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
    let start = Instant::now();
    assert!(within("the deadline", caller.find(ECHO, in_millis(100), &[])).await.is_none());
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_calls_itself_but_others_that_come_later() {
    let server = Server::start("");
    let (world, connection) = (World::new(), server.connect().await);
    let (_, alone) = world.join(&connection, &[(ECHO, 0)]).await;
    assert!(within("nobody", alone.find(ECHO, in_millis(300), &[])).await.is_none());
    let searching = alone.clone();
    let found = tokio::spawn(async move { searching.find(ECHO, soon(), &[]).await });
    let (other, _serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let peer = within("the other", found).await.unwrap().unwrap();
    assert_eq!(peer.address, other.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_for_one_target_share_their_queries() {
    let server = Server::start("");
    let world = World::new();
    let (_, _serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let (_, caller) = world.join(&server.connect().await, &[]).await;
    let searches: Vec<_> = (0..50)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.find(ECHO, soon(), &[]).await.is_some() })
        })
        .collect();
    for search in searches {
        assert!(within("a peer", search).await.unwrap());
    }
    assert!(count(&caller, "discovery_queries_sent", "") <= 6);
    assert_eq!(count(&caller, "discovery_targets", ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_followed() {
    let server = Server::start("");
    let (world, connection) = (World::new(), server.connect().await);
    let (process, serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let (_, caller) = world.join(&connection, &[]).await;
    within("a peer", caller.find(ECHO, soon(), &[])).await.unwrap();
    let client = connection.client();
    listens(&caller, client).await;
    serving.unserve(ECHO);
    until("what stopped is forgotten", client, || !caller.knows(ECHO)).await;
    let queries = count(&caller, "discovery_queries_sent", "");
    serving.serve(ECHO);
    until("what started is known", client, || caller.knows(ECHO)).await;
    let peer = within("no query", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert_eq!(peer.address, process.address);
    assert_eq!(count(&caller, "discovery_queries_sent", ""), queries);

    within("drained", serving.announce_draining()).await;
    until("who drains is left out", client, || !caller.knows(ECHO)).await;
    assert!(within("nobody", caller.find(ECHO, in_millis(300), &[])).await.is_none());
    // What begins while draining is not told.
    let announced = count(&serving, "discovery_announcements_sent", "");
    serving.serve("another");
    within("draining once more", serving.announce_draining()).await;
    assert!(count(&serving, "discovery_announcements_sent", "") <= announced + 2);
    assert!(!caller.knows(ECHO));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_has_to_answer_again() {
    let server = Server::start("");
    let world = World::new();
    let (process, _serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let (_, caller) = world.join(&server.connect().await, &[]).await;
    within("a peer", caller.find(ECHO, soon(), &[])).await.unwrap();
    caller.gone(&process.address);
    assert!(!caller.knows(ECHO));
    let peer = within("it lives", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert_eq!(peer.address, process.address);
    caller.not_here(ECHO, &process.address);
    assert!(!caller.knows(ECHO));
    caller.measured(&process.address, Duration::from_millis(1));
    within("it runs it", caller.find(ECHO, soon(), &[])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_is_heard_no_more() {
    let server = Server::start("");
    let (world, connection) = (World::new(), server.connect().await);
    let (_, serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let (_, caller) = world.join(&connection, &[]).await;
    within("a peer", caller.find(ECHO, soon(), &[])).await.unwrap();
    drop(serving);
    drop(caller);
    let gone = async {
        // The server says that nobody listens as soon as both have left.
        while connection.client().request(bucket(), Bytes::new()).await.is_ok() {}
    };
    within("nobody listens", gone).await;
}

/// Somebody with NATS credentials who sees all queries, and answers each as it is told to.
struct Adversary {
    connection: Connection,
    client: Client,
}

impl Adversary {
    async fn new(server: &Server) -> Self {
        let connection = server.connect().await;
        Self { client: connection.client().clone(), connection }
    }

    /// Answers every query about the target with these packets.
    async fn answer(&self, mut answers: impl FnMut(&Query) -> Vec<Vec<u8>> + Send + 'static) {
        let mut queries = self.client.subscribe(bucket()).await.unwrap();
        self.connection.round_trip().await.unwrap();
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(message) = queries.next().await {
                if let (Ok(Packet::Query(query)), Some(reply)) =
                    (Packet::decode(&message.payload), message.reply)
                {
                    for answer in answers(&query) {
                        client.publish(reply.clone(), answer.into()).await.unwrap();
                    }
                }
            }
        });
    }
}

fn answer_of<'a>(process: &'a Process, query: &Query) -> Answer<'a> {
    Answer {
        version: 1,
        nonce: query.nonce,
        target: query.target,
        instance: *process.address.instance.as_bytes(),
        sequence: 0,
        load: 0,
        draining: false,
        member: &process.address.member,
        chain: vec![&process.chain],
    }
}

/// A bad answer: the answer and the signature under it are made from a query.
type Forgery = Box<dyn Fn(&Query) -> Vec<u8> + Send>;

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_answer_counts() {
    let server = Server::start("");
    let (world, stranger) = (World::new(), World::new());
    let process = || world.process();
    let sign = |lattice: &'static str, process: Process, change: fn(&mut Answer<'_>)| -> Forgery {
        Box::new(move |query| {
            let mut answer = answer_of(&process, query);
            change(&mut answer);
            answer.encode(lattice, |message| process.key.sign(message)).unwrap()
        })
    };
    let with_another_key: Forgery = {
        let (process, other) = (process(), process());
        Box::new(move |query| {
            let answer = answer_of(&process, query);
            answer.encode(LATTICE, |message| other.key.sign(message)).unwrap()
        })
    };
    let in_anothers_name: Forgery = {
        let (process, other) = (process(), process());
        Box::new(move |query| {
            let answer = Answer { member: &other.address.member, ..answer_of(&process, query) };
            answer.encode(LATTICE, |message| process.key.sign(message)).unwrap()
        })
    };
    let forgeries: Vec<(&str, Forgery)> = vec![
        ("signature", with_another_key),
        ("chain", in_anothers_name),
        ("signature", sign("other", process(), |_| {})),
        ("chain", sign(LATTICE, stranger.process(), |_| {})),
        ("chain", sign(LATTICE, world.process_with(Grant::host("other")), |_| {})),
        ("not_allowed", {
            let limited = Grant { answers_for: Ids::only(["other"]), ..Grant::host(LATTICE) };
            sign(LATTICE, world.process_with(limited), |_| {})
        }),
        ("unknown_query", sign(LATTICE, process(), |answer| answer.nonce[0] ^= 1)),
        ("unknown_query", sign(LATTICE, process(), |answer| answer.target[0] ^= 1)),
        ("version", sign(LATTICE, process(), |answer| answer.version = 2)),
        ("malformed", Box::new(|_| vec![0; 100])),
        ("malformed", Box::new(Query::encode)),
    ];
    for (label, forgery) in forgeries {
        let (_, caller) = world.join(&server.connect().await, &[]).await;
        let adversary = Adversary::new(&server).await;
        adversary.answer(move |query| vec![forgery(query)]).await;
        let found = caller.find(ECHO, in_millis(150), &[]);
        assert!(within("no peer", found).await.is_none(), "{label}");
        until(label, &adversary.client, || dropped(&caller, label) > 0).await;
        assert_eq!(count(&caller, "discovery_answers_taken", ""), 0, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_answers_are_believed_and_give_no_peer_and_good_ones_do() {
    let server = Server::start("");
    let world = World::new();
    let (_, caller) = world.join(&server.connect().await, &[]).await;
    let (draining, good) = (world.process(), world.process());
    let address = good.address.clone();
    let adversary = Adversary::new(&server).await;
    adversary
        .answer(move |query| {
            let first = Answer { draining: true, ..answer_of(&draining, query) };
            let first = first.encode(LATTICE, |message| draining.key.sign(message)).unwrap();
            let second = answer_of(&good, query).encode(LATTICE, |message| good.key.sign(message)).unwrap();
            vec![first, second.clone(), second]
        })
        .await;
    let peer = within("a peer", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert_eq!(peer.address, address);
    until("the answer that came twice", &adversary.client, || dropped(&caller, "repeated") > 0).await;
    assert_eq!(count(&caller, "discovery_answers_taken", ""), 2);
    assert!(within("no other", caller.find(ECHO, soon(), &[address])).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_cannot_be_forged_or_played_again() {
    let server = Server::start("");
    let (world, stranger, connection) = (World::new(), World::new(), server.connect().await);
    let (_, caller) = world.join(&connection, &[]).await;
    // From now on the target is used.
    within("nobody", caller.find(ECHO, in_millis(50), &[])).await;
    let adversary = Adversary::new(&server).await;
    let client = &adversary.client;
    let mut seen = client.subscribe(bucket()).await.unwrap();
    adversary.connection.round_trip().await.unwrap();
    listens(&caller, client).await;

    let (process, serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    let mut next = async |action: Action| loop {
        let message = within("an announcement", seen.next()).await.unwrap();
        if let Ok(Packet::Announcement(read)) = Packet::decode(&message.payload)
            && read.content.action == action
        {
            return message.payload;
        }
    };
    let started = next(Action::Started).await;
    until("it is known", client, || caller.knows(ECHO)).await;
    serving.unserve(ECHO);
    let stopped = next(Action::Stopped).await;
    until("it is forgotten", client, || !caller.knows(ECHO)).await;

    let play = async |packet: Bytes, label: &str| {
        let before = dropped(&caller, label);
        client.publish(bucket(), packet).await.unwrap();
        until(label, client, || dropped(&caller, label) > before).await;
    };
    play(started, "repeated").await;
    assert!(!caller.knows(ECHO), "an old start was believed");
    serving.serve(ECHO);
    until("it is known again", client, || caller.knows(ECHO)).await;
    play(stopped, "repeated").await;
    assert!(caller.knows(ECHO), "an old stop was believed");

    let announcement = |process: &Process, time: u64, action: Action, all: bool, key: &Process| -> Bytes {
        let announcement = Announcement {
            action,
            time,
            instance: *process.address.instance.as_bytes(),
            sequence: 1000,
            target: (!all).then(|| target_hash(LATTICE, ECHO)),
            member: &process.address.member,
            chain: vec![&process.chain],
        };
        announcement.encode(LATTICE, |message| key.key.sign(message)).unwrap().into()
    };
    let other = world.process();
    play(announcement(&process, wall() - 100, Action::Stopped, false, &process), "time").await;
    play(announcement(&process, wall() + 100, Action::Stopped, false, &process), "time").await;
    play(announcement(&process, wall(), Action::Stopped, false, &other), "signature").await;
    play(announcement(&process, wall(), Action::Draining, true, &other), "signature").await;
    play(announcement(&other, wall(), Action::Draining, true, &other), "unneeded").await;
    play(announcement(&other, wall(), Action::Stopped, false, &other), "unneeded").await;
    let foreign = stranger.process();
    play(announcement(&foreign, wall(), Action::Started, false, &foreign), "chain").await;
    let limited = Grant { answers_for: Ids::only(["other"]), ..Grant::host(LATTICE) };
    let limited = world.process_with(limited);
    play(announcement(&limited, wall(), Action::Started, false, &limited), "not_allowed").await;
    assert!(caller.knows(ECHO));
    let none = within("no other", caller.find(ECHO, soon(), std::slice::from_ref(&process.address))).await;
    assert!(none.is_none());
    client.publish(bucket(), announcement(&process, wall(), Action::Draining, true, &process)).await.unwrap();
    until("its own word counts", client, || !caller.knows(ECHO)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_nowhere_else_and_not_without_bound() {
    let server = Server::start("");
    let world = World::new();
    let connection = server.connect().await;
    let (_, serving) = world.join(&connection, &[(ECHO, 0), ("idle", 0)]).await;
    let adversary = Adversary::new(&server).await;
    let client = &adversary.client;
    // It listens before it announces.
    until("it announced", client, || count(&serving, "discovery_announcements_sent", "") == 2).await;
    connection.round_trip().await.unwrap();
    let query = |number: u128| Query {
        lowest: 1,
        highest: 3,
        nonce: number.to_be_bytes(),
        target: target_hash(LATTICE, ECHO),
    };
    let ask = async |reply: String, query: Query| {
        client.publish_with_reply(bucket(), reply, query.encode().into()).await.unwrap();
    };
    ask(answer_subject("$KV.LATTICEDATA_default", &query(1).nonce), query(1)).await;
    ask(answer_subject("_INBOX.a", &query(2).nonce), query(1)).await;
    until("refused", client, || dropped(&serving, "reply_subject") == 2).await;
    ask(answer_subject("_INBOX.a", &query(1).nonce), Query { lowest: 2, ..query(1) }).await;
    until("refused", client, || dropped(&serving, "version") == 1).await;
    assert_eq!(count(&serving, "discovery_answers_sent", ""), 0);

    let mut inbox = client.subscribe("_INBOX.a.*").await.unwrap();
    adversary.connection.round_trip().await.unwrap();
    ask(answer_subject("_INBOX.a", &query(1).nonce), query(1)).await;
    let answer = within("an answer", inbox.next()).await.unwrap();
    let Ok(Packet::Answer(answer)) = Packet::decode(&answer.payload) else { panic!("an answer") };
    assert_eq!((answer.content.version, answer.content.draining), (1, false));

    let flood = async {
        let mut number = 2;
        while dropped(&serving, "answer_limit") == 0 {
            for _ in 0..500 {
                ask(answer_subject("_INBOX.b", &query(number).nonce), query(number)).await;
                number += 1;
            }
            client.flush().await.unwrap();
        }
    };
    timeout(SOON, flood).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_unserved_or_has_no_load_is_not_answered_for() {
    let server = Server::start("");
    let world = World::new();
    let (_, serving) = world.join(&server.connect().await, &[(ECHO, 0)]).await;
    serving.serve("without load");
    let (_, caller) = world.join(&server.connect().await, &[]).await;
    within("a peer", caller.find(ECHO, soon(), &[])).await.unwrap();
    assert!(within("nobody", caller.find("without load", in_millis(200), &[])).await.is_none());
    serving.unserve(ECHO);
    let (_, other) = world.join(&server.connect().await, &[]).await;
    assert!(within("nobody", other.find(ECHO, in_millis(200), &[])).await.is_none());
}
