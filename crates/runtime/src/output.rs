//! What a component prints becomes lines in the host's log, under the component's id.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// A longer line is logged in pieces, so that a component can't fill memory by never ending its line.
const MAX_LINE: usize = 4096;

/// One of a component's two output streams.
#[derive(Clone)]
pub(crate) struct Output {
    id: Arc<str>,
    stream: &'static str,
}

impl Output {
    pub(crate) fn new(id: &Arc<str>, stream: &'static str) -> Self {
        Self { id: id.clone(), stream }
    }

    fn log(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        tracing::info!(target: "wattle::component", component = %self.id, stream = self.stream, "{}", text.trim_end());
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

impl AsyncWrite for Lines {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            this.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || this.partial.len() >= MAX_LINE {
                this.output.log(&this.partial);
                this.partial.clear();
            }
        }
        Poll::Ready(Ok(bytes.len()))
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
        if !self.partial.is_empty() {
            self.output.log(&self.partial);
        }
    }
}
