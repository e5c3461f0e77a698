//! Training of RareCLIP's text-patch bridge (TPB): one linear layer per block that brings patch
//! tokens to the joint embedding (ICCV 2025, section 3.1).
//!
//! * [`Trainer`] is the arithmetic: losses, gradients and Adam on libtorch. Numbers go in and come
//!   out as `ndarray`.
//! * [`train`](fn@train) is a run: which images ([`Selection`]), in which order, mosaics,
//!   checkpoints, early stop, and the weights with their provenance in a folder that the same
//!   [`Job`] goes on in.
//!
//! The backbone stays as it is. What the patches are compared with is either fixed, the text
//! embeddings of "normal" and "abnormal", or learned along ([`Directions`]), for backbones that
//! have no text side.

mod adam;
mod checkpoint;
mod describe;
mod draws;
mod error;
mod job;
mod log;
mod loss;
mod mosaic;
mod objective;
mod run;
mod selection;
mod settings;
mod source;
mod tensors;
mod trainer;
mod watch;
mod weights;

pub use error::{Error, Result};
pub use job::{CHECKPOINT, Job, LOG, WEIGHTS, check};
pub use log::{EpochLog, Log, StepLog, Validation};
pub use objective::{Adam, Losses, Objective};
pub use rareclip_pipeline::Progress;
pub use run::train;
pub use selection::Selection;
pub use settings::Settings;
pub use source::FeatureUse;
pub use trainer::{Example, Inspection, Trainer};
pub use watch::{Event, Outcome};
pub use weights::{Directions, Layer, Weights};
