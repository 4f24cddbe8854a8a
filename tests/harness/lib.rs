//! What the end-to-end tests stand on: real servers, real `wattle` processes, and ways to ask them.
//!
//! A test begins with [`Stage::start`] (a NATS server, an OCI registry, a host that trusts one account, the command
//! line), with [`Fleet::start`] (several hosts of one cluster), or puts the parts together itself: [`Nats`],
//! [`Registry`], [`Host`], [`Cli`], [`Keys`]. Every test has its own servers, on ports of its own, so tests run side by
//! side.
//!
//! **Invariant**: nothing of the user's is read or written (environment, home, running servers), and nothing that was
//! started outlives its test: dropping a part ends its process, and the kernel ends it with the test program.
//!
//! Whoever waits says for what, and never longer than [`DEADLINE`]. A failing test prints the last lines of its
//! processes' logs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the harness is test code: what it can't do fails the test that asked for it"
)]

mod bodies;
mod cli;
mod components;
mod control;
mod daemon;
mod events;
mod fleet;
mod foreign;
mod host;
mod http;
mod keys;
mod load;
mod machine;
mod nats;
mod ports;
mod process;
mod programs;
mod push;
mod registry;
mod stage;
mod system;
mod tables;
mod tls_registry;
mod versions;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub use crate::bodies::{assert_echo_flows, pattern};
pub use crate::cli::{Cli, Outcome};
pub use crate::components::{Contract, component, relay, sayer};
pub use crate::control::Control;
pub use crate::daemon::daemon;
pub use crate::events::{Events, events};
pub use crate::fleet::Fleet;
pub use crate::foreign::foreign;
pub use crate::host::{Host, HostOptions};
pub use crate::http::{Answer, Exchange, Upload, fetch, http, http_post};
pub use crate::keys::{Keys, now, sign_for};
pub use crate::load::{Load, Shot, Shots};
pub use crate::machine::Machine;
pub use crate::nats::{Nats, NatsOptions};
pub use crate::ports::{free_address, free_port};
pub use crate::process::Process;
pub use crate::programs::{guest, guest_path, program};
pub use crate::push::{WASM_LAYER, sha256};
pub use crate::registry::{PASSWORD, Registry, USER};
pub use crate::stage::{GREETING, Stage};
pub use crate::system::{Signal, children, forget_peak_memory, is_alive, peak_memory, send_signal};
pub use crate::tables::table_rows;
pub use crate::tls_registry::TlsRegistry;
pub use crate::versions::reworded;

/// How long a test waits for one thing. Generous, because many tests share few processors.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often something that has no other way to be waited for is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(25);

/// Waits for something, [`DEADLINE`] at most.
///
/// # Panics
/// When it does not come; the message says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain for {what}"))
}

/// Asks again and again until the answer is there, for `deadline` at most.
///
/// # Panics
/// When the answer does not come; the message says what was waited for.
pub async fn eventually<T, F>(what: &str, deadline: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        // A question that hangs must not outlast the deadline.
        match timeout(end.saturating_duration_since(Instant::now()) + GLANCE, ask()).await {
            Ok(Some(answer)) => return answer,
            _ => assert!(Instant::now() < end, "waited {deadline:?} in vain for {what}"),
        }
        sleep(GLANCE).await;
    }
}
