//! `cargo xtask setup`: everything that the other commands need and a fresh Debian machine lacks.
//!
//! What the user already has comes first, then what was fetched before, then what package registries offer. Nothing is
//! asked, nothing is installed where a file in the cache folder does, and a second run only looks.

mod debian;
mod programs;
mod toolchain;

use std::path::PathBuf;

use anyhow::Result;

use crate::layout::Layout;
pub(crate) use toolchain::{GuestToolchain, TARGET, debian_flags, find_or_install_checks};

/// What [`everything`] found or fetched.
pub(crate) struct Tools {
    pub(crate) nats_server: PathBuf,
    pub(crate) registry: PathBuf,
    pub(crate) guests: GuestToolchain,
}

/// Finds or fetches all of it and says what it is.
pub(crate) fn everything(layout: &Layout) -> Result<Tools> {
    let nats_server = programs::nats_server(layout)?;
    eprintln!("    nats-server: {}", nats_server.display());
    let registry = programs::registry(layout)?;
    eprintln!("    OCI registry: {}", registry.display());
    let guests = GuestToolchain::find_or_install()?;
    eprintln!("    WebAssembly: {guests}");
    Ok(Tools { nats_server, registry, guests })
}
