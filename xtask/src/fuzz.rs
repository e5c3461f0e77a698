//! Fuzzing: the targets of the crate `fuzz`, run by cargo-fuzz.

use std::process::Command;

use anyhow::ensure;
use clap::Args;

use crate::steps::{cargo, root, run, tool};

/// cargo-fuzz, pinned; installed into the cache folder where it is missing.
const CARGO_FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.2");

/// The targets, as in `fuzz/fuzz_targets`.
const TARGETS: [&str; 3] = ["state_import", "request_config", "pickle"];

/// One input may take so many seconds.
const SECONDS_PER_INPUT: u64 = 25;

/// Memory of a target in MiB.
const MEMORY_MIB: u64 = 2048;

/// What is fuzzed, and for how long.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// The target: state_import, request_config or pickle; all of them, one after another, if it is
    /// left out.
    target: Option<String>,
    /// How long each target runs, in seconds.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    /// The sanitizer the targets are built with: `none` is fast, `address` also finds errors of
    /// unsafe code.
    #[arg(long, value_name = "NAME", default_value = "none")]
    sanitizer: String,
}

/// Format and lints of the targets, with warnings denied.
///
/// # Errors
/// At the first that fails.
pub(crate) fn lint() -> anyhow::Result<()> {
    let in_fuzz = |args: &[&str]| {
        let mut command = cargo(args);
        command.args(["--manifest-path", "fuzz/Cargo.toml"]);
        command
    };
    run(&mut in_fuzz(&["fmt", "--check"]))?;
    let mut clippy = in_fuzz(&["clippy", "--release", "--all-targets", "--locked"]);
    run(clippy.args(["--", "-D", "warnings"]))
}

/// Builds and runs targets. What they find new is kept in `fuzz/corpus`, an input that fails in
/// `fuzz/artifacts`.
///
/// # Errors
/// For a target that is not known, when it cannot be built, or when an input fails.
pub(crate) fn fuzz(args: &FuzzArgs) -> anyhow::Result<()> {
    let chosen: Vec<&str> = match args.target.as_deref() {
        Some(name) => TARGETS.into_iter().filter(|known| *known == name).collect(),
        None => TARGETS.to_vec(),
    };
    ensure!(
        !chosen.is_empty(),
        "unknown fuzz target `{}`. Choose one of {}.",
        args.target.as_deref().unwrap_or_default(),
        TARGETS.join(", ")
    );
    let program = tool(CARGO_FUZZ.0, CARGO_FUZZ.1, &[])?;
    for target in chosen {
        // The first folder takes what is found, so that the seeds stay as they were committed.
        let corpus = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        run(Command::new(&program)
            .current_dir(root())
            .args(["run", target, "--fuzz-dir", "fuzz", "--sanitizer"])
            .arg(&args.sanitizer)
            .arg(corpus)
            .arg(root().join("fuzz/seeds").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-timeout={SECONDS_PER_INPUT}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            // Coverage and sanitizers are options that a stable compiler keeps back.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RAYON_NUM_THREADS", "1"))?;
    }
    Ok(())
}
