//! Mutual scoring: the unlabelled images of a set tell by one another which of their patches are
//! common and which are not.
//!
//! After *MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of
//! the Unlabeled Images*, Li, Huang, Xue, Zhou, ICLR 2024.
//!
//! * bank `mutual` ([`MutualOptions`]): neighbourhoods of several sizes (LNAMD) and mutual scoring
//!   (MSM), one branch per neighbourhood and block.
//! * scorer `mutual` ([`MutualScorerOptions`]): the mean of the branches, its largest value, and
//!   re-scoring among images that look alike (RsCIN).
//!
//! The bank needs the whole set at once ([`Learning::Batch`](rareclip_core::Learning::Batch)) and
//! remembers nothing.

mod bank;
mod error;
mod neighbourhood;
mod options;
mod scorer;
mod scoring;

pub use error::MutualError;
pub use options::{MutualOptions, MutualScorerOptions};

use rareclip_core::register;

register! {
    bank MutualOptions;
    scorer MutualScorerOptions;
}
