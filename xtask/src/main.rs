//! Set-up, demo and tests of the rareclip workspace: `cargo xtask --help`.

// Its answers are for people, on stdout.
#![allow(clippy::print_stdout)]

mod demo;
mod setup;
mod steps;
mod tools;

use clap::{Parser, Subcommand};

/// Set-up, demo and tests of the rareclip workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch onnxruntime and the weights that demo and tests need.
    Setup,
    /// Fetch real images of solar cells, build, scan them, and show report and AUROC.
    Demo(demo::DemoArgs),
    /// Fetch what is needed and run every test.
    Test(tools::TestArgs),
    /// Format, lints, docs, dependency rules and the tests, as CI runs them.
    Ci,
    /// Format, lints, docs and dependency rules.
    Lint,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Setup => setup::fetch(&["onnxruntime", "dinov2-small"]).map(drop),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => tools::test(&args),
        Task::Lint => tools::lint(),
        Task::Ci => {
            tools::lint()?;
            tools::test(&tools::TestArgs::default())
        }
    }
}
