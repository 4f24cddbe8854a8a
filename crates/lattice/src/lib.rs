//! A member's seat on the lattice: its NATS connection, the state that the lattice keeps in JetStream, the events,
//! discovery and sealed calls, and a client of the control interface.
//!
//! **Invariant**: knows nothing of WebAssembly. It moves bytes and records between members; what they are for is
//! decided above.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wattle_lattice::*;
//!
//! # async fn example(membership: Membership, service: Arc<dyn Service>) -> Result<(), wattle_lattice::Error> {
//! let connection = connect(&ConnectOptions::new(["nats://127.0.0.1:4222"])).await?;
//! let store = Store::open(&connection, StoreOptions::new("default"))?;
//! for (id, spec) in &store.snapshot().specs {
//!     println!("{id} has {} links", spec.links.len());
//! }
//! let control = ControlClient::new(&connection, "wasmbus.ctl", "default")?;
//! println!("{} hosts answered", control.ping(None).await?.len());
//! let seat = Seat::join(&connection, SeatOptions::new("default"), membership, service).await?;
//! seat.serve("echo");
//! # Ok(())
//! # }
//! ```

mod backoff;
mod connection;
mod control_client;
mod discovery;
mod error;
mod events;
mod seat;
mod state;

// The tests inside the crate start servers as those outside of it do.
#[cfg(test)]
extern crate self as wattle_lattice;
#[cfg(test)]
#[path = "../tests/with_nats/server.rs"]
#[allow(dead_code, clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "test code, shared")]
mod test_server;

pub use connection::{
    Auth, ConnectOptions, Connection, ConnectionStatus, TlsOptions, connect, connect_waiting,
};
pub use control_client::ControlClient;
pub use error::Error;
pub use events::{EventPublisher, EventStream};
pub use seat::{
    Answer, Call, CallError, Executed, InStream, Incoming, MAX_STREAM_MESSAGE_LEN, Membership, OutStream,
    Outcome, Seat, SeatLimits, SeatOptions, Service, StreamBroken, Trace,
};
pub use state::{Bucket, Revision, Revisions, Snapshot, Store, StoreOptions, StoreStatus};

pub use async_trait::async_trait;
pub use wattle_identity::Member;
pub use wattle_seal::Address;
pub use wattle_seal::message::{Encoding, MAX_DEPTH, Reason};
