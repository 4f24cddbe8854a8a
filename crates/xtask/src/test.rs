//! `cargo xtask test`: every check that a change has to pass.

use std::process::Command;

use anyhow::Result;

use crate::layout::Layout;
use crate::lease::Lease;
use crate::process::{run, step};
use crate::setup::Tools;
use crate::{guests, setup};

/// All of them.
pub(crate) fn everything(layout: &Layout) -> Result<()> {
    let tools = step("setup", || {
        setup::find_or_install_checks(layout)?;
        setup::everything(layout)
    })?;
    let _lease = workspace_lease(layout)?;
    step("formatting", || {
        run(layout.cargo().args(["fmt", "--all", "--check"]))?;
        guests::check_format(layout)
    })?;
    step("lints", || {
        run(layout.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    tests(layout, &tools, &[])
}

/// The tests that `cargo test` picks with these arguments, and what these need.
pub(crate) fn only(layout: &Layout, arguments: &[&str]) -> Result<()> {
    let tools = step("setup", || setup::everything(layout))?;
    let _lease = workspace_lease(layout)?;
    tests(layout, &tools, arguments)
}

fn workspace_lease(layout: &Layout) -> Result<Lease<'_>> {
    Lease::take(layout, &layout.root.join("Cargo.toml"), &layout.target)
}

fn tests(layout: &Layout, tools: &Tools, arguments: &[&str]) -> Result<()> {
    step("guests", || guests::build_all(layout, &tools.guests))?;
    // All targets of all packages at once, so that the binary and the tests agree on the features of what they share
    // and nothing is compiled twice.
    step("build", || run(layout.cargo().args(["build", "--workspace", "--all-targets"])))?;
    let _foreign = if layout.foreign_manifest().is_file() {
        let lease = Lease::take(layout, &layout.foreign_manifest(), &layout.foreign_target())?;
        step("foreign tools", || run(&mut foreign_build(layout)))?;
        Some(lease)
    } else {
        None
    };
    step("tests", || {
        let mut command = layout.cargo();
        command
            .env("WATTLE_BIN", layout.wattle())
            .env("WATTLE_GUESTS", layout.guests())
            .env("WATTLE_NATS_SERVER", &tools.nats_server)
            .env("WATTLE_REGISTRY", &tools.registry)
            .env("WATTLE_FOREIGN_TARGET", layout.foreign_target());
        run(command.args(["test", "--workspace"]).args(arguments))
    })
}

/// Compiles the tests with foreign tools ahead, so that the end-to-end test that runs them only waits for their run.
fn foreign_build(layout: &Layout) -> Command {
    let mut command = layout.cargo();
    command
        .args(["test", "--no-run", "--locked", "--manifest-path"])
        .arg(layout.foreign_manifest())
        .env("CARGO_TARGET_DIR", layout.foreign_target());
    command
}
