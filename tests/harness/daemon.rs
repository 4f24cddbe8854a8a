//! Commands that stay until they are told to end, started with any flags and any environment.

use std::ffi::OsStr;
use std::path::Path;

use crate::cli::home_of;
use crate::process::{Process, command};
use crate::program;

/// Starts `wattle ARGUMENTS` in a folder, in which also its home is, and does not wait for anything. Its output,
/// both kinds together, is the log.
pub fn daemon<A: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
    environment: &[(&str, &str)],
) -> Process {
    let mut command = command(&program("wattle"));
    command.current_dir(folder).envs(home_of(folder)).envs(environment.iter().copied()).args(arguments);
    Process::start("wattle", command, &folder.join("wattle.log"))
}
