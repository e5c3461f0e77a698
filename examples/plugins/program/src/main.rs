//! The rareclip command line with the plugins of a company, by each of the three ways in.

// Linked: the crate registers itself.
use rareclip_plugin_acme_backbone as _;
use rareclip_plugin_acme_prompt as _;
use rareclip_plugin_acme_scorer as _;

// Behind a cargo feature of this program.
#[cfg(feature = "index")]
use rareclip_plugin_acme_index as _;

fn main() -> std::process::ExitCode {
    // Links the crate, and makes the program check at start that its components are there.
    rareclip_plugin_acme_bank::register();
    rareclip_cli::main()
}
