//! The command line as people and programs use it: settings, keys, artifacts, errors, and how a host ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod artifacts;
mod cluster;
mod ending;
mod errors;
mod help;
mod keys;
mod output;
mod settings;
mod shared_file;
