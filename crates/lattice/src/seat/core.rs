//! What all parts of a seat share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_nats::{Client, Subject};
use bytes::Bytes;
use ring::rand::SystemRandom;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wattle_seal::Address;

use super::SeatLimits;
use super::clock::Clock;
use super::counters::{Counted, Counters};
use super::gate::Gate;
use super::handshake::Waiters;
use super::links::{Link, Links};
use super::outbox::Outbox;
use super::party::{Established, Party};
use super::pending::PendingCalls;
use super::served::ServedCalls;
use super::service::Service;
use super::sessions::{Incoming, Outgoing};
use super::standing::SharedStanding;
use crate::Connection;
use crate::discovery::Discovery;

pub(super) struct Core {
    pub(super) connection: Connection,
    pub(super) client: Client,
    pub(super) lattice: String,
    pub(super) address: Address,
    pub(super) limits: SeatLimits,
    pub(super) clock: Clock,
    pub(super) random: SystemRandom,
    pub(super) standing: SharedStanding,
    pub(super) service: Arc<dyn Service>,
    pub(super) discovery: Discovery,
    pub(super) counters: Counters,
    pub(super) outbox: Outbox,
    pub(super) gate: Gate,
    pub(super) inbox: Inbox,
    pub(super) waiters: Waiters,
    pub(super) links: Links,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) pending: PendingCalls,
    pub(super) served: ServedCalls,
    pub(super) draining: AtomicBool,
    /// Told when a process may be gone.
    pub(super) suspicion: Notify,
    /// Cancelled when no more is to be taken from the subject, and when nothing of it is left.
    pub(super) quit: CancellationToken,
    pub(super) quiet: CancellationToken,
    pub(super) closed: CancellationToken,
}

impl Core {
    /// Sends a message of which others decide how many there are.
    pub(super) fn offer(&self, subject: Subject, message: Bytes) {
        if !self.outbox.offer(subject, message) {
            self.counters.word(Counted::Dropped, "small_message");
        }
    }

    /// Gives up the calls of a process with which there is no session any more.
    pub(super) fn abandon_if_alone(&self, party: &Arc<Party>, reason: &str) {
        if party.current.load().is_none() {
            self.served.abandon(party, reason);
        }
    }

    /// Ends a session before its time, and the calls in it.
    pub(super) fn end_session(&self, session: &Arc<Established>, why: &'static str) {
        let ended = if session.calls {
            self.outgoing.end(|other| Arc::ptr_eq(other, session))
        } else {
            self.incoming.end(|other| Arc::ptr_eq(other, session))
        };
        if ended.is_empty() {
            return;
        }
        self.counters.word(Counted::SessionEnded, why);
        let reason = format!("the session with {} ended: {why}", session.member.key());
        self.pending.lose(|pending| Arc::ptr_eq(&pending.session, session), &reason, false);
        self.abandon_if_alone(&session.party, &reason);
    }

    /// A process that is called is gone: ends its sessions and the calls there.
    pub(super) fn lose(&self, link: &Arc<Link>, reason: &str, absent: bool) {
        let ended = self.outgoing.end(|session| Arc::ptr_eq(&session.party, &link.party));
        for _ in &ended {
            self.counters.word(Counted::SessionEnded, "peer_gone");
        }
        link.liveness().rest();
        link.settle();
        self.discovery.gone(link.address());
        let lost = self.pending.lose(|pending| Arc::ptr_eq(&pending.link, link), reason, absent);
        tracing::debug!(peer = %link.address(), reason, lost, "a process that was called is gone");
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The seat's own inbox: what goes to `{prefix}.{letter}{number}` comes back with it.
#[derive(Debug)]
pub(super) struct Inbox(String);

impl Inbox {
    pub(super) fn new(prefix: String) -> Self {
        Self(prefix)
    }

    /// All of them.
    pub(super) fn wildcard(&self) -> String {
        format!("{}.*", self.0)
    }

    pub(super) fn subject(&self, letter: char, number: u64) -> Subject {
        let mut subject = String::with_capacity(self.0.len() + 18);
        subject.push_str(&self.0);
        subject.push('.');
        subject.push(letter);
        put_hex(&mut subject, number);
        subject.into()
    }

    /// The same with two numbers.
    pub(super) fn pair(&self, letter: char, first: u64, second: u64) -> Subject {
        let mut subject = self.subject(letter, first).into_string();
        subject.push('-');
        put_hex(&mut subject, second);
        subject.into()
    }

    /// The letter and the numbers of a subject.
    pub(super) fn parse<'a>(&self, subject: &'a str) -> Option<(u8, &'a str)> {
        let token = subject.strip_prefix(self.0.as_str())?.strip_prefix('.')?;
        let (letter, rest) = token.split_at_checked(1)?;
        Some((*letter.as_bytes().first()?, rest))
    }
}

/// Reads a number of a subject.
pub(super) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn put_hex(out: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (place * 4)) & 0xf;
        out.push(char::from_digit(digit as u32, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn subjects_bring_their_numbers_back(party: u64, call: u64) {
            let inbox = Inbox::new("_INBOX.abc".to_owned());
            let subject = inbox.subject('c', call);
            prop_assert_eq!(subject.as_str(), format!("_INBOX.abc.c{call:x}"));
            let (letter, number) = inbox.parse(&subject).unwrap();
            prop_assert_eq!((letter, hex(number)), (b'c', Some(call)));
            let subject = inbox.pair('s', party, call);
            let (letter, numbers) = inbox.parse(&subject).unwrap();
            let (first, second) = numbers.split_once('-').unwrap();
            prop_assert_eq!((letter, hex(first), hex(second)), (b's', Some(party), Some(call)));
        }

        #[test]
        fn any_subject_is_read_without_panic(rest in "\\PC*") {
            let inbox = Inbox::new("_INBOX.abc".to_owned());
            let _ = inbox.parse(&rest);
            if let Some((_, number)) = inbox.parse(&format!("_INBOX.abc.{rest}")) {
                let _ = hex(number);
            }
        }
    }
}
