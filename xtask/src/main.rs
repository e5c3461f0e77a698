//! Set-up, demo and tests of the rareclip workspace: `cargo xtask --help`.

// Its answers are for people, on stdout.
#![allow(clippy::print_stdout, reason = "it prints its result")]

mod advisories;
mod api;
mod book;
mod cycles;
mod demo;
mod examples;
mod fuzz;
mod native;
mod setup;
mod steps;
mod tools;
mod wrap;

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
    Setup {
        /// Fetch libtorch too, install what faiss is built with, and say how to build with them.
        #[arg(long)]
        native: bool,
    },
    /// Fetch real images of solar cells, build, scan them, and show report and AUROC.
    Demo(demo::DemoArgs),
    /// Fetch what is needed and run every test.
    Test(tools::TestArgs),
    /// Format, lints, docs, dependency rules and the tests, as CI runs them.
    Ci,
    /// Format, lints, docs and dependency rules.
    Lint,
    /// Compare the public interface of rareclip-core with the list that is committed.
    Api(api::ApiArgs),
    /// Refuse import cycles between the files of a crate.
    Cycles,
    /// Refuse comments and Markdown wider than 100 columns.
    Wrap,
    /// Build and test the example plugins, as an outsider would.
    Examples,
    /// Check the links of every page and build the book.
    Book,
    /// Fuzz what reads bytes of requests and files.
    Fuzz(fuzz::FuzzArgs),
}

fn main() -> anyhow::Result<()> {
    if let Some(result) = api::as_rustdoc() {
        return result;
    }
    match Args::parse().task {
        Task::Setup { native } => setup(native),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => tools::test(&args),
        Task::Lint => tools::lint(),
        Task::Api(args) => api::check(&args),
        Task::Cycles => cycles::check(&steps::root()),
        Task::Wrap => wrap::check(),
        Task::Examples => {
            examples::lint()?;
            examples::test()
        }
        Task::Book => book::build().map(|page| println!("{}", page.display())),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Ci => {
            tools::lint()?;
            tools::test(&tools::TestArgs::default())
        }
    }
}

fn setup(native: bool) -> anyhow::Result<()> {
    setup::fetch(&setup::NEEDED)?;
    if native {
        let native = native::Native::get()?;
        let folder = native.libtorch().display();
        println!("LIBTORCH={folder} cargo install --path crates/cli --features tch,faiss");
    }
    Ok(())
}
