//! Tests and lints.

use std::process::Command;

use clap::Args;

use crate::native::{FEATURES, Native};
use crate::setup;
use crate::steps::{cargo, root, run, tool};

/// Dependency checkers, pinned; installed into the cache folder where they are missing.
const TOOLS: [(&str, &str); 2] = [("cargo-deny", "0.20.2"), ("cargo-machete", "0.9.2")];

/// How the tests run.
#[derive(Args, Default)]
pub(crate) struct TestArgs {
    /// Leave out what needs onnxruntime and weights; such tests then say that they were skipped.
    #[arg(long)]
    offline: bool,
    /// Leave out what stands on libtorch and faiss: training, the backbone vit-tch and the index
    /// faiss.
    #[arg(long)]
    without_native: bool,
}

/// Fetches what the tests need and runs them all.
///
/// # Errors
/// When something cannot be fetched or a test fails.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<()> {
    if !args.offline {
        setup::fetch(&setup::NEEDED)?;
        setup::python()?;
    }
    if args.offline || args.without_native {
        eprintln!("SKIPPED: the tests of training, vit-tch and faiss");
        return run(&mut cargo(&["test"]));
    }
    let native = Native::get()?;
    run(&mut with(&native, &["test", "--workspace"]))?;
    crate::examples::test()
}

/// A cargo command for the whole workspace, features with native libraries included.
fn with(native: &Native, args: &[&str]) -> Command {
    let mut command = cargo(args);
    command.args(FEATURES);
    native.apply(&mut command);
    command
}

/// Format, lints with warnings denied, docs, dependency rules.
///
/// # Errors
/// At the first that fails.
pub(crate) fn lint() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    crate::wrap::check()?;
    crate::cycles::check(&root())?;
    let native = Native::get()?;
    let clippy = ["clippy", "--workspace", "--all-targets"];
    run(with(&native, &clippy).args(["--", "-D", "warnings"]))?;
    // What a user without these libraries builds, and what needs a CUDA toolkit to be linked.
    let plain = ["clippy", "--package", "rareclip", "--", "-D", "warnings"];
    run(&mut cargo(&plain))?;
    run(cargo(&["clippy", "--package", "rareclip-index-faiss"])
        .args([
            "--all-targets",
            "--no-default-features",
            "--features",
            "gpu",
        ])
        .args(["--", "-D", "warnings"]))?;
    let docs = ["doc", "--workspace", "--no-deps"];
    run(with(&native, &docs).env("RUSTDOCFLAGS", "-D warnings"))?;
    crate::examples::lint()?;
    crate::fuzz::lint()?;
    crate::api::check(&crate::api::ApiArgs::default())?;
    crate::book::build()?;
    for (name, version) in TOOLS {
        let tool = tool(name, version, &[])?;
        let mut command = Command::new(&tool);
        command.current_dir(root());
        match name {
            "cargo-deny" => command.args(["check", "bans", "licenses", "sources"]),
            _ => &mut command,
        };
        run(&mut command)?;
        if name == "cargo-deny" {
            // The database is not in a package registry: it is checked where the network allows.
            crate::advisories::check(&tool)?;
        }
    }
    Ok(())
}
