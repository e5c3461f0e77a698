//! The rareclip command line with the components of this crate linked in, as an outsider would
//! build it.

use rareclip_tests as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
