//! What every command is given: the form of its output, the time it may take, and how to reach the lattice.

use std::time::Duration;

use crate::failure::Exit;
use crate::output::{Format, Output, print};
use crate::settings::{Layer, Settings, Variables, env};

/// The global part of the command line, and the environment.
#[derive(Clone)]
pub(crate) struct Context {
    /// The form of the output.
    pub(crate) format: Format,
    /// `--timeout`, where it was given.
    pub(crate) timeout: Option<Duration>,
    /// The environment.
    pub(crate) variables: Variables,
    /// The connection flags.
    pub(crate) connection: Layer,
}

impl Context {
    /// Prints the result of a command that succeeded.
    pub(crate) fn print(&self, output: &impl Output) -> anyhow::Result<Exit> {
        print(output, self.format).map(|()| Exit::Success)
    }

    /// The time a command may take, unless `--timeout` says otherwise.
    pub(crate) fn timeout_or(&self, usual: Duration) -> Duration {
        self.timeout.unwrap_or(usual)
    }

    /// The settings of a command that talks to a lattice without being a host.
    ///
    /// # Errors
    /// When an environment variable has a wrong value.
    pub(crate) fn client_settings(&self) -> anyhow::Result<Settings> {
        let environment = env::layer(&self.variables, env::connection)?;
        Ok(Settings::new([self.connection.clone(), environment]))
    }
}
