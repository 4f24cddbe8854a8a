//! What the interoperation tests share: their settings, deadlines, and a seat on a lattice that holds the control client
//! of wasmCloud 1.x and reads the lattice's events.

use std::env;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub mod expect;
pub mod lattice;

/// How long a test waits for one thing.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A setting from the environment.
///
/// # Panics
/// When it is missing: these tests are started by a program that sets up what they need.
pub fn setting(name: &str, meaning: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("set {name}: {meaning}"))
}

/// Waits for something, [`DEADLINE`] at most.
///
/// # Panics
/// When it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}

/// Asks again and again until the answer is there, [`DEADLINE`] at most. For what a host learns a moment after it has
/// answered a command, such as its own writes coming back from the store.
///
/// # Panics
/// When the answer does not come.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
