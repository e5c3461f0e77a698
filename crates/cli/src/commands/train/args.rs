//! The command line of `rareclip train tpb`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use rareclip_core::Device;

/// The command line of `rareclip train tpb`.
#[derive(Debug, ClapArgs)]
#[cfg_attr(
    not(feature = "tch"),
    allow(dead_code, reason = "what reads them is left out")
)]
pub(crate) struct TpbArgs {
    /// The annotated data set, e.g. `visa:DIR` or `mvtec:DIR?category=cable`: its test images and
    /// their masks.
    #[arg(long, value_name = "KIND:PATH")]
    pub(super) dataset: String,
    /// Only these categories; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(super) categories: Vec<String>,
    /// Only these defect classes, beside the normal images; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(super) defects: Vec<String>,
    /// Leave a defect class of a category out; may be given often. Published: of MVTec AD
    /// cable/missing_cable, transistor/misplaced.
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY/DEFECT")]
    pub(super) exclude: Vec<String>,
    /// Leave nothing out that the paper leaves out.
    #[arg(long)]
    pub(super) no_exclusions: bool,
    /// Backbone, blocks, temperature and directions: a config file or the name of a built-in
    /// config, with a [prompt] of type "tpb".
    #[arg(short, long, value_name = "FILE|NAME", default_value = "rareclip")]
    pub(super) config: String,
    /// Change one key of the config; may be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The folder of the run: tpb.safetensors, checkpoint.safetensors, log.json, log.html. The same
    /// command goes on where it was stopped.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// How often every image is seen.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) epochs: u64,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(super) batch: usize,
    /// Step length of Adam.
    #[arg(long, value_name = "RATE", default_value_t = 0.005)]
    pub(super) learning_rate: f64,
    /// Factor on the loss that keeps bridged patches near the embedding of their image; 0 for none.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(super) align_weight: f64,
    /// Probability that an image is replaced by a mosaic of four of its category [default: 0.2 on
    /// MVTec AD, else 0].
    #[arg(long, value_name = "P")]
    pub(super) mosaic: Option<f64>,
    /// Decides first weights, order and mosaics.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(super) seed: u64,
    /// Hold this category out, measure the prior on it after every epoch, and keep the epoch of the
    /// best pixel AP.
    #[arg(long, value_name = "CATEGORY")]
    pub(super) validate: Option<String>,
    /// End after so many epochs without a better one.
    #[arg(long, value_name = "N", requires = "validate")]
    pub(super) patience: Option<u64>,
    /// Whether the features of an image are kept on disk or computed anew in every epoch; those of
    /// mosaics always are.
    #[arg(long, value_enum, default_value_t = Keep::Cache)]
    pub(super) features: Keep,
    /// Where features are kept [default: `features` in the folder of --out].
    #[arg(long, value_name = "DIR")]
    pub(super) features_dir: Option<PathBuf>,
    /// Write a checkpoint every so many steps (and at the end of an epoch).
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) save_every: u64,
    /// Where the layers are computed: cpu, cuda or cuda:N. The backbone runs where
    /// `backbone.device` of the config says.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(super) device: Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Keep {
    Cache,
    Recompute,
}
