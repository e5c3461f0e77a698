//! The rareclip command line with the prompt head `acme-prompt` linked in.

use rareclip_plugin_acme_prompt as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
