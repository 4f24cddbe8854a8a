//! What a component prints becomes lines in the host's log, under the component's id.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// A longer line is logged in pieces, so that a component can't fill memory by never ending its line.
const MAX_LINE: usize = 4096;

/// Lines that one component may log in [`WINDOW`]; the rest is counted and dropped, so that it can't fill the disk.
const LINES: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// A component's log, shared by all its instances.
pub(crate) struct Log {
    id: Arc<str>,
    budget: Mutex<Budget>,
}

struct Budget {
    since: Instant,
    lines: u32,
    held_back: u64,
}

impl Log {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self { id, budget: Mutex::new(Budget { since: Instant::now(), lines: 0, held_back: 0 }) }
    }

    /// Whether a line of `bytes` may be logged now; tells once a window what could not.
    fn admit(&self, bytes: usize) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.since.elapsed() >= WINDOW {
            if budget.held_back > 0 {
                tracing::warn!(component = %self.id, bytes = budget.held_back, "output was dropped: more than {LINES} lines a second");
            }
            *budget = Budget { since: Instant::now(), lines: 0, held_back: 0 };
        }
        budget.lines = budget.lines.saturating_add(1);
        let admitted = budget.lines <= LINES;
        if !admitted {
            budget.held_back += bytes as u64;
        }
        admitted
    }
}

/// One of a component's two output streams.
#[derive(Clone)]
pub(crate) struct Output {
    log: Arc<Log>,
    stream: &'static str,
}

impl Output {
    pub(crate) fn new(log: &Arc<Log>, stream: &'static str) -> Self {
        Self { log: log.clone(), stream }
    }

    fn write(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        tracing::info!(target: "wattle::component", component = %self.log.id, stream = self.stream, "{}", text.trim_end());
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines { output: self.clone(), partial: Vec::new() })
    }
}

/// Cuts what is written into lines; the rest is logged when the stream is dropped.
struct Lines {
    output: Output,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes at most one line, and says how much that was.
    fn take_line(&mut self, bytes: &[u8]) -> usize {
        let room = &bytes[..bytes.len().min(MAX_LINE - self.partial.len())];
        let end = room.iter().position(|byte| *byte == b'\n').map_or(room.len(), |newline| newline + 1);
        self.partial.extend_from_slice(&room[..end]);
        if self.partial.ends_with(b"\n") || self.partial.len() == MAX_LINE {
            let admitted = self.output.log.admit(self.partial.len());
            if admitted {
                self.output.write(&self.partial);
            }
            self.partial.clear();
        }
        end
    }
}

impl AsyncWrite for Lines {
    /// A line at a time, and not without end: however much a component writes at once, it can be interrupted.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let turn = ready!(tokio::task::coop::poll_proceed(cx));
        turn.made_progress();
        Poll::Ready(Ok(self.take_line(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() && self.output.log.admit(self.partial.len()) {
            self.output.write(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_a_time_and_no_line_without_end() {
        let log = Arc::new(Log::new("id".into()));
        let mut lines = Lines { output: Output::new(&log, "stdout"), partial: Vec::new() };
        assert_eq!(lines.take_line(b"one\ntwo\n"), 4);
        assert_eq!(lines.take_line(b"tw"), 2);
        assert_eq!(lines.partial, b"tw");
        assert_eq!(lines.take_line(b"o\n"), 2);
        assert!(lines.partial.is_empty());
        assert_eq!(lines.take_line(&vec![b'x'; 3 * MAX_LINE]), MAX_LINE);
        assert!(lines.partial.is_empty());
    }

    #[test]
    fn a_flood_is_cut_off() {
        let log = Log::new("id".into());
        assert!((0..LINES).all(|_| log.admit(10)));
        assert!(!log.admit(10));
        assert_eq!(log.budget.lock().unwrap().held_back, 10);
    }
}
