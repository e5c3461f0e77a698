//! The rareclip command line as a library, so that a binary of your own can link further plugins into it:
//!
//! ```no_run
//! // use acme_plugin as _;
//! fn main() -> std::process::ExitCode {
//!     rareclip_cli::main()
//! }
//! ```

mod args;
mod builtin;
mod commands;
mod exit;
mod logging;
mod report;
pub mod results;
mod scan;

// Linked for their components, which register themselves.
use rareclip_baselines as _;
use rareclip_index_exact as _;
use rareclip_mutual as _;
use rareclip_neighbours as _;
use rareclip_prompt as _;
use rareclip_rarity as _;
use rareclip_statistics as _;
#[cfg(feature = "ort")]
use rareclip_vit_ort as _;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line of this process and gives its exit code.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let result = logging::start(&args.logging).and_then(|()| {
        startup_check()?;
        commands::run(args.command)
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::Exit::Failure.into()
        }
    }
}

/// A registry without its built-in components means that link-time registration does not run on this platform.
fn startup_check() -> anyhow::Result<()> {
    use rareclip_core::registry;
    let clashes = registry::clashes();
    anyhow::ensure!(
        clashes.is_empty(),
        "two components claim one name: {}; link only one of these crates",
        clashes.join("; ")
    );
    anyhow::ensure!(
        registry::find(rareclip_core::Slot::Bank, "prototype").is_some(),
        "the built-in components are not registered: link-time registration (`inventory`) does not run on this platform or with this linker"
    );
    Ok(())
}
