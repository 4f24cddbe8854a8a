//! From a component's file to an answer over HTTP, and what an operator does with what runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod changes;
mod overview;
mod streams;
mod walk;
