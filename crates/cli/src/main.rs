//! The `rareclip` binary.

fn main() -> std::process::ExitCode {
    rareclip_cli::main()
}
