//! The rareclip command line as a library, so that a binary of your own can link further plugins
//! into it:
//!
//! ```no_run
//! // use acme_plugin as _;
//! fn main() -> std::process::ExitCode {
//!     // Where link-time registration does not run: acme_plugin::register();
//!     rareclip_cli::main()
//! }
//! ```

mod args;
mod builtin;
mod commands;
mod config_args;
mod exit;
mod failure;
mod logging;
mod options;
mod plugins;
mod reference;
mod scan;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line of this process and gives its exit code.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let result = logging::start(&args.logging).and_then(|()| {
        plugins::require();
        plugins::check()?;
        commands::run(args.command)
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", failure::told(&error));
            exit::Exit::Failure.into()
        }
    }
}
