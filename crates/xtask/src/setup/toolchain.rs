//! The Rust toolchain that compiles components.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::layout::Layout;
use crate::process::{is_program, on_path, read, run_within};

/// What people build components for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// What Debian has everything for: the target's linker, its C library, and the standard library's sources.
const PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "lld-19", "wasi-libc"];

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "wasm-ld-19";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

/// Long enough for a slow line. Where there is no line, rustup gives up by itself, much sooner.
const RUSTUP_LIMIT: Duration = Duration::from_secs(600);

/// The checks of cargo that are no part of every toolchain, and what rustup calls them.
const CHECKS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

/// Finds `cargo fmt` and `cargo clippy`, or has rustup fetch them.
pub(crate) fn find_or_install_checks(layout: &Layout) -> Result<()> {
    let missing = || -> Vec<&str> {
        let lacks = |check: &str| {
            let version = layout.cargo().args([check, "--version"]).output();
            !version.is_ok_and(|output| output.status.success())
        };
        CHECKS.into_iter().filter(|(check, _)| lacks(check)).map(|(_, component)| component).collect()
    };
    let before = missing();
    if before.is_empty() {
        return Ok(());
    }
    if on_path("rustup").is_some() {
        eprintln!("    rustup component add {}", before.join(" "));
        let mut add = Command::new("rustup");
        if let Err(error) = run_within(add.args(["component", "add"]).args(&before), RUSTUP_LIMIT) {
            eprintln!("    {error:#}");
        }
    }
    match missing().as_slice() {
        [] => Ok(()),
        still => bail!(
            "{} cannot be run: install what is missing with `rustup component add {}`, or from where your cargo is \
             (Debian: rustfmt, rust-clippy)",
            CHECKS.map(|(check, _)| format!("`cargo {check}`")).join(" or "),
            still.join(" ")
        ),
    }
}

/// What Debian's compiler has to be told: it brings neither a linker nor a C library for the target.
pub(crate) fn debian_flags() -> [String; 4] {
    [
        format!("-Clinker={DEBIAN_LINKER}"),
        "-Clink-self-contained=no".to_owned(),
        "-Zunstable-options".to_owned(),
        format!("-L{DEBIAN_LIBC}"),
    ]
}

/// One of the two ways to compile a component.
pub(crate) enum GuestToolchain {
    /// The user's own compiler has the target; `version` is what it says of itself.
    Target { version: String },
    /// Debian's compiler, which builds the standard library with the guest.
    Debian { rustc: PathBuf, version: String },
}

impl GuestToolchain {
    /// What is here; else rustup's target, which is small; else Debian's packages.
    pub(super) fn find_or_install() -> Result<Self> {
        if let Some(found) = Self::with_target().or_else(Self::with_debian) {
            return Ok(found);
        }
        if on_path("rustup").is_some() {
            eprintln!("    rustup target add {TARGET}");
            match run_within(Command::new("rustup").args(["target", "add", TARGET]), RUSTUP_LIMIT) {
                Ok(()) => {
                    if let Some(found) = Self::with_target() {
                        return Ok(found);
                    }
                }
                Err(error) => eprintln!("    {error:#}"),
            }
        }
        let help = format!(
            "no compiler for WebAssembly: `rustup target add {TARGET}` would do as well, and is the way to take where \
             rustc or rustup are Debian's packages, which its {} can't be installed beside",
            PACKAGES[0]
        );
        debian::install(&PACKAGES).with_context(|| help.clone())?;
        Self::with_debian().context(help)
    }

    /// Asks the compiler, not rustup: it may have come by another way.
    fn with_target() -> Option<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let folder =
            read(Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET])).ok()?;
        let mut libraries = std::fs::read_dir(folder.trim()).ok()?;
        let has_std = libraries
            .any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")));
        let version = read(Command::new(&rustc).args(["--version", "--verbose"])).ok()?;
        has_std.then_some(Self::Target { version })
    }

    fn with_debian() -> Option<Self> {
        let rustc = PathBuf::from(DEBIAN_RUSTC);
        if !is_program(&rustc)
            || on_path(DEBIAN_LINKER).is_none()
            || !Path::new(DEBIAN_LIBC).join("libc.a").is_file()
        {
            return None;
        }
        let sysroot = read(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml");
        let version = read(Command::new(&rustc).args(["--version", "--verbose"])).ok()?;
        sources.is_file().then_some(Self::Debian { rustc, version })
    }

    /// Changes whenever the compiler does.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::Target { version } | Self::Debian { version, .. } => version,
        }
    }
}

impl fmt::Display for GuestToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.version().lines().next().unwrap_or_default();
        match self {
            Self::Target { .. } => write!(f, "{name} with target {TARGET}"),
            Self::Debian { .. } => write!(f, "Debian's {name}"),
        }
    }
}
