//! The lattice crate against real NATS servers, each with a free port and a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod connection;
mod control;
mod server;
mod state;
