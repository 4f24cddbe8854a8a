//! The two keys of a session on one side: one seals, the other opens.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::window::Window;
use super::{
    MAX_AHEAD_MILLIS, MAX_MESSAGES, MAX_PLAINTEXT_LEN, OVERHEAD, Opened, Plaintext, RESERVED_LEN, TAG_LEN,
};
use crate::head::{HEAD_LEN, Head, SessionId, Side};
use crate::{Error, Kind, Monotonic};

/// What a key is for.
pub(super) struct KeyUse {
    pub(super) version: u8,
    pub(super) session: SessionId,
    /// The side that seals with it.
    pub(super) from: Side,
    /// From when times of sealing count here.
    pub(super) origin: Monotonic,
    pub(super) ends_at: Monotonic,
}

/// Seals, each message under a counter of its own.
pub(super) struct SealKey {
    key: LessSafeKey,
    usage: KeyUse,
    next: AtomicU64,
}

/// Opens, each message once.
pub(super) struct OpenKey {
    key: LessSafeKey,
    usage: KeyUse,
    window: Mutex<Window>,
}

/// The counter in network byte order behind four zeros. Each direction has a key of its own, so the counter suffices.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl SealKey {
    pub(super) fn new(key: LessSafeKey, usage: KeyUse) -> Self {
        Self { key, usage, next: AtomicU64::new(0) }
    }

    /// How many counters were taken.
    pub(super) fn count(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn skip_to(&self, counter: u64) {
        self.next.store(counter, Ordering::Relaxed);
    }

    pub(super) fn seal(&self, kind: Kind, plaintext: Plaintext, now: Monotonic) -> Result<Vec<u8>, Error> {
        let Plaintext(mut message) = plaintext;
        let length = message.len() - RESERVED_LEN;
        if length > MAX_PLAINTEXT_LEN {
            return Err(Error::MessageTooLarge { kind, length, max: MAX_PLAINTEXT_LEN });
        }
        if !kind.comes_from(self.usage.from) {
            return Err(Error::WrongDirection { kind });
        }
        if now >= self.usage.ends_at {
            return Err(Error::SessionEnded);
        }
        let sealed_at = u32::try_from(now.since(self.usage.origin)).map_err(|_| Error::SessionEnded)?;
        // Whatever becomes of this message, no other one gets its counter. That the counter comes round again would take
        // 2^64 calls, all but 2^33 of which fail here.
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        if counter >= MAX_MESSAGES {
            return Err(Error::SessionExhausted);
        }
        let head =
            Head { version: self.usage.version, kind, session: self.usage.session, counter }.to_bytes();
        message[..HEAD_LEN].copy_from_slice(&head);
        message[HEAD_LEN..RESERVED_LEN].copy_from_slice(&sealed_at.to_be_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::from(head), &mut message[HEAD_LEN..])
            .map_err(|_| Error::MessageTooLarge { kind, length, max: MAX_PLAINTEXT_LEN })?;
        message.extend_from_slice(tag.as_ref());
        Ok(message)
    }
}

impl OpenKey {
    pub(super) fn new(key: LessSafeKey, usage: KeyUse) -> Self {
        Self { key, usage, window: Mutex::new(Window::new()) }
    }

    pub(super) fn open<'a>(
        &self,
        message: &'a mut [u8],
        now: Monotonic,
        max_age: u64,
    ) -> Result<Opened<'a>, Error> {
        let head = self.check_head(message)?;
        if now >= self.usage.ends_at {
            return Err(Error::SessionEnded);
        }
        // A first look at the window spares the work for a replay; the mark, which counts, comes after the tag.
        self.with_window(|window| window.check(head.counter))?;
        let (clear, sealed) = message.split_at_mut(HEAD_LEN);
        let plaintext = self
            .key
            .open_in_place(nonce(head.counter), Aad::from(clear), sealed)
            .map_err(|_| Error::NotAuthentic)?;
        self.with_window(|window| window.mark(head.counter))?;
        let (sealed_at, plaintext) = plaintext.split_first_chunk_mut().ok_or(CUT)?;
        let age = self.age(u32::from_be_bytes(*sealed_at).into(), now)?;
        if age > max_age {
            return Err(Error::Expired { age, max: max_age });
        }
        Ok(Opened { kind: head.kind, counter: head.counter, age, plaintext })
    }

    fn check_head(&self, message: &[u8]) -> Result<Head, Error> {
        let head = Head::read(message)?;
        if head.session != self.usage.session {
            return Err(Error::UnknownSession { session: head.session });
        }
        if head.version != self.usage.version {
            return Err(Error::WrongVersion { expected: self.usage.version, found: head.version });
        }
        if !head.kind.comes_from(self.usage.from) {
            return Err(Error::WrongDirection { kind: head.kind });
        }
        if head.counter >= MAX_MESSAGES {
            return Err(Error::SessionExhausted);
        }
        let length = message.len().checked_sub(OVERHEAD).ok_or(CUT)?;
        if length > MAX_PLAINTEXT_LEN {
            return Err(Error::MessageTooLarge { kind: head.kind, length, max: MAX_PLAINTEXT_LEN });
        }
        Ok(head)
    }

    fn age(&self, sealed_at: u64, now: Monotonic) -> Result<u64, Error> {
        let elapsed = now.since(self.usage.origin);
        match sealed_at.checked_sub(elapsed) {
            Some(by) if by > MAX_AHEAD_MILLIS => Err(Error::AheadOfTime { by }),
            Some(_) => Ok(0),
            None => Ok(elapsed - sealed_at),
        }
    }

    fn with_window<T>(&self, action: impl FnOnce(&mut Window) -> T) -> T {
        // A window is never left half changed, so one that a panic left behind is good.
        action(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const CUT: Error = Error::MalformedHead { field: "the message", problem: "is cut off" };

const _: () = assert!(OVERHEAD == RESERVED_LEN + TAG_LEN);

/// Keys are not shown.
impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Keys are not shown.
impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenKey").finish_non_exhaustive()
    }
}
