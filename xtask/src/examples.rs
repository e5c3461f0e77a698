//! The example plugins: a workspace of its own, built and tested as an outsider would.

use std::process::Command;

use crate::steps::{cargo, root, run};

/// The manifest of the workspace.
const MANIFEST: &str = "examples/plugins/Cargo.toml";

fn in_examples(args: &[&str]) -> Command {
    let mut command = cargo(args);
    command.args(["--manifest-path", MANIFEST]);
    // What is the same there and here is built once.
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    command.env("CARGO_TARGET_DIR", target);
    command
}

/// Builds and tests the example plugins.
///
/// # Errors
/// At the first that fails.
pub(crate) fn test() -> anyhow::Result<()> {
    run(&mut in_examples(&["test", "--workspace", "--locked"]))
}

/// Format and lints of the example plugins, with warnings denied.
///
/// # Errors
/// At the first that fails.
pub(crate) fn lint() -> anyhow::Result<()> {
    run(&mut in_examples(&["fmt", "--all", "--check"]))?;
    let mut clippy = in_examples(&["clippy", "--workspace", "--all-targets", "--locked"]);
    run(clippy.args(["--", "-D", "warnings"]))
}
