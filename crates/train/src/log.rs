//! How a run went, as `log.json` has it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Losses;

/// A whole run so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// The version of rareclip.
    pub version: String,
    /// Settings, selection, images, backbone and directions: what decides the result.
    pub run: Value,
    /// Every step.
    pub steps: Vec<StepLog>,
    /// Every epoch that was finished.
    pub epochs: Vec<EpochLog>,
    /// The epoch, from 1, whose weights are in `tpb.safetensors`.
    pub kept_epoch: Option<u64>,
    /// Whether the run is at its end.
    pub finished: bool,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepLog {
    /// From 1.
    pub step: u64,
    /// From 1.
    pub epoch: u64,
    /// The losses before the step.
    #[serde(flatten)]
    pub losses: Losses,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochLog {
    /// From 1.
    pub epoch: u64,
    /// The mean of the losses of its steps.
    #[serde(flatten)]
    pub losses: Losses,
    /// The prior on the validation category, where there is one.
    pub validation: Option<Validation>,
}

/// How well the prior alone finds the defects of the held out category, map against mask at 256
/// x 256.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Pixel AUROC, 0 to 1.
    pub pixel_auroc: f64,
    /// Pixel AP, 0 to 1: by this epochs are compared, since small defects hardly count in AUROC.
    pub pixel_ap: f64,
}
