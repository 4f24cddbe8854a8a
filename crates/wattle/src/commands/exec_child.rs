//! `wattle exec-child`: becomes another program that dies with its parent. Hidden: wattle runs it, people do not.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::failure::Exit;

/// Become another program that dies with its parent
#[derive(Debug, Args)]
pub(crate) struct ExecChildArgs {
    /// The process that is to be the parent
    #[arg(long)]
    parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Asks the kernel to end this process when its parent ends, then becomes the program. Returns only on failure.
pub(crate) fn run(args: &ExecChildArgs) -> anyhow::Result<Exit> {
    die_with_parent(args.parent)?;
    let Some((program, rest)) = args.program.split_first() else { bail!("no program was named") };
    let error = std::process::Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: u32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to be ended with the parent")?;
    // The parent may have died before the kernel knew of the wish: then nobody would ever end this process.
    let actual = getppid().map(|pid| pid.as_raw_nonzero().get());
    if actual.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
        return Ok(());
    }
    bail!("the process {parent} is not the parent (any more)")
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_parent: u32) -> anyhow::Result<()> {
    // Only Linux can promise it; elsewhere the parent ends its children when it stops in an orderly way.
    Ok(())
}
