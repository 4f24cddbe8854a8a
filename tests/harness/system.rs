//! What only the operating system knows of a process.

use std::path::PathBuf;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// Sends a signal to a process that the test started.
///
/// # Panics
/// When it does not run any more.
pub fn send_signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
}

/// Whether a process runs: one that ended and was not waited for yet does not.
pub fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|stat| stat.state != "Z" && stat.state != "X")
}

/// The children of a process that run a program of this name.
pub fn children(parent: u32, program: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let wanted = |stat: &Stat| stat.parent == parent && stat.name == program && stat.state != "Z";
    all.filter(|process| stat(*process).is_some_and(|stat| wanted(&stat))).collect()
}

/// The most memory that a process has had in use at once, in bytes, since it began or [`forget_peak_memory`].
pub fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(folder(process).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    kilobytes * 1024
}

/// Lets [`peak_memory`] begin anew, with what is in use now, and gives that.
pub fn forget_peak_memory(process: u32) -> u64 {
    std::fs::write(folder(process).join("clear_refs"), "5").unwrap();
    peak_memory(process)
}

struct Stat {
    name: String,
    state: String,
    parent: u32,
}

fn stat(process: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(folder(process).join("stat")).ok()?;
    // The name is in brackets and may have any letters in it.
    let (before, after) = text.rsplit_once(')')?;
    let mut rest = after.split_whitespace();
    Some(Stat {
        name: before.split_once('(')?.1.to_owned(),
        state: rest.next()?.to_owned(),
        parent: rest.next()?.parse().ok()?,
    })
}

fn folder(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}
