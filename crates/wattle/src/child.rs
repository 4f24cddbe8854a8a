//! Child processes that never outlive this one, however it ends.
//!
//! A child is started through `wattle exec-child`, which asks the kernel to be killed when its parent dies. To the
//! kernel the parent is the *thread* that made the child, so all are made by one thread, which lives as long as the
//! [`Nursery`]; worker threads of a runtime may end earlier.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

type Request = (Command, oneshot::Sender<std::io::Result<Child>>);

/// The thread that makes children. Those that live when it is dropped are killed.
#[derive(Debug)]
pub(crate) struct Nursery {
    requests: mpsc::UnboundedSender<Request>,
}

impl Nursery {
    /// Starts the thread. Must be called within a tokio runtime, which then reaps the children.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (requests, mut receiver) = mpsc::unbounded_channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("children".to_owned())
            .spawn(move || {
                let _within = runtime.enter();
                while let Some((mut command, reply)) = receiver.blocking_recv() {
                    // Whoever asked may be gone; the child is then killed by being dropped.
                    let _ = reply.send(command.spawn());
                }
            })
            .context("cannot start the thread that makes child processes")?;
        Ok(Self { requests })
    }

    /// Runs a program whose input is empty and whose output goes to a file. It gets a process group of its own, so that
    /// a ctrl-c in the terminal reaches it only through us.
    ///
    /// # Errors
    /// When the log or the program can't be opened.
    pub(crate) async fn spawn(
        &self,
        program: &Path,
        arguments: &[OsString],
        log: &Path,
    ) -> anyhow::Result<Child> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("cannot open the log {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("cannot open the log {}", log.display()))?;
        let mut command = Command::new(this_program()?);
        command.args(["exec-child", "--parent", &std::process::id().to_string(), "--"]);
        command.arg(program).args(arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);

        let (reply, answer) = oneshot::channel();
        let gone = "the thread that makes child processes is gone";
        self.requests.send((command, reply)).ok().context(gone)?;
        let child = answer.await.context(gone)?;
        child.with_context(|| format!("cannot run {}", program.display()))
    }
}

/// This program's file: on Linux the very file that runs, even if a newer one has taken its place.
fn this_program() -> anyhow::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe().context("cannot find this program's own file")
}

/// Asks a child to end, and kills it when it has not ended in time.
pub(crate) async fn stop(child: &mut Child, patience: Duration) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "a child process could not be asked to end");
    }
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        tracing::warn!("a child process did not end within {patience:?} and is killed");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "a child process could not be killed");
        }
    }
}
