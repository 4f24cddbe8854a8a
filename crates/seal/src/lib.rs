//! Sealed calls: two members of a lattice prove to each other who they are, agree on keys, and exchange messages that
//! nobody else can read, change, redirect or play again.
//!
//! A caller makes an [`Initiator`], sends its offer, reads the answer and has a [`Session`]. The target's [`Responder`]
//! answers offers and hands out the other half of the session when the first message arrives that opens with its keys.
//! The exact bytes are specified in `docs/protocol.md`.
//!
//! **Invariant**: bytes and time go in, bytes come out: no I/O, no async, no clock of its own. No counter is used twice
//! under a key, and nothing that did not open is ever returned.
//!
//! ```
//! use std::collections::BTreeSet;
//! use ring::rand::SystemRandom;
//! use wattle_identity::{Certificate, Grant, KeyKind, KeyPair};
//! use wattle_seal::*;
//!
//! let (now, wall, random) = (Monotonic::from_millis(0), Wall::from_secs(1_790_000_000), SystemRandom::new());
//! let cluster = KeyPair::generate(KeyKind::Cluster)?;
//! let (issuers, revoked) = ([cluster.public_key()], BTreeSet::new());
//! let trust = Trust { cluster_issuers: &issuers, revoked: &revoked };
//!
//! // Two hosts, each with a certificate of the cluster key.
//! let host = || -> Result<Local, Box<dyn std::error::Error>> {
//!     let key = KeyPair::generate(KeyKind::Host)?;
//!     let certificate = Certificate::new(&cluster, &key.public_key(), Grant::host("default"), wall.as_secs())?;
//!     let chain = [certificate.encode(&cluster)?];
//!     Ok(Local::new(key, &chain, InstanceId::random(&random)?, "default", &trust, wall)?)
//! };
//! let (caller, target) = (host()?, host()?);
//!
//! let address = Address { member: target.member().key().to_owned(), instance: target.instance() };
//! let initiator = Initiator::start(&caller, address, now, wall, &random)?;
//! let mut responder = Responder::new(Limits::default());
//! let answer = responder.accept(&target, &trust, initiator.offer(), now, wall, &random)?;
//! let Response::Answer(answer) = initiator.read(&answer, &trust, now, wall)? else { panic!("refused") };
//! let session = initiator.finish(answer)?;
//!
//! let mut ping = session.seal(Kind::Ping, message::Ping { token: 7 }.encode(), now)?;
//! let (_session, opened) = responder.confirm(&mut ping, now, 10_000)?;
//! assert_eq!(message::Ping::decode(opened.plaintext)?.token, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod handshake;
mod head;
mod initiator;
mod local;
pub mod message;
mod refusal;
mod responder;
mod session;
mod time;
mod version;
mod wire;

pub use error::Error;
pub use handshake::{MAX_HANDSHAKE_LEN, MAX_HANDSHAKE_MILLIS};
pub use head::{HEAD_LEN, Head, Kind, Packet, SessionId};
pub use initiator::{Answer, Initiator, Response};
pub use local::{Address, InstanceId, Local, Trust};
pub use refusal::{REFUSAL_LEN, Refusal};
pub use responder::{Limits, Responder};
pub use session::{
    MAX_AHEAD_MILLIS, MAX_MESSAGES, MAX_PLAINTEXT_LEN, OVERHEAD, Opened, Plaintext, RENEW_AFTER_MESSAGES,
    RENEW_AFTER_MILLIS, SESSION_MILLIS, Session, WINDOW,
};
pub use time::{Monotonic, Wall};
pub use version::{Features, VersionRange};

#[cfg(test)]
mod testing;
