//! `rareclip train`: the parts of a detector that are learned.

#[cfg(feature = "tch")]
mod tpb;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use rareclip_core::Device;

use crate::exit::Exit;

/// What can be trained.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// The text-patch bridge of the prior (RareCLIP, section 3.1): linear layers that tell defects of an annotated data set, for use on
    /// other products.
    Tpb(Box<TpbArgs>),
}

/// The command line of `rareclip train tpb`.
#[derive(Debug, ClapArgs)]
#[cfg_attr(
    not(feature = "tch"),
    allow(dead_code, reason = "what reads them is left out")
)]
pub(crate) struct TpbArgs {
    /// The annotated data set, e.g. `visa:DIR` or `mvtec:DIR?category=cable`: its test images and their masks.
    #[arg(long, value_name = "KIND:PATH")]
    dataset: String,
    /// Only these categories; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    categories: Vec<String>,
    /// Only these defect classes, beside the normal images; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    defects: Vec<String>,
    /// Leave a defect class of a category out; may be given often. Published: of MVTec AD cable/missing_cable, transistor/misplaced.
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY/DEFECT")]
    exclude: Vec<String>,
    /// Leave nothing out that the paper leaves out.
    #[arg(long)]
    no_exclusions: bool,
    /// Backbone, blocks, temperature and directions: a config file or the name of a built-in config, with a [prompt] of type "tpb".
    #[arg(short, long, value_name = "FILE|NAME", default_value = "rareclip")]
    config: String,
    /// Change one key of the config; may be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the run: tpb.safetensors, checkpoint.safetensors, log.json, log.html. The same command goes on where it was stopped.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// How often every image is seen.
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: u64,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch: usize,
    /// Step length of Adam.
    #[arg(long, value_name = "RATE", default_value_t = 0.005)]
    learning_rate: f64,
    /// Factor on the loss that keeps bridged patches near the embedding of their image; 0 for none.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    align_weight: f64,
    /// Probability that an image is replaced by a mosaic of four of its category [default: 0.2 on MVTec AD, else 0].
    #[arg(long, value_name = "P")]
    mosaic: Option<f64>,
    /// Decides first weights, order and mosaics.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Hold this category out, measure the prior on it after every epoch, and keep the epoch of the best pixel AP.
    #[arg(long, value_name = "CATEGORY")]
    validate: Option<String>,
    /// End after so many epochs without a better one.
    #[arg(long, value_name = "N", requires = "validate")]
    patience: Option<u64>,
    /// Whether the features of an image are kept on disk or computed anew in every epoch; those of mosaics always are.
    #[arg(long, value_enum, default_value_t = Keep::Cache)]
    features: Keep,
    /// Where features are kept [default: `features` in the folder of --out].
    #[arg(long, value_name = "DIR")]
    features_dir: Option<PathBuf>,
    /// Write a checkpoint every so many steps (and at the end of an epoch).
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Where the layers are computed: cpu, cuda or cuda:N. The backbone runs where `backbone.device` of the config says.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    Cache,
    Recompute,
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
