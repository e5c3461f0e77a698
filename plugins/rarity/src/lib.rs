//! RareCLIP's memory and score: prototype banks that know how often each prototype recurs, and the
//! rarity scorer.
//!
//! After *RareCLIP: Rarity-aware Online Zero-shot Industrial Anomaly Detection*, He, Cao, Peng,
//! Xie, ICCV 2025.
//!
//! * bank `prototype` ([`PrototypeOptions`]): RareCLIP. Per branch - one neighbourhood size on one
//!   block - a bank of prototype patches and the rarity matrix: how well each prototype was matched
//!   in each remembered image.
//! * bank `prototype-direct` ([`DirectOptions`]): RareCLIP-d, which compares with a sample of every
//!   remembered image.
//! * scorer `rarity` ([`RarityOptions`]): foreground, image rarity, fusion with the text prior, map
//!   and re-scoring.

mod calibrate;
mod direct;
mod earlier;
mod error;
mod options;
mod pool;
mod prototype;
mod recurrence;
mod sampler;
mod scorer;

#[cfg(test)]
mod golden;

pub use error::RarityError;
pub use options::{DirectOptions, PrototypeOptions, Sampler};
pub use scorer::{RarityOptions, Rescoring, ShotMixing};

use rareclip_core::register;

register! {
    bank PrototypeOptions;
    bank DirectOptions;
    scorer RarityOptions;
}
