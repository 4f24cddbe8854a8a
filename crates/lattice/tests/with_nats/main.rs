//! The lattice crate against real NATS servers, each with a free port and a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod call_streams;
mod calls;
mod connection;
mod control;
mod lost_peers;
mod members;
mod server;
mod sessions;
mod state;
