//! `cargo xtask guests`: the example component and the test components, from their sources to `NAME.wasm`.

mod component;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::Layout;
use crate::process::run;
use crate::setup::{self, GuestToolchain};

/// One component: a folder with a package of its own.
struct Guest {
    name: String,
    folder: PathBuf,
}

/// Builds every guest whose sources or toolchain changed since it was built.
pub(crate) fn build_all(layout: &Layout, toolchain: &GuestToolchain) -> Result<()> {
    for guest in find(&layout.root)? {
        build(layout, toolchain, &guest)
            .with_context(|| format!("cannot build the component `{}`", guest.name))?;
    }
    eprintln!("    components are in {}", layout.guests().display());
    Ok(())
}

/// Whether the guests' sources, which are no part of the workspace, are formatted as its own are.
pub(crate) fn check_format(layout: &Layout) -> Result<()> {
    for guest in find(&layout.root)? {
        run(layout.cargo().args(["fmt", "--check", "--manifest-path"]).arg(guest.folder.join("Cargo.toml")))?;
    }
    Ok(())
}

/// Every package in `examples` and `tests/guests`, by name.
fn find(root: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for parent in [root.join("examples"), root.join("tests").join("guests")] {
        let entries =
            std::fs::read_dir(&parent).with_context(|| format!("cannot list {}", parent.display()))?;
        for entry in entries {
            let folder = entry?.path();
            if folder.join("Cargo.toml").is_file() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                guests.push(Guest { name, folder });
            }
        }
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

fn build(layout: &Layout, toolchain: &GuestToolchain, guest: &Guest) -> Result<()> {
    let output = layout.guests().join(format!("{}.wasm", guest.name));
    let record = layout.guests().join(format!("{}.built-from", guest.name));
    let fingerprint = sources::fingerprint(&[&guest.folder, &layout.root.join("wit")], toolchain.version())?;
    if output.is_file() && std::fs::read_to_string(&record).is_ok_and(|built_from| built_from == fingerprint)
    {
        eprintln!("    {}: unchanged", guest.name);
        return Ok(());
    }
    eprintln!("    {}: building", guest.name);
    // Another checkout may have built its own sources into the same folder; cargo would not see the difference.
    run(&mut cargo(layout, toolchain, guest, "clean", &["--package", &guest.name]))?;
    run(&mut cargo(layout, toolchain, guest, "build", &build_arguments(toolchain)))?;
    let built = layout.guest_build().join(target(toolchain)).join("release");
    let built = built.join(format!("{}.wasm", guest.name.replace('-', "_")));
    let bytes = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let component = component::from_build(&bytes)?;
    write_at_once(&output, &component)?;
    write_at_once(&record, fingerprint.as_bytes())?;
    eprintln!(
        "    {}: {} KiB, exports {}",
        guest.name,
        component.len() / 1024,
        component::exports(&component)?.join(", ")
    );
    Ok(())
}

/// Debian has a C library for the first preview of WASI only; the adapter in the component makes up for it.
fn target(toolchain: &GuestToolchain) -> &'static str {
    match toolchain {
        GuestToolchain::Target { .. } => setup::TARGET,
        GuestToolchain::Debian { .. } => "wasm32-wasip1",
    }
}

fn build_arguments(toolchain: &GuestToolchain) -> Vec<&'static str> {
    match toolchain {
        GuestToolchain::Target { .. } => vec!["--locked"],
        GuestToolchain::Debian { .. } => vec!["--locked", "-Z", "build-std=std,panic_abort"],
    }
}

/// A cargo command on a guest, out of reach of the settings that are meant for the workspace.
fn cargo(
    layout: &Layout,
    toolchain: &GuestToolchain,
    guest: &Guest,
    command: &str,
    arguments: &[&str],
) -> Command {
    let mut cargo = layout.cargo();
    cargo.args([command, "--quiet", "--release", "--target", target(toolchain)]).args(arguments);
    cargo.arg("--target-dir").arg(layout.guest_build());
    cargo.arg("--manifest-path").arg(guest.folder.join("Cargo.toml"));
    // Cargo looks for its settings from the working folder upwards.
    cargo.current_dir(&layout.target);
    for variable in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    match toolchain {
        GuestToolchain::Target { .. } => cargo.env("CARGO_ENCODED_RUSTFLAGS", ""),
        GuestToolchain::Debian { rustc, .. } => cargo
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", setup::debian_flags().join("\u{1f}")),
    };
    cargo
}

/// Whoever reads the file sees all of the old or all of the new.
fn write_at_once(file: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = file.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut part = tempfile::Builder::new().permissions(readable).tempfile_in(folder)?;
    part.write_all(bytes).with_context(|| format!("cannot write into {}", folder.display()))?;
    part.persist(file)?;
    Ok(())
}
