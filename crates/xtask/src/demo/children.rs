//! Servers that live as long as the demo, and not longer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{GLANCE, on_path, shown};

/// How long a server may take to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The running servers, each with its log in a file. Dropping it ends them, the last one started first.
pub(super) struct Children {
    folder: PathBuf,
    interrupted: Arc<AtomicBool>,
    running: Vec<(String, Child)>,
}

impl Children {
    pub(super) fn new(folder: &Path, interrupted: Arc<AtomicBool>) -> Self {
        Self { folder: folder.to_path_buf(), interrupted, running: Vec::new() }
    }

    /// The working folder of all of them.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Shows the command and starts it. It gets a process group of its own, so that ctrl-c reaches only this program,
    /// which ends its children in order; and the kernel kills it if this program is killed.
    pub(super) fn start(&mut self, name: &str, command: &Command) -> Result<()> {
        use std::os::unix::process::CommandExt as _;
        println!("    $ {} > {name}.log 2>&1 &", shown(command));
        let log = File::create(self.log(name)).with_context(|| format!("cannot write the log of {name}"))?;
        let mut bound = bound_to_us(command);
        bound.current_dir(&self.folder).process_group(0);
        bound.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = bound.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Waits until something is so; fails when the time is up, when a server ended, or on ctrl-c.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.check()?;
            if is_so() {
                return Ok(());
            }
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted while waiting until {what}");
            }
            if Instant::now() >= deadline {
                bail!("waited {} s in vain until {what}", limit.as_secs());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Stays until ctrl-c; a server that ends before is an error.
    pub(super) fn watch_until_interrupted(&mut self) -> Result<()> {
        while !self.interrupted.load(Ordering::Relaxed) {
            self.check()?;
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Prints the end of each log.
    pub(super) fn show_logs(&self) {
        for (name, _) in &self.running {
            let log = std::fs::read(self.log(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last lines of {name}.log");
            for line in &lines[lines.len().saturating_sub(20)..] {
                eprintln!("{line}");
            }
        }
    }

    fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended with {status}");
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        while let Some((name, mut child)) = self.running.pop() {
            if let Err(error) = end(&mut child) {
                eprintln!("warning: cannot end {name} (process {}): {error}", child.id());
            }
        }
    }
}

/// Asks a process to end, and makes it when it does not.
fn end(child: &mut Child) -> std::io::Result<()> {
    // A child that was not waited for keeps its id, so the signal can't hit another process.
    if child.try_wait()?.is_none()
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    {
        kill_process(pid, Signal::TERM)?;
    }
    let deadline = Instant::now() + END_LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// The same command, killed with this process where the machine has `setpriv` (part of util-linux).
fn bound_to_us(command: &Command) -> Command {
    let mut bound = match on_path("setpriv") {
        Some(setpriv) => {
            let mut bound = Command::new(setpriv);
            bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
            bound
        }
        None => Command::new(command.get_program()),
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(folder: &Path) -> Children {
        Children::new(folder, Arc::new(AtomicBool::new(false)))
    }

    #[test]
    fn dropping_ends_what_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = children(folder.path());
        children.start("sleeper", Command::new("sleep").arg("600")).unwrap();
        let pid = Pid::from_raw(i32::try_from(children.running[0].1.id()).unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_ok());
        drop(children);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_server_that_ends_is_noticed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = children(folder.path());
        children.start("short", &Command::new("true")).unwrap();
        let error = children.wait_until("pigs fly", Duration::from_secs(30), || false).unwrap_err();
        assert!(error.to_string().starts_with("short ended with"), "{error}");
    }

    #[test]
    fn waiting_ends_in_time_and_says_for_what() {
        let folder = tempfile::tempdir().unwrap();
        let error = children(folder.path()).wait_until("pigs fly", Duration::ZERO, || false).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain until pigs fly");
    }
}
