//! The control interface of wasmCloud 1.x, message by message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: helpers of tests may fail as tests do"
)]

mod auctions;
mod host;
mod links;
mod state;
mod workloads;

use serde_json::{Value, json};

/// The reply that only says that something was accepted or done.
fn done(message: &str) -> Value {
    json!({ "success": true, "message": message })
}

/// The reply that only says why something was not done.
fn refused(message: &str) -> Value {
    json!({ "success": false, "message": message })
}

/// The reply that only gives data.
fn data(data: Value) -> Value {
    json!({ "success": true, "message": "", "response": data })
}
