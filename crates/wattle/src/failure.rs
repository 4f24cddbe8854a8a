//! How a command ends: the exit codes, and the errors that choose one.

use std::fmt;
use std::process::ExitCode;

use crate::output::{Format, Style};

/// The exit codes of every command. They are printed at the end of `wattle --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did what it says.
    Success = 0,
    /// It failed; the reason is on standard error.
    Failed = 1,
    /// The command line or a setting is wrong (clap uses the same code).
    Usage = 2,
    /// What the command names does not exist: a file, host, component, provider, link, label, config or key.
    NotFound = 3,
    /// Nothing answered, or the outcome was not reported, within the time given.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with an exit code of its own; every other error exits with [`Exit::Failed`].
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The command line or a setting is wrong.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Usage, message: message.into() }.into()
}

/// What the command names does not exist.
pub(crate) fn not_found(message: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::NotFound, message: message.into() }.into()
}

/// The time given passed; `message` says what was waited for.
pub(crate) fn timed_out(message: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::TimedOut, message: message.into() }.into()
}

/// The exit code for an error, wherever in its chain the reason is.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Failed)
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    use wattle_artifact::Error as Artifact;
    use wattle_lattice::Error as Lattice;

    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    match cause.downcast_ref::<Lattice>() {
        Some(Lattice::NoHostAnswered { .. } | Lattice::HostAbsent { .. }) => return Some(Exit::NotFound),
        Some(Lattice::Timeout { .. }) => return Some(Exit::TimedOut),
        Some(Lattice::Option { .. } | Lattice::Name(_) | Lattice::Seed { .. }) => return Some(Exit::Usage),
        _ => {}
    }
    match cause.downcast_ref::<Artifact>() {
        Some(Artifact::NotFound { .. }) => Some(Exit::NotFound),
        Some(Artifact::Timeout { .. }) => Some(Exit::TimedOut),
        _ => None,
    }
}

/// Writes an error to standard error in the form that was asked for.
pub(crate) fn report(error: &anyhow::Error, format: Format) {
    // A library's message often ends with its source's: print what each cause adds, once.
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    match format {
        Format::Text => eprintln!("{} {text}", Style::stderr().error("error:")),
        Format::Json => eprintln!("{}", serde_json::json!({ "error": text })),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_exit_code_survives_context() {
        let error = Err::<(), _>(not_found("no such host")).context("cannot stop").unwrap_err();
        assert_eq!(exit_of(&error), Exit::NotFound);
        assert_eq!(exit_of(&anyhow::anyhow!("something else")), Exit::Failed);
        assert_eq!(exit_of(&timed_out("waited 5 s")), Exit::TimedOut);
        assert_eq!(exit_of(&usage("wrong")), Exit::Usage);
    }

    #[test]
    fn what_the_libraries_say_has_its_code_too() {
        let silent = wattle_lattice::Error::NoHostAnswered { what: "stop".into(), lattice: "lab".into() };
        assert_eq!(exit_of(&anyhow::Error::from(silent).context("sorry")), Exit::NotFound);
        let slow = wattle_lattice::Error::Timeout { what: "stop".into(), after: std::time::Duration::ZERO };
        assert_eq!(exit_of(&slow.into()), Exit::TimedOut);
        let missing = wattle_artifact::Error::NotFound { reference: "a".into(), reason: "b".into() };
        assert_eq!(exit_of(&missing.into()), Exit::NotFound);
    }
}
