//! The rareclip command line with the plugins of a company, by each of the three ways in.

// Linked: the crate registers itself.
use rareclip_plugin_acme_backbone as _;
use rareclip_plugin_acme_prompt as _;
use rareclip_plugin_acme_scorer as _;

// Behind a cargo feature of this program.
#[cfg(feature = "index")]
use rareclip_plugin_acme_index as _;

fn main() -> std::process::ExitCode {
    // By hand: for platforms and linkers without link-time constructors, of no harm elsewhere.
    rareclip_plugin_acme_bank::register();
    rareclip_cli::main()
}
