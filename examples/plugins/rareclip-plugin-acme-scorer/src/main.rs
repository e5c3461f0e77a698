//! The rareclip command line with the scorer `acme-scorer` linked in.

use rareclip_plugin_acme_scorer as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
