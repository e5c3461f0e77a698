//! Traits, registry, configuration, detector and stream of rareclip.
//!
//! An image passes through four slots - [`Backbone`], [`PromptHead`], [`MemoryBank`], [`Scorer`] -
//! and every published detector is a choice of the component in each slot, written in a config
//! file.
//!
//! ```text
//! tensor -> Backbone -> Features -.-> PromptHead -> Prior     (optional; stateless)
//!                                 |-> MemoryBank -> Evidence  (optional; state of one stream)
//!                                 '-> Scorer: Prior + Evidence + Features -> AnomalyMap + score
//!                                       -> Calibrator: score -> p-value, verdict
//! ```
//!
//! A [`Detector`] is the composition; a [`Stream`] is a detector plus the state of one camera and
//! one product. A [`DetectorConfig`] holds the components of its slots; plugins declare theirs with
//! [`register!`].

pub mod backbone;
pub mod bank;
pub mod calibration;
mod component_error;
pub mod config;
mod detector;
mod device;
mod error;
mod files;
mod grid;
pub mod index;
mod median;
pub mod patches;
pub mod prompt;
mod reach;
pub mod registry;
pub mod scorer;
mod slot;
pub mod snapshot;
pub mod state;
mod stream;
pub mod trust;
mod types;
pub mod update;

pub use backbone::{Backbone, BackboneFactory};
pub use bank::{BankStatus, ErasedBank, Learning, MemoryBank, MemoryBankFactory};
pub use calibration::{Calibrator, Judgement, Verdict};
pub use component_error::{BoxError, ComponentError};
pub use config::{ConfigError, DetectorConfig};
pub use detector::Detector;
pub use device::{Device, UnknownDevice};
pub use error::{Error, Result};
pub use files::{write_whole, write_whole_in_folder};
pub use grid::Grid;
pub use index::{Neighbours, Survey, VectorIndex, VectorIndexFactory};
pub use prompt::{PromptHead, PromptHeadFactory};
pub use rareclip_imaging::InputRecipe;
pub use registry::{Component, Declaration};
pub use scorer::{
    ErasedScorer, ScoreInput, Scored, Scorer, ScorerFactory, Stateless, StatelessScorer,
};
pub use slot::Slot;
pub use state::State;
pub use stream::{Assessed, Outcome, PushOptions, Stream};
pub use trust::{Reach, Trust};
pub use types::{
    AnomalyMap, Blur, Branch, Distance, Evidence, FeatureSource, Features, Prior, Role,
};
pub use update::UpdatePolicy;

/// The version of `typetag` that the factory traits are made with: plugins say
/// `use rareclip_core::typetag;`.
pub use typetag;

/// Writes [`State`](trait@State) for a struct: its fields marked `#[state]` are the memory.
pub use rareclip_derive::State;

/// What the macros of this crate refer to; not a part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
