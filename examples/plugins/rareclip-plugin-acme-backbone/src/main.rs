//! The rareclip command line with the backbone `acme-backbone` linked in.

use rareclip_plugin_acme_backbone as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
