//! A member's seat on the lattice: its NATS connection, the state that the lattice keeps in JetStream, the events,
//! and a client of the control interface.
//!
//! **Invariant**: knows nothing of WebAssembly. It moves bytes and records between members; what they are for is
//! decided above.
//!
//! ```no_run
//! use wattle_lattice::{ConnectOptions, ControlClient, Store, StoreOptions, connect};
//!
//! # async fn example() -> Result<(), wattle_lattice::Error> {
//! let connection = connect(&ConnectOptions::new(["nats://127.0.0.1:4222"])).await?;
//! let store = Store::open(&connection, StoreOptions::new("default"))?;
//! for (id, spec) in &store.snapshot().specs {
//!     println!("{id} has {} links", spec.links.len());
//! }
//! let control = ControlClient::new(&connection, "wasmbus.ctl", "default")?;
//! println!("{} hosts answered", control.ping(None).await?.len());
//! # Ok(())
//! # }
//! ```

mod backoff;
mod connection;
mod control_client;
mod error;
mod events;
mod state;

pub use connection::{
    Auth, ConnectOptions, Connection, ConnectionStatus, TlsOptions, connect, connect_waiting,
};
pub use control_client::ControlClient;
pub use error::Error;
pub use events::{EventPublisher, EventStream};
pub use state::{Bucket, Revision, Revisions, Snapshot, Store, StoreOptions, StoreStatus};
