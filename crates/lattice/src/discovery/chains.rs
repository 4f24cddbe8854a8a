//! Chains of certificates whose signatures were found good: most packets come from members that were heard before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use wattle_identity::{Member, verify_chain};
use wattle_seal::Trust;

type Hash = [u8; 32];

#[derive(Debug)]
pub(super) struct Chains {
    members: HashMap<Hash, Arc<Member>>,
    /// In the order in which they came.
    order: VecDeque<Hash>,
    capacity: usize,
}

impl Chains {
    pub(super) fn new(capacity: usize) -> Self {
        Self { members: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// The member that a chain shows. What can change is checked each time; a chain that fails leaves no trace.
    pub(super) fn verify(
        &mut self,
        chain: &[&str],
        trust: &Trust<'_>,
        lattice: &str,
        wall: u64,
    ) -> Result<Arc<Member>, wattle_identity::Error> {
        let hash = hash(chain);
        if let Some(member) = self.members.get(&hash) {
            member.check(trust.cluster_issuers, wall, trust.revoked)?;
            return Ok(Arc::clone(member));
        }
        let member = Arc::new(verify_chain(chain, trust.cluster_issuers, lattice, wall, trust.revoked)?);
        self.members.insert(hash, Arc::clone(&member));
        self.order.push_back(hash);
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.members.remove(&oldest);
            }
        }
        Ok(member)
    }
}

fn hash(chain: &[&str]) -> Hash {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate.as_bytes());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::testing::{LATTICE, World};
    use std::collections::BTreeSet;

    #[test]
    fn what_can_change_is_checked_each_time_and_memory_is_bounded() {
        let (world, stranger) = (World::new(), World::new());
        let now = world.now;
        let mut chains = Chains::new(2);
        let host = world.host_chain();
        let mut verify = |world: &World, chain: &str, wall| {
            let trust = Trust { cluster_issuers: &world.issuers, revoked: &BTreeSet::new() };
            chains.verify(&[chain], &trust, LATTICE, wall)
        };
        let member = verify(&world, &host, now).unwrap();
        assert!(Arc::ptr_eq(&member, &verify(&world, &host, now).unwrap()));
        assert!(verify(&stranger, &host, now).is_err());
        assert!(verify(&world, &host, now + 100 * 24 * 3600).is_err());
        assert!(verify(&world, &stranger.host_chain(), now).is_err());
        for _ in 0..5 {
            verify(&world, &world.host_chain(), now).unwrap();
        }
        assert_eq!((chains.members.len(), chains.order.len()), (2, 2));
        let trust = Trust { cluster_issuers: &world.issuers, revoked: &BTreeSet::new() };
        assert!(chains.verify(&[&host], &trust, "other", now).is_err());
    }
}
