//! The options of the banks, in the papers' terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// PaDiM's bank: a multivariate Gaussian per patch position (ICPR workshops 2020, section III).
///
/// The tokens of all blocks are put end to end and reduced to a random subset of their dimensions.
/// The memory is `patches x (d (d + 3) / 2) x 4` bytes for d dimensions, however many normals are
/// shown: 21 MB for the 1024 patches of a ViT-S at 448 pixels and 100 dimensions; ending the
/// training pass takes as much again for a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianOptions {
    /// Blocks whose tokens are put end to end, 1-based. Default 3, 6, 9: early to late without the
    /// last, as the paper takes the first three of four stages of a convolutional network.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)))]
    pub blocks: Vec<usize>,
    /// Dimensions kept, chosen at random; all where there are no more (paper: Rd). Default 100, the
    /// paper's for 448 dimensions; it takes 550 of 1792.
    #[schemars(range(min = 1, max = 4096), extend("x-memory" = true))]
    pub dimensions: usize,
    /// Seed of the choice; the same seed chooses the same. Default 0.
    #[schemars(range(min = 0, max = 18_446_744_073_709_551_615_u64))]
    pub seed: u64,
    /// Added to the diagonal of every covariance (paper: epsilon). Default 0.01, the paper's.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub regularisation: f64,
}

impl Default for GaussianOptions {
    fn default() -> Self {
        Self {
            blocks: vec![3, 6, 9],
            dimensions: 100,
            seed: 0,
            regularisation: 0.01,
        }
    }
}

/// SubspaceAD's bank: the principal subspace of all normal patches; a patch is as anomalous as the
/// squared length of what lies outside it (CVPR 2026, section 3).
///
/// The memory is `8 x width x (width + 1)` bytes, however many normals are shown: 1.2 MB for a
/// ViT-S.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubspaceOptions {
    /// Blocks whose tokens are averaged, 1-based and of one width. Default 7, 8, 9 of 12: the share
    /// of the depth that the published code averages, blocks 23 to 29 of 40.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)))]
    pub blocks: Vec<usize>,
    /// Share of the variance that the subspace explains (paper: tau). Default 0.99, the paper's.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub explained_variance: f64,
}

impl Default for SubspaceOptions {
    fn default() -> Self {
        Self {
            blocks: vec![7, 8, 9],
            explained_variance: 0.99,
        }
    }
}
