//! The command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::command;
use crate::{DEADLINE, Nats, program};

/// Runs `wattle` commands on one lattice, with a home of their own.
#[derive(Debug)]
pub struct Cli {
    home: TempDir,
    env: Vec<(OsString, OsString)>,
}

/// What a command did.
pub struct Outcome {
    /// The command as typed.
    pub line: String,
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Cli {
    /// Commands for the lattice of this server.
    pub fn new(nats: &Nats) -> Self {
        Self::anywhere().env("WATTLE_NATS_URL", nats.url()).env("WATTLE_LATTICE", nats.lattice())
    }

    /// Commands that know of no lattice.
    pub fn anywhere() -> Self {
        let home = tempfile::Builder::new().prefix("wattle-cli-").tempdir().unwrap();
        Self { env: home_of(home.path()), home }
    }

    /// The same with an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// The folder in which the commands run: relative paths are in here, and keys in `home`.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Runs `wattle ARGUMENTS` to its end.
    ///
    /// # Panics
    /// When it does not end within twice [`DEADLINE`]: commands have a time limit of their own, which is to be seen.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        let mut base = command(&program("wattle"));
        base.envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(self.home.path());
        let mut line = "wattle".to_owned();
        for argument in arguments {
            line.push(' ');
            line.push_str(&argument.as_ref().to_string_lossy());
            base.arg(argument);
        }
        let mut command = Command::from(base);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(2 * DEADLINE, command.output()).await;
        let output =
            output.unwrap_or_else(|_| panic!("`{line}` did not end within {:?}", 2 * DEADLINE)).unwrap();
        Outcome {
            line,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// The command succeeded.
    ///
    /// # Panics
    /// When it did not; the message has its output.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The command failed with a message that has all of these words.
    ///
    /// # Panics
    /// When it succeeded, was ended by a signal, or says something else.
    #[track_caller]
    pub fn failed(self, words: &[&str]) -> Self {
        assert!(self.code.is_some_and(|code| code != 0), "should have failed: {self}");
        for word in words {
            assert!(self.stderr.contains(word), "the error does not say `{word}`: {self}");
        }
        self
    }

    /// What it printed with `-o json`.
    ///
    /// # Panics
    /// When that is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` exited with {:?}\n{}\n{}", self.line, self.code, self.stdout, self.stderr)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The environment of a program that is to find its home in this folder, and nothing of the user's.
pub(crate) fn home_of(folder: &Path) -> Vec<(OsString, OsString)> {
    let home = folder.join("home");
    std::fs::create_dir_all(&home).unwrap();
    vec![("HOME".into(), home.into()), ("NO_COLOR".into(), "1".into())]
}
