//! Who says that it runs something, or that it does not any more, without having the right to.

use tokio::task::JoinHandle;
use wattle_identity::{Grant, Ids, KeyKind, KeyPair};
use wattle_protocol::rpc::{Action, Announcement, Query, find_subject, target_hash};
use wattle_tests::{Answer, DEADLINE, eventually, http};

use crate::kit::{
    Arena, Insider, Peer, Seen, announcement_of, answer_for, ask, assert_page_is, cut, flipped, host_grant,
    metric, random_bytes, wall,
};

/// The target that the host calls and does not run.
const AFAR: &str = "afar";

/// How often the host has passed over a packet of discovery for this reason.
async fn dropped(arena: &Arena, why: &str) -> u64 {
    metric(&arena.stage.host, "wattle_seat_discovery_dropped_total", &[("code", why)]).await
}

async fn wait_dropped(arena: &Arena, why: &str, count: u64) {
    eventually(&format!("{count} packets of discovery to be passed over: {why}"), DEADLINE, || async {
        (dropped(arena, why).await >= count).then_some(())
    })
    .await;
}

/// The peer says this, which is taken, and from then on it is not called any more.
async fn assert_believed(arena: &Arena, peer: &Peer, url: &str, announcement: &[u8]) {
    const TAKEN: &str = "wattle_seat_discovery_announcements_taken_total";
    let before = metric(&arena.stage.host, TAKEN, &[]).await;
    arena.publish(&subject(arena), announcement).await;
    eventually("the announcement to be taken", DEADLINE, || async {
        (metric(&arena.stage.host, TAKEN, &[]).await > before).then_some(())
    })
    .await;
    assert!(http(url).await.unwrap().status >= 500);
    assert!(peer.waiting().await.is_none(), "the host calls a peer that takes no calls");
}

fn get(url: &str) -> JoinHandle<anyhow::Result<Answer>> {
    let url = url.to_owned();
    tokio::spawn(async move { http(&url).await })
}

fn subject(arena: &Arena) -> String {
    find_subject(arena.lattice(), target_hash(arena.lattice(), AFAR)[0])
}

/// The next query for the target on the bus.
async fn next_query(arena: &Arena, from: usize) -> (Query, Seen) {
    let hash = target_hash(arena.lattice(), AFAR);
    let is_query = |seen: &Seen| Query::decode(&seen.payload).is_ok_and(|query| query.target == hash);
    let seen = arena.bus.wait_for(from, "a query", is_query).await;
    (Query::decode(&seen.payload).unwrap(), seen)
}

/// Nobody but this peer was ever offered a session.
fn assert_asked_only(arena: &Arena, from: usize, peer: &Peer) {
    for seen in arena.bus.all().into_iter().skip(from) {
        let offered = seen.payload.starts_with(&[0, 128]) && !seen.subject.contains(&arena.target.member);
        assert!(!offered || seen.subject == peer.subject, "an offer went to {}", seen.subject);
    }
}

/// The peer is asked for the page, and serves it.
async fn assert_served(peer: &Peer, url: &str) {
    let page = get(url);
    let asked = peer.request().await;
    assert_eq!(asked.target, AFAR);
    peer.send(&asked.inbox, asked.page("served")).await;
    assert_page_is(page, "served").await;
}

#[tokio::test]
async fn attack_discovery_answer_forged() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let peer = Peer::join(&arena, &[AFAR]).await;
    peer.finder.hush();
    let url = arena.stage.expose(AFAR).await;
    let from = arena.bus.len();
    let page = get(&url);
    let (query, seen) = next_query(&arena, from).await;
    let inbox = seen.reply.unwrap();

    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let unknown = Insider::with_key(key.clone(), &stranger, Grant::host(&lattice));
    let elsewhere = Insider::with_key(key.clone(), &arena.cluster, Grant::host("elsewhere"));
    let expired = Insider::edited(key.clone(), &arena.cluster, Grant::host(&lattice), |certificate| {
        certificate.not_before = wall().as_secs() - 1_000;
        certificate.expires = wall().as_secs() - 100;
    });
    let limited = arena.insider(host_grant(&lattice, &["something-else"], &[]));
    let client = arena.insider(Grant::client(&lattice, Ids::only([AFAR])));
    let issuer = arena.host_by_certificate();
    let provider = Insider::provider(&issuer, Grant::provider(&lattice, "something-else"), |_| {});
    // A certificate that everybody sees, and a key that goes with another.
    let thief = Insider { key, ..peer.insider.clone() };
    let good = |insider: &Insider| answer_for(&query, insider, &lattice, |_| {});
    let rival = arena.host_by_certificate();
    for (what, answer, why) in [
        ("an issuer that is not trusted", good(&unknown), "chain"),
        ("a certificate for another lattice", good(&elsewhere), "chain"),
        ("an expired certificate", good(&expired), "chain"),
        ("a host that may not answer for it", good(&limited), "not_allowed"),
        ("a client", good(&client), "not_allowed"),
        ("a provider of something else", good(&provider), "not_allowed"),
        ("a stolen certificate", good(&thief), "signature"),
        ("signed for another lattice", answer_for(&query, &rival, "elsewhere", |_| {}), "signature"),
        (
            "another query",
            answer_for(&query, &rival, &lattice, |answer| answer.nonce = [7; 16]),
            "unknown_query",
        ),
        (
            "another target",
            answer_for(&query, &rival, &lattice, |answer| answer.target = [7; 32]),
            "unknown_query",
        ),
        ("a version of nobody", answer_for(&query, &rival, &lattice, |answer| answer.version = 9), "version"),
    ] {
        let before = dropped(&arena, why).await;
        arena.publish(&inbox, &answer).await;
        println!("{what}: {why}");
        wait_dropped(&arena, why, before + 1).await;
        assert!(!page.is_finished() || peer.waiting().await.is_none(), "{what} ended the search");
    }
    // The control: what the peer signs is taken, to a later query of the same call or to that of the next.
    peer.finder.speak();
    drop(page);
    let asked = eventually("the peer to be asked", DEADLINE, || async {
        let page = get(&url);
        let asked = tokio::time::timeout(std::time::Duration::from_secs(3), peer.request()).await.ok()?;
        drop(page);
        Some(asked)
    })
    .await;
    peer.send(&asked.inbox, asked.page("served")).await;
    assert_asked_only(&arena, from, &peer);
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_discovery_answer_replayed() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let peer = Peer::join(&arena, &[AFAR]).await;
    let url = arena.stage.expose(AFAR).await;
    let from = arena.bus.len();
    assert_served(&peer, &url).await;
    let (_, asked) = next_query(&arena, from).await;
    let old_inbox = asked.reply.unwrap();
    let (query, _) = next_query(&arena, from).await;
    let recorded = answer_for(&query, &peer.insider, &lattice, |_| {});

    // The peer drains, and says so. What it said before is played again: to the query that it answered, and to a new one.
    peer.finder.hush();
    let draining = announcement_of(&peer.insider, &lattice, |_| {});
    assert_believed(&arena, &peer, &url, &draining).await;
    let from = arena.bus.len();
    let page = get(&url);
    let (_, new) = next_query(&arena, from).await;
    for inbox in [&old_inbox, &new.reply.unwrap()] {
        arena.publish(inbox, &recorded).await;
    }
    assert!(page.await.unwrap().unwrap().status >= 500);
    assert!(peer.waiting().await.is_none(), "a replayed answer brought the peer back");
    // The control: one that is new, to the new query, of a process that did not say that it drains.
    let fresh = Peer::join(&arena, &[AFAR]).await;
    assert_served(&fresh, &url).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_draining_forged() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let peer = Peer::join(&arena, &[AFAR]).await;
    let url = arena.stage.expose(AFAR).await;
    assert_served(&peer, &url).await;

    let hash = target_hash(&lattice, AFAR);
    let instance = *peer.insider.instance.as_bytes();
    let key = KeyPair::generate(KeyKind::Host).unwrap();
    let stranger = KeyPair::generate(KeyKind::Cluster).unwrap();
    let thief = Insider { key: key.clone(), ..peer.insider.clone() };
    // It says that it is the peer, with a certificate that anybody could make.
    let unknown = Insider::with_key(peer.insider.key.clone(), &stranger, Grant::host(&lattice));
    let unknown = Insider { key, ..unknown };
    let rival = arena.host_by_certificate();
    let of_peer = |announcement: &mut Announcement<'_>| announcement.instance = instance;
    let stopped = |announcement: &mut Announcement<'_>| {
        announcement.instance = instance;
        announcement.action = Action::Stopped;
        announcement.target = Some(hash);
    };
    let mut changed = announcement_of(&peer.insider, &lattice, |said| said.time -= 10);
    changed[9] ^= 1;
    for (what, packet, why) in [
        ("an issuer that is not trusted", announcement_of(&unknown, &lattice, of_peer), "chain"),
        ("a stolen certificate", announcement_of(&thief, &lattice, of_peer), "signature"),
        ("a stolen certificate, for one target", announcement_of(&thief, &lattice, stopped), "signature"),
        ("another member, for this process", announcement_of(&rival, &lattice, of_peer), "unneeded"),
        (
            "another member, for this process and target",
            announcement_of(&rival, &lattice, stopped),
            "unneeded",
        ),
        ("another lattice", announcement_of(&peer.insider, "elsewhere", |_| {}), "signature"),
        ("an hour ago", announcement_of(&peer.insider, &lattice, |said| said.time -= 3_600), "time"),
        ("in an hour", announcement_of(&peer.insider, &lattice, |said| said.time += 3_600), "time"),
        ("changed on its way", changed, "signature"),
        ("cut", announcement_of(&peer.insider, &lattice, |_| {})[..200].to_vec(), "malformed"),
    ] {
        let before = dropped(&arena, why).await;
        arena.publish(&subject(&arena), &packet).await;
        println!("{what}: {why}");
        wait_dropped(&arena, why, before + 1).await;
        assert_served(&peer, &url).await;
    }
    // The control: the peer's own word, after all forms of it that were changed or cut on their way.
    peer.finder.hush();
    let draining = announcement_of(&peer.insider, &lattice, |_| {});
    for packet in flipped(&draining).chain(cut(&draining)) {
        arena.publish(&subject(&arena), &packet).await;
    }
    assert_served(&peer, &url).await;
    assert_believed(&arena, &peer, &url, &draining).await;
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_announcement_replayed() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let peer = Peer::join(&arena, &[AFAR]).await;
    let url = arena.stage.expose(AFAR).await;
    assert_served(&peer, &url).await;
    let hash = target_hash(&lattice, AFAR);
    let say = |action, sequence| {
        announcement_of(&peer.insider, &lattice, |said| {
            (said.action, said.sequence, said.target) = (action, sequence, Some(hash));
        })
    };
    let (stopped, started) = (say(Action::Stopped, 1), say(Action::Started, 2));
    for packet in [&stopped, &started] {
        arena.publish(&subject(&arena), packet).await;
    }
    assert_served(&peer, &url).await;
    let before = dropped(&arena, "repeated").await;
    for packet in [&stopped, &stopped, &started] {
        arena.publish(&subject(&arena), packet).await;
    }
    wait_dropped(&arena, "repeated", before + 3).await;
    assert_served(&peer, &url).await;
    // Nor does it come back by what it said before it stopped for good.
    peer.finder.hush();
    assert_believed(&arena, &peer, &url, &say(Action::Stopped, 3)).await;
    let before = dropped(&arena, "repeated").await;
    arena.publish(&subject(&arena), &started).await;
    wait_dropped(&arena, "repeated", before + 1).await;
    assert!(http(&url).await.unwrap().status >= 500);
    assert!(peer.waiting().await.is_none());
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_started_by_a_member_that_may_not_answer() {
    let mut arena = Arena::start().await;
    let lattice = arena.lattice().to_owned();
    let peer = Peer::join(&arena, &[AFAR]).await;
    let url = arena.stage.expose(AFAR).await;
    let from = arena.bus.len();
    assert_served(&peer, &url).await;
    let hash = target_hash(&lattice, AFAR);
    let limited = arena.insider(host_grant(&lattice, &["something-else"], &[]));
    let client = arena.insider(Grant::client(&lattice, Ids::All));
    for insider in [limited, client] {
        let before = dropped(&arena, "not_allowed").await;
        let started = announcement_of(&insider, &lattice, |said| {
            (said.action, said.target) = (Action::Started, Some(hash));
        });
        arena.publish(&subject(&arena), &started).await;
        wait_dropped(&arena, "not_allowed", before + 1).await;
    }
    for _ in 0..10 {
        assert_served(&peer, &url).await;
    }
    assert_asked_only(&arena, from, &peer);
    arena.assert_lives().await;
}

#[tokio::test]
async fn attack_query_that_leads_an_answer_astray() {
    let mut arena = Arena::start().await;
    let hash = target_hash(arena.lattice(), "hello");
    let subject = find_subject(arena.lattice(), hash[0]);
    let query = Query { lowest: 1, highest: 1, nonce: random_bytes(), target: hash };
    // A host's NATS user may write where the attacker's may not: it must not be led to.
    let state = format!("$KV.LATTICEDATA_{}.x", arena.lattice());
    for reply in [state, "wasmbus.ctl.v1.x.host.ping".to_owned(), arena.client.new_inbox()] {
        let before = dropped(&arena, "reply_subject").await;
        let packet = query.encode().into();
        arena.client.publish_with_reply(subject.clone(), reply, packet).await.unwrap();
        wait_dropped(&arena, "reply_subject", before + 1).await;
    }
    // Without a place for the answer there is none; with one there is.
    arena.publish(&subject, &query.encode()).await;
    assert_eq!(ask(&arena.client, arena.lattice(), &arena.issuers, "hello").await, [arena.target.clone()]);
    arena.assert_lives().await;
}
