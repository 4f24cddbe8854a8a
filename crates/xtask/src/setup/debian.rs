//! Debian's packages: installed where a toolchain has to be, only unpacked where one program is wanted.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{on_path, read, run};

/// Installs packages, as root or through a `sudo` that does not ask. What is installed already stays: where packages
/// are in the way of these, it fails.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("    installing {} with apt-get", packages.join(" "));
    update(packages)?;
    let mut install = as_root(packages)?;
    install.args(["apt-get", "install", "--yes", "--no-install-recommends", "--no-remove"]).args(packages);
    run(&mut install).with_context(|| {
        format!(
            "cannot install {}, for the reason that apt-get gives above; if other packages would have to be removed \
             for them, that is left to you",
            packages.join(" ")
        )
    })
}

/// Downloads a package and unpacks it into a folder: no root needed, and no service is started.
pub(super) fn unpack(package: &str, folder: &Path) -> Result<()> {
    eprintln!("    fetching Debian's package {package}");
    if on_path("apt-get").is_none() {
        return by_hand(&[package]);
    }
    if download(package, folder).is_err() {
        // A machine that never ran it has no lists of packages to look in.
        update(&[package])?;
        download(package, folder)?;
    }
    let archive = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("`apt-get download {package}` left no package in {}", folder.display()))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(folder))
}

fn download(package: &str, folder: &Path) -> Result<()> {
    read(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(folder)).map(drop)
}

fn update(packages: &[&str]) -> Result<()> {
    run(as_root(packages)?.args(["apt-get", "update", "--quiet"]))
}

/// `env`, so that what follows as arguments runs as root; `packages` is what it is about if that can't be done.
fn as_root(packages: &[&str]) -> Result<Command> {
    if on_path("apt-get").is_none() {
        by_hand(packages)?;
    }
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else if on_path("sudo").is_some()
        && read(Command::new("sudo").args(["--non-interactive", "true"])).is_ok()
    {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "env"]);
        sudo
    } else {
        bail!(
            "installing needs root, and `sudo` would ask for a password; run this, then try again:\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends --no-remove {}",
            packages.join(" ")
        );
    };
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}

fn by_hand(packages: &[&str]) -> Result<()> {
    bail!(
        "this machine has no apt-get; install what Debian calls {} with its own package manager, then try again",
        packages.join(", ")
    )
}
