//! Components call each other, and HTTP reaches them, on several hosts of one lattice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod builds;
mod chains;
mod encoding;
mod every_type;
mod http;
mod links;
mod places;
mod random;
mod sight;
mod streams;
