//! Attacks on the lattice: somebody with a NATS client, and sometimes with a key that the lattice trusts, tries what the
//! protocol has to withstand. Each attack stands beside its control, where the same bytes as they should be are taken;
//! each is refused with its code, counted, and leaves the host alive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod kit;

mod bounds;
mod certificates;
mod discovery;
mod floods;
mod handshakes;
mod mangled;
mod processes;
mod replays;
mod replies;
mod revocations;
mod rights;
mod signals;
