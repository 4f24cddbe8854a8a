use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use ring::rand::SystemRandom;
use wattle_identity::{Grant, KeyKind, KeyPair};
use wattle_lattice::{Call, CallError, Executed, OutStream, SeatLimits, SeatOptions};
use wattle_seal::message::Ping;
use wattle_seal::{Initiator, Kind, Limits, Local, Monotonic, Refusal, Responder, Response, Trust, Wall};

use crate::members::{Cluster, LATTICE, Member, call, now};
use crate::server::{Server, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_while_calls_run() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let far = Member::join(&server, cluster.host()).await;
    far.seat.serve("target");
    // The certificate has ended, but for the tolerance: the session lives for some seconds.
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let certify = |left| cluster.certify(&key, Grant::host(LATTICE), left).0;
    let near = Member::join(&server, certify(-54)).await;

    // A stream that goes on over the renewal, in both directions.
    let (messages, stream) = tokio::sync::mpsc::unbounded_channel();
    let stream =
        futures::stream::unfold(stream, |mut stream: tokio::sync::mpsc::UnboundedReceiver<Bytes>| async {
            stream.recv().await.map(|message| (Ok(message), stream))
        });
    let streams = vec![Box::pin(stream) as OutStream];
    let mut answer = near.make(Call { streams, ..call("target", "mirror", b"") }).await.unwrap();
    let mut back = answer.streams.pop().unwrap();
    let mut sent = 0u32;
    near.seat.set_membership(certify(3600)).unwrap();
    // As long as a call takes, so that every moment is seen.
    while near.count("sessions_ended", "over") == 0 {
        sent += 1;
        messages.send(Bytes::copy_from_slice(&sent.to_be_bytes())).unwrap();
        let message = within("the stream's message", back.next()).await.unwrap().unwrap();
        assert_eq!(message, sent.to_be_bytes().as_slice());
        let answer = near.call("target", "echo", b"x").await.unwrap();
        assert_eq!(answer.value, "x");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(messages);
    assert!(within("the end", back.next()).await.is_none());
    assert_eq!(near.count("handshakes", "made"), 2);
    assert_eq!(near.count("packets_refused", "202") + far.count("packets_refused", "202"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_no_longer_trusted_is_cut_off() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let keys = [(); 2].map(|()| KeyPair::generate(KeyKind::Host).unwrap());
    let [near, far] = keys.map(|key| cluster.certify(&key, Grant::host(LATTICE), 3600));
    let near = (Arc::new(Member::join(&server, near.0.clone()).await), near.0, near.1);
    let far = (Member::join(&server, far.0.clone()).await, far.0, far.1);
    far.0.seat.serve("target");
    let waiting = || {
        let near = Arc::clone(&near.0);
        tokio::spawn(async move { near.call("target", "wait", b"").await })
    };
    // The target revokes the caller: the call ends there, and the caller hears no more.
    let call = waiting();
    far.0.script.until("the call", |script| script.begun.load(Ordering::SeqCst) == 1).await;
    let mut trust = far.1.clone();
    trust.revoked.insert(near.2.clone());
    far.0.seat.set_membership(trust).unwrap();
    far.0.script.until("its end", |script| script.dropped.load(Ordering::SeqCst) == 1).await;
    // In the session that was dropped, nobody can say what was begun.
    let error = near.0.call("target", "echo", b"").await.unwrap_err();
    assert!(matches!(error, CallError::Lost { .. }) && error.executed() == Executed::Maybe, "{error}");
    assert_eq!(far.0.count("refusals_sent", "209"), 1);
    // A new one is not made.
    let error = near.0.call("target", "echo", b"").await.unwrap_err();
    assert!(matches!(&error, CallError::Untrusted { reason, .. } if reason.contains("137")), "{error}");
    call.abort();

    // And back again; then the caller revokes the target.
    far.0.seat.set_membership(far.1.clone()).unwrap();
    near.0.call("target", "echo", b"").await.unwrap();
    let call = waiting();
    far.0.script.until("the call", |script| script.begun.load(Ordering::SeqCst) == 3).await;
    let mut trust = near.1.clone();
    trust.revoked.insert(far.2.clone());
    near.0.seat.set_membership(trust).unwrap();
    let error = within("the end", call).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, CallError::Lost { reason, .. } if reason.contains("no longer trusted")),
        "{error}"
    );
    let error = near.0.call("target", "echo", b"").await.unwrap_err();
    assert_eq!(error.executed(), Executed::No, "{error}");

    // What others would not take changes nothing.
    let mut useless = far.1.clone();
    useless.issuers.clear();
    far.0.seat.set_membership(useless).unwrap_err();
    let other = cluster.host();
    far.0.seat.set_membership(other).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded_and_none_is_forgotten() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let options = SeatOptions {
        limits: SeatLimits { sessions: 1, ..SeatLimits::default() },
        ..SeatOptions::new(LATTICE)
    };
    let far = Member::join_with(&server, cluster.host(), options).await;
    far.seat.serve("target");
    let first = Member::join(&server, cluster.host()).await;
    let second = Member::join(&server, cluster.host()).await;
    first.call("target", "echo", b"").await.unwrap();
    second.call("target", "echo", b"").await.unwrap();
    assert_eq!((far.count("sessions", "taken"), far.count("sessions_ended", "displaced")), (1, 1));
    // The first one can't know whether its call was begun, so only what may be repeated is.
    let error = first.call("target", "echo", b"").await.unwrap_err();
    assert_eq!(error.executed(), Executed::Maybe, "{error}");
    first.call("target", "echo", b"").await.unwrap();
    assert_eq!(far.count("refusals_sent", "209"), 1);
}

/// A target that is spelled out here, so that it can forget a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_an_unknown_session_is_made_again_in_a_new_one() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let near = Member::join(&server, cluster.host()).await;
    // The seat answers discovery; then a process of its own takes its place on its subject.
    let membership = cluster.host();
    let far = Member::join(&server, membership.clone()).await;
    far.seat.serve("target");
    assert_eq!(near.call("target", "echo", b"seat").await.unwrap().value, "seat");
    let address = far.seat.address();
    far.seat.leave();
    let subject = wattle_protocol::rpc::rpc_subject(LATTICE, &address.member, address.instance.as_bytes());
    let connection = server.connect().await;
    let mut messages = connection.client().subscribe(subject).await.unwrap();
    connection.round_trip().await.unwrap();
    let forgetful = tokio::spawn(async move {
        let (issuers, revoked) = (membership.issuers.clone(), membership.revoked.clone());
        let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };
        let wall = Wall::from_secs(now());
        let local =
            Local::new(membership.key, &membership.chain, address.instance, LATTICE, &trust, wall).unwrap();
        let mut responder = Responder::new(Limits::default());
        let (random, mut codes) = (SystemRandom::new(), Vec::new());
        while let Some(message) = messages.next().await {
            let Some(reply) = message.reply else { continue };
            let mut packet = message.payload.to_vec();
            let answer =
                match responder.accept(&local, &trust, &packet, Monotonic::from_millis(1), wall, &random) {
                    Ok(answer) => answer,
                    Err(_) => match responder.confirm(&mut packet.clone(), Monotonic::from_millis(1), 60_000)
                    {
                        Ok((session, opened)) => {
                            codes.push(0);
                            assert_eq!(opened.kind, Kind::Request);
                            let request = wattle_seal::message::Request::decode(opened.plaintext).unwrap();
                            let outcome = wattle_seal::message::Outcome::Value {
                                streams: 0,
                                value: request.parameters,
                            };
                            let reply = wattle_seal::message::Reply { call: request.call, outcome };
                            session.seal(Kind::Reply, reply.encode(), Monotonic::from_millis(2)).unwrap()
                        }
                        Err(error) => {
                            codes.push(error.code());
                            // A refusal of another packet, and then the one that is true.
                            packet.push(0);
                            let other = Refusal::sign(&local, &packet, &error, wall);
                            connection.client().publish(reply.clone(), other.into()).await.unwrap();
                            packet.pop();
                            Refusal::sign(&local, &packet, &error, wall)
                        }
                    },
                };
            connection.client().publish(reply, answer.into()).await.unwrap();
            if codes.last() == Some(&0) {
                break;
            }
        }
        connection.flush().await.unwrap();
        codes
    });
    assert_eq!(near.call("target", "echo", b"new").await.unwrap().value, "new");
    assert_eq!(within("the target", forgetful).await.unwrap(), [202, 0]);
    assert_eq!(near.count("retries", "unknown_session"), 1);
}

/// A caller that is spelled out here: what is not known is refused with a signature, and what is repeated is not taken.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_sessions_are_refused_with_a_signature_and_replays_not_at_all() {
    let (server, cluster) = (Server::start(""), Cluster::new());
    let far = Member::join(&server, cluster.host()).await;
    far.seat.serve("target");
    let membership = cluster.host();
    let trust = Trust { cluster_issuers: &membership.issuers, revoked: &membership.revoked };
    let (wall, at, random) = (Wall::from_secs(now()), Monotonic::from_millis(1), SystemRandom::new());
    let instance = wattle_seal::InstanceId::random(&random).unwrap();
    let key = membership.key.clone();
    let local = Local::new(key, &membership.chain, instance, LATTICE, &trust, wall).unwrap();
    let address = far.seat.address();
    let subject = wattle_protocol::rpc::rpc_subject(LATTICE, &address.member, address.instance.as_bytes());
    let client = server.connect().await.client().clone();
    let ask = |packet: Vec<u8>| {
        let answer = client.request(subject.clone(), packet.into());
        async { within("an answer", answer).await.unwrap().payload.to_vec() }
    };
    let session = async || {
        let initiator = Initiator::start(&local, address.clone(), at, wall, &random).unwrap();
        let answer = ask(initiator.offer().to_vec()).await;
        let Response::Answer(answer) = initiator.read(&answer, &trust, at, wall).unwrap() else { panic!() };
        initiator.finish(answer).unwrap()
    };
    let first = session().await;
    let ping = first.seal(Kind::Ping, Ping { token: 5 }.encode(), at).unwrap();
    let mut pong = ask(ping.clone()).await;
    let opened = first.open(&mut pong, at, 60_000).unwrap();
    assert_eq!((opened.kind, Ping::decode(opened.plaintext).unwrap().token), (Kind::Pong, 5));
    client.publish(subject.clone(), ping.into()).await.unwrap();
    far.until("the replay", |far| far.count("packets_refused", "205") == 1).await;

    // Sealed in a session that the other process never heard of.
    let mut responder = Responder::new(Limits::default());
    let own = wattle_seal::Address { member: local.member().key().to_owned(), instance };
    let initiator = Initiator::start(&local, own, at, wall, &random).unwrap();
    let answer = responder.accept(&local, &trust, initiator.offer(), at, wall, &random).unwrap();
    let Response::Answer(answer) = initiator.read(&answer, &trust, at, wall).unwrap() else { panic!() };
    let unknown = initiator.finish(answer).unwrap();
    let request = unknown.seal(Kind::Request, Ping { token: 5 }.encode(), at).unwrap();
    let refusal = ask(request.clone()).await;
    assert_eq!(Refusal::verify(&refusal, &request, &address).unwrap().code, 202);

    // Junk of all kinds leaves the session as it is.
    for junk in [vec![], vec![0], vec![0, 128, 1], vec![0, 129], vec![1; 100], vec![255; 5000]] {
        client.publish_with_reply(subject.clone(), "nobody", junk.into()).await.unwrap();
    }
    let ping = first.seal(Kind::Ping, Ping { token: 6 }.encode(), at).unwrap();
    let mut pong = ask(ping).await;
    first.open(&mut pong, at, 60_000).unwrap();
}
