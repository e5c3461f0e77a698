//! Detectors x categories x seeds: the benchmark of rareclip.
//!
//! * [`Plan`] says what is compared, [`run`](fn@run) does it: every backbone runs once per image
//!   and its [`Features`](rareclip_core::Features) are kept in a
//!   [`FeatureStore`](rareclip_pipeline::FeatureStore), every finished [`Run`] is a file of its
//!   own, so that a benchmark that was stopped goes on where it was.
//! * [`Benchmark`] is the whole result; [`table`] makes rows and means of it,
//!   [`compare`](fn@compare) sets two of them against each other.

mod compare;
mod error;
mod pace;
mod plan;
pub mod published;
mod recorder;
mod result;
mod run;
pub mod table;
pub mod truth;

pub use compare::{Comparison, compare};
pub use error::{Error, Result};
pub use plan::{Entrant, Plan};
pub use result::{Benchmark, Environment, ImageResult, Run, StageTime};
pub use run::run;
