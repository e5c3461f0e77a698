//! The rareclip command line with the bank `acme-bank` linked in.

use rareclip_plugin_acme_bank as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
