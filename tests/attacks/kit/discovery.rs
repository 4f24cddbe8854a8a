//! Finding members, and being found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::Client;
use data_encoding::HEXLOWER;
use futures::StreamExt as _;
use futures::stream::select_all;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use wattle_identity::verify_chain;
use wattle_protocol::rpc::{
    Action, Announcement, Answer, Packet, Query, answer_subject, answer_subjects, find_subject,
    is_answer_subject, target_hash,
};
use wattle_seal::{Address, InstanceId};
use wattle_tests::{DEADLINE, eventually};

use super::{Insider, random_bytes, wall};

/// Asks the lattice for a target until somebody answers, whose certificates are good.
pub(crate) async fn find(client: &Client, lattice: &str, issuers: &[String], target: &str) -> Address {
    let what = format!("an answer from where `{target}` runs");
    eventually(&what, DEADLINE, || async { ask(client, lattice, issuers, target).await.into_iter().next() })
        .await
}

/// Asks the lattice for a target once, and gives all whose answers come within half a second.
pub(crate) async fn ask(client: &Client, lattice: &str, issuers: &[String], target: &str) -> Vec<Address> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(answer_subjects(&inbox)).await.unwrap();
    let hash = target_hash(lattice, target);
    let query = Query { lowest: 1, highest: 1, nonce: random_bytes(), target: hash };
    let reply = answer_subject(&inbox, &query.nonce);
    client.publish_with_reply(find_subject(lattice, hash[0]), reply, query.encode().into()).await.unwrap();
    let mut found = Vec::new();
    while let Ok(Some(message)) = timeout(Duration::from_millis(500), answers.next()).await {
        let Ok(Packet::Answer(signed)) = Packet::decode(&message.payload) else { continue };
        let answer = &signed.content;
        let member =
            verify_chain(&answer.chain, issuers, lattice, wall().as_secs(), &Default::default()).unwrap();
        wattle_identity::keys::verify(member.key(), &signed.message(lattice), signed.signature).unwrap();
        assert_eq!((answer.nonce, answer.target), (query.nonce, query.target));
        if !answer.draining {
            found.push(Address { member: member.key().to_owned(), instance: instance(&answer.instance) });
        }
    }
    found
}

/// The name of a process by its bytes.
pub(crate) fn instance(bytes: &[u8; 16]) -> InstanceId {
    HEXLOWER.encode(bytes).parse().unwrap()
}

/// An answer to a query, as somebody who is idle gives it, with something changed before it is signed.
pub(crate) fn answer_for(
    query: &Query,
    insider: &Insider,
    lattice: &str,
    edit: impl FnOnce(&mut Answer<'_>),
) -> Vec<u8> {
    let member = insider.shown();
    let mut answer = Answer {
        version: 1,
        nonce: query.nonce,
        target: query.target,
        instance: *insider.instance.as_bytes(),
        sequence: 0,
        load: 0,
        draining: false,
        member: &member,
        chain: insider.chain.iter().map(String::as_str).collect(),
    };
    edit(&mut answer);
    answer.encode(lattice, |message| insider.key.sign(message)).unwrap()
}

/// An announcement of somebody, with something changed before it is signed. Unless changed, it says that the process of
/// the insider drains.
pub(crate) fn announcement_of(
    insider: &Insider,
    lattice: &str,
    edit: impl FnOnce(&mut Announcement<'_>),
) -> Vec<u8> {
    let member = insider.shown();
    let mut announcement = Announcement {
        action: Action::Draining,
        time: wall().as_secs(),
        instance: *insider.instance.as_bytes(),
        sequence: 1_000_000,
        target: None,
        member: &member,
        chain: insider.chain.iter().map(String::as_str).collect(),
    };
    edit(&mut announcement);
    announcement.encode(lattice, |message| insider.key.sign(message)).unwrap()
}

/// Answers queries for some targets.
pub(crate) struct Finder {
    silent: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Finder {
    pub(crate) async fn start(client: &Client, lattice: &str, insider: &Insider, targets: &[&str]) -> Self {
        let mut buckets = BTreeMap::new();
        let hashes: Vec<_> = targets.iter().map(|target| target_hash(lattice, target)).collect();
        for hash in &hashes {
            buckets.insert(hash[0], client.subscribe(find_subject(lattice, hash[0])).await.unwrap());
        }
        client.flush().await.unwrap();
        let silent = Arc::new(AtomicBool::new(false));
        let (client, insider, lattice) = (client.clone(), insider.clone(), lattice.to_owned());
        let quiet = Arc::clone(&silent);
        let task = tokio::spawn(async move {
            let mut queries = select_all(buckets.into_values());
            while let Some(message) = queries.next().await {
                let (Ok(Packet::Query(query)), Some(reply)) =
                    (Packet::decode(&message.payload), message.reply)
                else {
                    continue;
                };
                let asked = hashes.contains(&query.target) && is_answer_subject(&reply, &query.nonce);
                if asked && !quiet.load(Ordering::Relaxed) {
                    let answer = answer_for(&query, &insider, &lattice, |_| {});
                    client.publish(reply, answer.into()).await.unwrap();
                }
            }
        });
        Self { silent, task }
    }

    /// Answers no query from now on.
    pub(crate) fn hush(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Answers queries again.
    pub(crate) fn speak(&self) {
        self.silent.store(false, Ordering::Relaxed);
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
