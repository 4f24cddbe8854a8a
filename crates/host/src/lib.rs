//! A wattle host: components and providers on one machine, joined to a lattice.
//!
//! [`Host::start`] joins runtime, lattice, artifacts and providers: it answers the control interface, keeps the
//! lattice's state in view, lets only signed and trusted artifacts run, and brings back after a restart what it was
//! told to run.
//!
//! **Invariant**: this is the only crate that knows both WebAssembly and NATS, and nothing runs here that did not pass
//! the gate in `admission`.
//!
//! ```no_run
//! # async fn example(settings: wattle_host::HostSettings) -> Result<(), wattle_host::Error> {
//! let host = wattle_host::Host::start(settings).await?;
//! println!("{} is {}", host.friendly_name(), host.id());
//! let request = host.stop_requested().await;
//! host.stop(request).await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod admission;
mod calls;
mod components;
mod config;
mod control;
mod data;
mod error;
mod host;
mod limits;
mod links;
mod membership;
mod metrics;
mod names;
mod providers;
mod restore;
mod routes;
mod settings;
mod shared;
mod telemetry;
mod turns;

pub use error::{Error, StartError};
pub use host::{Host, StopRequest};
pub use settings::{CertificateFile, ClusterSettings, HostSettings, Limits, TrustedIssuers, host_public_key};
pub use telemetry::{SpanQueue, Telemetry};
