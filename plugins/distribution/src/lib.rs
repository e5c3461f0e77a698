//! Banks that keep statistics of normal patches instead of the patches: their memory does not grow
//! with the normals.
//!
//! * bank `gaussian` ([`GaussianOptions`]): a multivariate Gaussian per patch position and the
//!   Mahalanobis distance to it. After *PaDiM: a Patch Distribution Modeling Framework for Anomaly
//!   Detection and Localization*, Defard, Setkov, Loesch, Audigier, ICPR workshops 2020.
//! * bank `subspace` ([`SubspaceOptions`]): the principal subspace of all normal patches and the
//!   residual outside it. After *SubspaceAD: Training-Free Few-Shot Anomaly Detection via Subspace
//!   Modeling*, Lendering, Akdag, Bondarev, CVPR 2026.
//!
//! Both have a training pass over known normals ([`Learning::Fit`](rareclip_core::Learning::Fit))
//! that sees every image once and keeps none.

mod error;
mod gaussian;
mod moments;
mod options;
mod scatter;
mod subspace;
mod tokens;

pub use error::StatisticsError;
pub use options::{GaussianOptions, SubspaceOptions};

use rareclip_core::register;

register! {
    bank GaussianOptions;
    bank SubspaceOptions;
}
