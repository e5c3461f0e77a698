//! The rareclip command line with the index `acme-index` linked in.

use rareclip_plugin_acme_index as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
