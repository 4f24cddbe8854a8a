//! The targets that are used here, and who answers for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wattle_identity::Member;
use wattle_protocol::rpc::{Action, Announcement, TargetHash, target_hash};
use wattle_seal::Address;

use super::choice::{Dice, choose};
use super::counters::Dropped;
use super::remote::{Peer, Remote};
use super::target::{Entry, MAX_PEERS, Target};

/// Most targets that are known at a time; of more, those used least recently are forgotten.
const MAX_TARGETS: usize = 4096;

/// A target that nobody called for so long is forgotten.
const UNUSED_FOR: Duration = Duration::from_secs(600);

/// What a look for a peer found.
#[derive(Debug)]
pub(super) enum Found {
    Peer(Peer),
    /// Peers, but only such as the caller does not want.
    Excluded,
    Nobody,
}

/// What a signed answer said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) address: Address,
    pub(super) member: Arc<Member>,
    pub(super) load: u16,
    pub(super) sequence: u64,
    pub(super) draining: bool,
    /// When the query went out that it answers.
    pub(super) asked: Instant,
}

#[derive(Debug)]
pub(super) struct Table {
    lattice: String,
    targets: HashMap<Arc<str>, Target>,
    names: HashMap<TargetHash, Arc<str>>,
    remotes: HashMap<Address, Arc<Remote>>,
    dice: Dice,
}

impl Table {
    pub(super) fn new(lattice: &str, dice: Dice) -> Self {
        let (targets, names, remotes) = Default::default();
        Self { lattice: lattice.to_owned(), targets, names, remotes, dice }
    }

    pub(super) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Processes that are known, also those that are gone and not forgotten yet.
    pub(super) fn remotes(&self) -> usize {
        self.remotes.len()
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &TargetHash> {
        self.names.keys()
    }

    pub(super) fn target(&mut self, id: &str) -> Option<&mut Target> {
        self.targets.get_mut(id)
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.targets.get(id).is_some_and(|target| target.entries.iter().any(Entry::is_usable))
    }

    /// The target, which counts as used from now on. There always is one.
    pub(super) fn using(&mut self, id: &str, now: Instant) -> Option<&mut Target> {
        if !self.targets.contains_key(id) {
            if self.targets.len() >= MAX_TARGETS {
                self.forget_one();
            }
            let (name, hash) = (Arc::<str>::from(id), target_hash(&self.lattice, id));
            self.names.insert(hash, Arc::clone(&name));
            self.targets.insert(name, Target::new(hash, now));
        }
        let target = self.targets.get_mut(id)?;
        target.used = now;
        Some(target)
    }

    fn forget_one(&mut self) {
        let oldest = self.targets.iter().min_by_key(|(_, target)| target.used);
        if let Some(id) = oldest.map(|(id, _)| Arc::clone(id)) {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(target) = self.targets.remove(id) {
            self.names.remove(&target.hash);
            target.wake();
        }
    }

    /// Chooses a peer. `trusted` says whether a member is one still.
    pub(super) fn pick(
        &mut self,
        id: &str,
        exclude: &[Address],
        trusted: impl Fn(&Member) -> bool,
        now: Instant,
    ) -> Found {
        let Some(target) = self.targets.get_mut(id) else { return Found::Nobody };
        loop {
            let usable = || target.entries.iter().enumerate().filter(|(_, entry)| entry.is_usable());
            let wanted = |entry: &Entry| !exclude.iter().any(|address| entry.is(address));
            let (places, candidates): (Vec<_>, Vec<_>) = usable()
                .filter(|(_, entry)| wanted(entry))
                .map(|(place, entry)| (place, entry.candidate()))
                .unzip();
            let Some(chosen) = choose(&candidates, |n| self.dice.below(n)) else {
                return if usable().next().is_some() { Found::Excluded } else { Found::Nobody };
            };
            let entry = &mut target.entries[places[chosen]];
            if trusted(&entry.member) {
                return Found::Peer(Peer::new(&entry.remote));
            }
            entry.out = Some(now);
        }
    }

    /// Whether an answer of this process for the target is worth verifying. Nothing of it is believed yet.
    pub(super) fn admits(&self, id: &str, address: &Address) -> Result<(), Dropped> {
        let target = self.targets.get(id).ok_or(Dropped::Unneeded)?;
        if target.entry(address).is_none() && target.usable() >= MAX_PEERS {
            return Err(Dropped::Surplus);
        }
        Ok(())
    }

    /// Takes in a verified answer.
    pub(super) fn answered(&mut self, id: &str, said: Said, now: Instant) -> Result<(), Dropped> {
        let target = self.targets.get_mut(id).ok_or(Dropped::Unneeded)?;
        let remote = self.remotes.entry(said.address.clone());
        let remote = Arc::clone(remote.or_insert_with(|| Arc::new(Remote::new(said.address.clone(), now))));
        let mut state = remote.state();
        if said.sequence < state.sequence {
            return Err(Dropped::Repeated);
        }
        state.answered(now.saturating_duration_since(said.asked), now);
        // An answer to what was asked before calls failed proves nothing.
        state.gone = state.gone.filter(|gone| *gone >= said.asked);
        drop(state);
        let Some(entry) = target.entry_mut(&said.address) else {
            if !said.draining {
                target.add(remote, said.member, said.load, said.sequence);
            }
            return Ok(());
        };
        if said.sequence < entry.sequence || entry.out.is_some_and(|out| out >= said.asked) {
            return Err(Dropped::Repeated);
        }
        (entry.member, entry.load, entry.sequence, entry.missed) = (said.member, said.load, said.sequence, 0);
        entry.out = said.draining.then_some(now);
        target.wake();
        Ok(())
    }

    /// Whether an announcement is worth verifying: for which target that is used here, if for one. Nothing of it is
    /// believed yet.
    pub(super) fn concerns(
        &self,
        said: &Announcement<'_>,
        address: &Address,
    ) -> Result<Option<Arc<str>>, Dropped> {
        let remote = self.remotes.get(address);
        let Some(hash) = &said.target else {
            let latest = remote.ok_or(Dropped::Unneeded)?.state().sequence;
            return if said.sequence > latest { Ok(None) } else { Err(Dropped::Repeated) };
        };
        let name = self.names.get(hash).ok_or(Dropped::Unneeded)?;
        let target = self.targets.get(name).ok_or(Dropped::Unneeded)?;
        let entry = target.entry(address);
        if entry.is_some_and(|entry| said.sequence <= entry.sequence()) {
            return Err(Dropped::Repeated);
        }
        // Only its answer shows that a process lives to which calls failed.
        let is_gone = remote.is_some_and(|remote| remote.state().gone.is_some());
        let is_needed = if said.action == Action::Started { !is_gone } else { entry.is_some() };
        if !is_needed {
            return Err(Dropped::Unneeded);
        }
        if entry.is_none() && target.usable() >= MAX_PEERS {
            return Err(Dropped::Surplus);
        }
        Ok(Some(Arc::clone(name)))
    }

    /// Takes in a verified announcement for a target, or for all.
    pub(super) fn announced(
        &mut self,
        id: Option<&str>,
        said: &Announcement<'_>,
        address: &Address,
        member: Arc<Member>,
        now: Instant,
    ) -> Result<(), Dropped> {
        match id {
            None => self.announced_for_all(said, address, now),
            Some(id) => self.announced_for(id, said, address, member, now),
        }
    }

    fn announced_for_all(
        &mut self,
        said: &Announcement<'_>,
        address: &Address,
        now: Instant,
    ) -> Result<(), Dropped> {
        let mut state = self.remotes.get(address).ok_or(Dropped::Unneeded)?.state();
        if said.sequence <= state.sequence {
            return Err(Dropped::Repeated);
        }
        state.sequence = said.sequence;
        drop(state);
        for target in self.targets.values_mut() {
            if let Some(entry) = target.entry_mut(address) {
                entry.out = Some(now);
                target.wake();
            }
        }
        Ok(())
    }

    fn announced_for(
        &mut self,
        id: &str,
        said: &Announcement<'_>,
        address: &Address,
        member: Arc<Member>,
        now: Instant,
    ) -> Result<(), Dropped> {
        let started = said.action == Action::Started;
        let remote = self.remotes.get(address).map(Arc::clone);
        let target = self.targets.get_mut(id).ok_or(Dropped::Unneeded)?;
        if let Some(entry) = target.entry_mut(address) {
            if said.sequence <= entry.sequence() {
                return Err(Dropped::Repeated);
            }
            entry.sequence = said.sequence;
            entry.out = (!started).then_some(now);
            if started {
                (entry.member, entry.missed, entry.load) = (member, 0, 0);
            }
            target.wake();
            return Ok(());
        }
        let is_old = |remote: &Arc<Remote>| {
            let state = remote.state();
            state.gone.is_some() || said.sequence <= state.sequence
        };
        if !started || remote.as_ref().is_some_and(is_old) {
            return Err(Dropped::Unneeded);
        }
        let remote = remote.unwrap_or_else(|| {
            let remote = Arc::new(Remote::new(address.clone(), now));
            self.remotes.insert(address.clone(), Arc::clone(&remote));
            remote
        });
        target.add(remote, member, 0, said.sequence);
        Ok(())
    }

    /// Calls don't reach a process.
    pub(super) fn gone(&self, address: &Address, now: Instant) {
        if let Some(remote) = self.remotes.get(address) {
            remote.state().gone = Some(now);
        }
    }

    /// A process said that it does not take calls for the target.
    pub(super) fn not_here(&mut self, id: &str, address: &Address, now: Instant) {
        if let Some(entry) = self.targets.get_mut(id).and_then(|target| target.entry_mut(address)) {
            entry.out = Some(now);
        }
    }

    pub(super) fn measured(&self, address: &Address, round_trip: Duration, now: Instant) {
        if let Some(remote) = self.remotes.get(address) {
            remote.state().measured(round_trip, now);
        }
    }

    /// Forgets what is not used, and what is gone for so long that nothing old about it can come any more.
    pub(super) fn tidy(&mut self, now: Instant) {
        let is_unused = |target: &Target| now.saturating_duration_since(target.used) > UNUSED_FOR;
        let unused = self.targets.iter().filter(|(_, target)| is_unused(target));
        let unused: Vec<_> = unused.map(|(id, _)| Arc::clone(id)).collect();
        unused.iter().for_each(|id| self.forget(id));
        for target in self.targets.values_mut() {
            target.entries.retain(|entry| !entry.is_over(now));
        }
        self.remotes.retain(|_, remote| Arc::strong_count(remote) > 1);
    }
}

#[cfg(test)]
mod tests;
