//! What a training run is asked to do.

use std::path::Path;

use rareclip_core::{Backbone, Device};
use rareclip_datasets::Dataset;
use serde_json::Value;

use crate::source::FeatureUse;
use crate::{Directions, Result, Selection, Settings};

/// The file of the weights in the folder of a run.
pub const WEIGHTS: &str = "tpb.safetensors";
/// The file that a run goes on from.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The file of the [`Log`](crate::Log).
pub const LOG: &str = "log.json";

/// A run: what it learns from, how, and where its files go.
pub struct Job<'a> {
    /// The annotated data set.
    pub dataset: &'a Dataset,
    /// Which of its test images.
    pub selection: Selection,
    /// The backbone, which stays as it is.
    pub backbone: &'a dyn Backbone,
    /// All of the backbone's config that decides its features.
    pub backbone_config: &'a Value,
    /// What patches are compared with.
    pub directions: Directions,
    /// How it is learned.
    pub settings: Settings,
    /// What becomes of the features.
    pub features: FeatureUse,
    /// The folder: [`WEIGHTS`], [`CHECKPOINT`], [`LOG`].
    pub out: &'a Path,
    /// Steps between two checkpoints; there is one at the end of every epoch as well.
    pub save_every: u64,
    /// Where the layers are computed.
    pub device: Device,
}

/// What can be known to be wrong before there is a backbone.
///
/// # Errors
/// For a setting out of its range, a name that the data set does not have, an image of which it is
/// not known where it is defective, a selection without any defect, and a device that is not there.
pub fn check(
    dataset: &Dataset,
    selection: &Selection,
    settings: &Settings,
    device: Device,
) -> Result<()> {
    settings.check()?;
    selection.choose(dataset)?;
    rareclip_vit::torch::open(device)?;
    Ok(())
}
