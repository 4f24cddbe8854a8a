//! What a call costs: raw NATS request and reply, a sealed call between two members, and a call between two components
//! of one host, in one run on one machine, each figure beside its baseline.
//!
//! `cargo xtask bench calls` builds and runs it. The echo at the other end of raw and sealed calls is a process of its
//! own, as it would be on a lattice; all of them share the processors of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that can't do its work fails"
)]

mod components;
mod figures;
mod member;
mod raw;

use std::time::Duration;

use wattle_tests::Nats;

use crate::figures::{Figure, Sample, report};

/// Bytes of a call and of its answer.
const BYTES: usize = 128;

/// Callers at a time in the figures that say how much goes through.
const CALLERS: usize = 64;

/// How long each measurement of a round takes.
const TIME: Duration = Duration::from_secs(2);

/// Measurements of each figure; the median counts.
const ROUNDS: usize = 5;

fn main() {
    if cfg!(debug_assertions) {
        panic!("this is a debug build, whose figures mean nothing: cargo xtask bench calls");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match arguments.as_slice() {
            ["serve-raw", url] => raw::serve(url).await,
            ["serve-member", url, seed] => member::serve(url, seed).await,
            [] => report(&measure().await, false),
            ["-o", "json"] => report(&measure().await, true),
            _ => panic!("usage: calls [-o json]"),
        }
    });
}

async fn measure() -> Vec<Figure> {
    let nats = Nats::start().await;
    let raw = raw::Raw::start(&nats.url()).await;
    let member = member::Members::start(&nats.url()).await;
    let components = components::Components::start(&nats).await;
    let mut samples = Vec::new();
    for round in 0..=ROUNDS {
        let sample = Sample {
            raw_1: raw.latency().await,
            sealed_1: member.latency().await,
            local_1: components.latency().await,
            raw_64: raw.rate().await,
            sealed_64: member.rate().await,
            local_64: components.rate().await,
        };
        // The first round warms up.
        if round > 0 {
            samples.push(sample);
        }
    }
    figures::figures(&samples)
}

/// The median of durations, in microseconds.
fn median_micros(mut nanos: Vec<u64>) -> f64 {
    nanos.sort_unstable();
    nanos[nanos.len() / 2] as f64 / 1000.0
}
