//! Chains of certificates whose signatures were found good: the costly part of checking a caller that comes again.

use std::collections::{HashMap, VecDeque};

use wattle_identity::{Member, verify_chain};

use crate::handshake::{Hash, ReadChain};
use crate::{Error, Trust, Wall};

#[derive(Debug)]
pub(super) struct Chains {
    members: HashMap<Hash, Member>,
    /// In the order in which they came.
    order: VecDeque<Hash>,
    capacity: usize,
}

impl Chains {
    pub(super) fn new(capacity: usize) -> Self {
        Self { members: HashMap::new(), order: VecDeque::new(), capacity }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The member that a chain shows. What can change is checked each time; a chain that fails leaves no trace.
    pub(super) fn verify(
        &mut self,
        chain: &ReadChain<'_>,
        trust: &Trust<'_>,
        lattice: &str,
        wall: Wall,
    ) -> Result<Member, Error> {
        let now = wall.as_secs();
        if let Some(member) = self.members.get(&chain.hash).filter(|member| member.lattice() == lattice) {
            member.check(trust.cluster_issuers, now, trust.revoked)?;
            return Ok(member.clone());
        }
        let member = verify_chain(&chain.tokens, trust.cluster_issuers, lattice, now, trust.revoked)?;
        if self.members.insert(chain.hash, member.clone()).is_none() {
            self.order.push_back(chain.hash);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.members.remove(&oldest);
            }
        }
        Ok(member)
    }
}
