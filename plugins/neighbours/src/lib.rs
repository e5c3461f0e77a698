//! Detectors that compare with the nearest of what known normals looked like.
//!
//! All learn from known normals alone, in a training pass (`Learning::Fit`), and do not change
//! afterwards.
//!
//! * bank `patches` ([`PatchOptions`]): every patch, by cosine. AnomalyDINO (Damm et al.,
//!   WACV 2025) on DINOv2.
//! * bank `coreset` ([`CoresetOptions`]): a greedy coreset of the patches, by Euclidean distance.
//!   PatchCore (Roth et al., CVPR 2022).
//! * bank `images` ([`ImageOptions`]): the image embeddings, by cosine. A baseline; its map is
//!   flat.
//! * bank `windows` ([`WindowOptions`]): windows of patches, by cosine. WinCLIP+ (Jeong et al.,
//!   CVPR 2023).
//! * scorer `nearest-neighbour` ([`NearestNeighbourOptions`]): the map is the rarity of the
//!   patches, the score that of the image where the bank gives one, else that of its most anomalous
//!   patches.

mod coreset;
mod error;
mod images;
mod options;
mod patches;
mod scorer;
mod vectors;
mod windows;

pub use error::NeighbourError;
pub use options::{CoresetOptions, ImageOptions, PatchOptions, WindowOptions};
pub use scorer::{ImageScore, NearestNeighbourOptions};

use rareclip_core::register;

register! {
    bank PatchOptions;
    bank CoresetOptions;
    bank ImageOptions;
    bank WindowOptions;
    scorer NearestNeighbourOptions;
}
