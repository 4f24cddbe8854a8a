//! What is sealed: the plaintext of each [`Kind`](crate::Kind), as plain structures.
//!
//! Reading borrows from the plaintext and allocates nothing, whatever lengths it claims. All lengths have bounds, which
//! hold for writing as well.

mod control;
mod frame;
mod reply;
mod request;

pub use control::{Cancel, Ping};
pub use frame::{End, Frame, MAX_FRAME_LEN};
pub use reply::{MAX_REASON_LEN, Outcome, Reason, Refused, Reply};
pub use request::{Encoding, MAX_DEPTH, MAX_NAME_LEN, MAX_TRACE_PARENT_LEN, MAX_TRACE_STATE_LEN, Request};

use crate::Error;
use crate::wire::Reader;

/// The number of a call, given by the process that makes it and used by it only once. All messages of the call name it,
/// also those of another session between the same two processes, when the first was renewed.
pub type CallId = u64;

fn reader(plaintext: &[u8]) -> Reader<'_> {
    Reader::new(plaintext, |field, problem| Error::MalformedContent { field, problem })
}

#[cfg(test)]
mod tests;
