//! The established sessions, by their names: where every message is taken first, before any cryptography.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wattle_seal::{Address, Monotonic, Session, SessionId};

use super::party::{Established, Party};

/// Sessions in which this seat calls.
#[derive(Debug, Default)]
pub(super) struct Outgoing(RwLock<HashMap<SessionId, Arc<Established>>>);

impl Outgoing {
    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Established>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn insert(&self, session: &Arc<Established>) {
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(session.session.id(), Arc::clone(session));
    }

    /// Ends those of which this says so, and gives them.
    pub(super) fn end(&self, ends: impl Fn(&Arc<Established>) -> bool) -> Vec<Arc<Established>> {
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<_> =
            sessions.extract_if(|_, session| ends(session)).map(|(_, session)| session).collect();
        drop(sessions);
        ended.iter().for_each(|session| session.end());
        ended
    }
}

/// Sessions in which this seat is called. They are bounded, and none that is dropped before its end is forgotten.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: usize,
    table: RwLock<Table>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionId, Arc<Established>>,
    /// The processes, and how many sessions each has.
    parties: HashMap<Address, (Arc<Party>, usize)>,
    /// How many sessions each member has.
    members: HashMap<String, usize>,
    /// Those that were dropped early, and when they would have ended. How often there can be a handshake bounds them.
    dropped: HashMap<SessionId, Monotonic>,
}

impl Incoming {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), table: RwLock::default(), next: AtomicU64::new(0) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Established>> {
        self.read().sessions.get(id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.read().sessions.len()
    }

    /// Whether a session was dropped before its end, so that nobody can say any more what was opened in it.
    pub(super) fn was_dropped(&self, id: &SessionId) -> bool {
        self.read().dropped.contains_key(id)
    }

    /// Takes in a session that its first message confirmed; gives it with the one that it displaced, if it did.
    pub(super) fn insert(
        &self,
        session: Session,
        now: Monotonic,
    ) -> (Arc<Established>, Option<Arc<Established>>) {
        let address = session.peer_address();
        let mut table = self.write();
        let displaced = if table.sessions.len() >= self.limit { table.displace() } else { None };
        let next = || (Arc::new(Party::new(self.next.fetch_add(1, Ordering::Relaxed), address.clone())), 0);
        let (party, count) = table.parties.entry(address.clone()).or_insert_with(next);
        *count += 1;
        let party = Arc::clone(party);
        let session = Arc::new(Established::new(session, party, false, now));
        session.party.current.store(Some(Arc::clone(&session)));
        *table.members.entry(address.member).or_default() += 1;
        table.sessions.insert(session.session.id(), Arc::clone(&session));
        drop(table);
        displaced.iter().for_each(|session| session.end());
        (session, displaced)
    }

    /// Remembers a session that was never taken in, as if it had been dropped.
    pub(super) fn drop_unseen(&self, session: &Session) {
        self.write().dropped.insert(session.id(), session.ends_at());
    }

    /// Ends those of which this says so before their time, and gives them.
    pub(super) fn end(&self, ends: impl Fn(&Arc<Established>) -> bool) -> Vec<Arc<Established>> {
        let mut table = self.write();
        let ended: Vec<_> = table.sessions.values().filter(|session| ends(session)).cloned().collect();
        ended.iter().for_each(|session| table.remove(session, true));
        drop(table);
        ended.iter().for_each(|session| session.end());
        ended
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: Monotonic) -> Vec<Arc<Established>> {
        let mut table = self.write();
        let over = |session: &&Arc<Established>| now >= session.session.ends_at();
        let over: Vec<_> = table.sessions.values().filter(over).cloned().collect();
        over.iter().for_each(|session| table.remove(session, false));
        table.dropped.retain(|_, ends_at| now < *ends_at);
        drop(table);
        over.iter().for_each(|session| session.end());
        over
    }
}

impl Table {
    /// Drops, of the member that has most sessions, the one that was idle longest: a member that makes many is in nobody's
    /// way but its own.
    fn displace(&mut self) -> Option<Arc<Established>> {
        let most = self.members.values().copied().max().unwrap_or(0);
        let candidates =
            self.sessions.values().filter(|session| self.members.get(session.member.key()) == Some(&most));
        let victim = candidates.min_by_key(|session| session.used()).cloned()?;
        self.remove(&victim, true);
        Some(victim)
    }

    fn remove(&mut self, session: &Arc<Established>, early: bool) {
        let (id, address) = (session.session.id(), &session.party.address);
        if self.sessions.remove(&id).is_none() {
            return;
        }
        if early {
            self.dropped.insert(id, session.session.ends_at());
        }
        if let Some(count) = self.members.get_mut(&address.member) {
            *count -= 1;
            if *count == 0 {
                self.members.remove(&address.member);
            }
        }
        if let Some((_, count)) = self.parties.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(address);
            }
        }
    }
}
