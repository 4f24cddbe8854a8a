//! Ctrl-c, SIGTERM, and SIGHUP (the terminal is gone): the first asks for an orderly end, the second ends at once.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that did not end in order: 128 and the number of SIGINT, as shells have it.
const ENDED_NOW: i32 = 130;

/// Listens for these signals.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl StopSignals {
    /// From now on none of them ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.interrupt.recv() => "ctrl-c",
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.hang_up.recv() => "SIGHUP",
            else => std::future::pending().await,
        }
    }

    /// From now on the next signal ends the process at once.
    pub(crate) fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            eprintln!("{signal} again: ending now");
            std::process::exit(ENDED_NOW);
        });
    }
}
