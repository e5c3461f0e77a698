//! The command line of `rareclip components`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ComponentsCommand {
    /// Every component by slot.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One component with every option: type, default, range, meaning.
    Show {
        /// Its name, or SLOT/NAME where two slots share it.
        name: String,
        /// Print its JSON Schema.
        #[arg(long)]
        json: bool,
    },
}
