//! Members for tests.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use ring::rand::SystemRandom;
use wattle_identity::{Certificate, Grant, KeyKind, KeyPair, Member, verify_chain};
use wattle_seal::{Address, InstanceId, Wall};

use super::{Discovery, wall};
use crate::Connection;
use crate::seat::{Incoming, Membership, Outcome, Service, SharedStanding, Standing};

pub(super) const LATTICE: &str = "default";

/// A cluster key, and the trust in it.
pub(super) struct World {
    pub(super) cluster: KeyPair,
    pub(super) issuers: Vec<String>,
    pub(super) now: u64,
}

/// A process of a member, by whose key packets can be made by hand.
pub(super) struct Process {
    pub(super) key: KeyPair,
    pub(super) chain: String,
    pub(super) address: Address,
}

impl World {
    pub(super) fn new() -> Self {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let issuers = vec![cluster.public_key()];
        Self { cluster, issuers, now: wall() }
    }

    pub(super) fn certify(&self, key: &KeyPair, grant: Grant) -> String {
        let certificate = Certificate::new(&self.cluster, &key.public_key(), grant, self.now).unwrap();
        certificate.encode(&self.cluster).unwrap()
    }

    pub(super) fn process_with(&self, grant: Grant) -> Process {
        let key = KeyPair::generate(KeyKind::Host).unwrap();
        let chain = self.certify(&key, grant);
        let address = Address { member: key.public_key(), instance: instance() };
        Process { key, chain, address }
    }

    pub(super) fn process(&self) -> Process {
        self.process_with(Grant::host(LATTICE))
    }

    pub(super) fn host_chain(&self) -> String {
        self.process().chain
    }

    pub(super) fn member(&self, process: &Process) -> Arc<Member> {
        let revoked = BTreeSet::new();
        let chain = [process.chain.as_str()];
        Arc::new(verify_chain(&chain, &self.issuers, LATTICE, self.now, &revoked).unwrap())
    }

    pub(super) fn standing(&self, process: &Process) -> SharedStanding {
        let membership = Membership {
            key: process.key.clone(),
            chain: vec![process.chain.clone()],
            issuers: self.issuers.clone(),
            revoked: BTreeSet::new(),
        };
        let wall = Wall::from_secs(self.now);
        let standing = Standing::new(membership, process.address.instance, LATTICE, wall).unwrap();
        Arc::new(ArcSwap::from_pointee(standing))
    }

    /// A host that takes part, with targets and their load.
    pub(super) async fn join(
        &self,
        connection: &Connection,
        targets: &[(&str, u16)],
    ) -> (Process, Discovery) {
        let process = self.process();
        let loads = targets.iter().map(|(id, load)| ((*id).to_owned(), *load)).collect();
        let service = Arc::new(Loads(Mutex::new(loads)));
        let discovery =
            Discovery::start(connection, LATTICE, self.standing(&process), service).await.unwrap();
        targets.iter().for_each(|(id, _)| discovery.serve(id));
        (process, discovery)
    }
}

pub(super) fn instance() -> InstanceId {
    InstanceId::random(&SystemRandom::new()).unwrap()
}

/// Runs what it has a load for, and answers nothing.
struct Loads(Mutex<HashMap<String, u16>>);

#[async_trait]
impl Service for Loads {
    async fn serve(&self, call: Incoming) -> Outcome {
        panic!("discovery calls nothing, and here {} was called", call.target)
    }

    fn load(&self, target: &str) -> Option<u16> {
        self.0.lock().unwrap().get(target).copied()
    }
}
