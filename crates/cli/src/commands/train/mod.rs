//! `rareclip train`: the parts of a detector that are learned.

mod args;
#[cfg(feature = "tch")]
mod tpb;

use clap::Subcommand;

pub(crate) use args::TpbArgs;

use crate::exit::Exit;

/// What can be trained.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// The text-patch bridge of the prior (RareCLIP, section 3.1): linear layers that tell defects
    /// of an annotated data set, for use on other products.
    Tpb(Box<TpbArgs>),
}

pub(crate) fn run(command: &TrainCommand) -> anyhow::Result<Exit> {
    match command {
        #[cfg(feature = "tch")]
        TrainCommand::Tpb(args) => tpb::run(args),
        #[cfg(not(feature = "tch"))]
        TrainCommand::Tpb(_) => anyhow::bail!(
            "this program was built without training, which stands on libtorch: build it with `--features tch`, as docs/engines.md says"
        ),
    }
}
