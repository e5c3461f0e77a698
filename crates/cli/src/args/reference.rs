//! The command line of `rareclip reference`.

/// `rareclip reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReferenceArgs {
    /// The folder; pages of components and commands that are not in this program stay as they are.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: std::path::PathBuf,
    /// Write nothing; end with exit code 1 if a page in the folder is not what would be written.
    #[arg(long)]
    pub(crate) check: bool,
}
