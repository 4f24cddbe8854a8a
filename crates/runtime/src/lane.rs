//! A lane of its own for components that keep the processor busy.
//!
//! A component runs on the workers that also serve the network, which costs nothing while it is quick. One that has
//! been interrupted several times moves, as it is, to threads of its own: from then on the operating system shares the
//! processor between it and the rest, and a thousand loops don't keep the host from answering.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Interruptions after which a component counts as busy: this many ticks of the engine's clock.
pub(crate) const PATIENCE: u32 = 5;

/// The threads for busy components, started when the first one comes.
#[derive(Default)]
pub(crate) struct Lane(OnceLock<Option<Threads>>);

struct Threads(Option<Runtime>);

impl Lane {
    /// Runs the task on the lane; where no threads can be had, among the rest.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let threads = self.0.get_or_init(Threads::start).as_ref();
        match threads.and_then(|threads| threads.0.as_ref()) {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }
}

impl Threads {
    fn start() -> Option<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let started = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("wattle-busy")
            .enable_all()
            .build();
        match started {
            Ok(runtime) => Some(Self(Some(runtime))),
            Err(error) => {
                tracing::warn!(%error, "no threads for busy components: they run among the rest");
                None
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime may not be dropped where tasks run; this way it ends by itself.
            runtime.shutdown_background();
        }
    }
}
