//! Processes that live no longer than their test.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{DEADLINE, GLANCE, eventually, programs};

/// Lines of a log that a failing test prints.
const LAST_LINES: usize = 40;

/// A running program whose output goes to a file. Dropping it kills it and everything in its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
    /// Where in the log this process begins: those before it wrote there as well.
    log_start: u64,
}

impl Process {
    /// Starts a command, its output appended to `log`. It gets a process group of its own and no input.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let output = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let log_start = output.metadata().unwrap().len();
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child, status: None, log: log.to_path_buf(), log_start }
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        // Also asked for while a test fails, when another panic would hide the first.
        read().map_or_else(
            |error| format!("(no log: {error})"),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Waits until a line of its log contains `text`, and gives that line.
    pub async fn wait_for_log(&self, text: &str) -> String {
        let what = format!("`{text}` in the log of {}", self.name);
        eventually(&what, DEADLINE, || async {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_none()
    }

    /// Asks it to end.
    pub fn term(&mut self) {
        if self.is_running() {
            kill_process(self.pid(), Signal::TERM).unwrap();
        }
    }

    /// Ends it at once, as kill -9 does.
    pub fn kill9(&mut self) {
        if self.is_running() {
            // Not waited for yet, so the id can't be another process's.
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.kill();
            self.status = Some(self.child.wait().unwrap());
        }
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let end = tokio::time::Instant::now() + DEADLINE;
        while self.is_running() {
            assert!(
                tokio::time::Instant::now() < end,
                "waited {DEADLINE:?} in vain for the end of {}",
                self.name
            );
            tokio::time::sleep(GLANCE).await;
        }
        self.status.unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last lines of {}", self.name);
            for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// A command that is killed with this program, however this ends, where the machine has `setpriv`. Nothing of our
/// environment reaches it but the search path.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = match programs::setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args([
                OsStr::new("--pdeathsig"),
                OsStr::new("KILL"),
                OsStr::new("--"),
                program.as_os_str(),
            ]);
            command
        }
        None => Command::new(program),
    };
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// To the kernel, the parent whose death kills a child is the thread that made it. So one thread that lives as long as
/// this program makes them all.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).unwrap();
    answer.recv().unwrap()
}
