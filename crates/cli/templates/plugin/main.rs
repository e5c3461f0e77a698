//! The rareclip command line with the {{noun}} `{{name}}` linked in.

use {{crate}} as _;

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
