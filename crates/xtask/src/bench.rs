//! `cargo xtask bench`: the project's figures, each measured beside its baseline in the same run.

use anyhow::Result;

use crate::layout::Layout;
use crate::lease::Lease;
use crate::process::{run, step};
use crate::{guests, setup};

/// Sets up, builds for release and runs one benchmark; `arguments` go to it.
pub(crate) fn one(layout: &Layout, name: &str, arguments: &[&str]) -> Result<()> {
    let tools = step("setup", || setup::everything(layout))?;
    let _lease = Lease::take(layout, &layout.root.join("Cargo.toml"), &layout.target)?;
    step("guests", || guests::build_all(layout, &tools.guests))?;
    step("build", || {
        run(layout.cargo().args(["build", "--release", "--workspace", "--bin", "wattle"]))?;
        run(layout.cargo().args(["bench", "--workspace", "--bench", name, "--no-run"]))
    })?;
    let mut command = layout.cargo();
    command
        .args(["bench", "--quiet", "--workspace", "--bench", name, "--"])
        .args(arguments)
        .env("WATTLE_BIN", layout.released_wattle())
        .env("WATTLE_GUESTS", layout.guests())
        .env("WATTLE_NATS_SERVER", &tools.nats_server)
        .env("WATTLE_REGISTRY", &tools.registry);
    step("measure", || run(&mut command))
}
