#![doc = include_str!("../README.md")]

mod broken;
pub mod conformance;
pub mod index;
#[cfg(feature = "material")]
mod material;
mod numbers;
mod stand_ins;

pub use broken::Broken;
#[cfg(feature = "material")]
pub use material::{cached, engine, shared, skipped};
pub use numbers::distance;
