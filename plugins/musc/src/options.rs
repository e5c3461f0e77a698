//! The options of bank and scorer, in the paper's terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// MuSc's bank: every image of a set is scored by all others (ICLR 2024, sections 3.2 and 3.3).
///
/// Nothing is remembered between two sets. While a set is scored, one branch of one subset is in
/// memory: for n images at once, `4 n patches (width + n)` bytes beside the evidence of the whole
/// set; 109 MB for 60 images of a ViT-S at 448 pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MutualOptions {
    /// Blocks whose tokens are compared, 1-based. Default 6, 12, 18, 24 of a ViT-L, the paper's
    /// stages.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)))]
    pub blocks: Vec<usize>,
    /// Sides of the squares of patches averaged into one, in patches, odd (paper: r). Default 1, 3
    /// and 5.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 8191)))]
    pub neighbourhoods: Vec<usize>,
    /// Share of the other images, those with the closest patches, whose distances are averaged
    /// (paper: X % of the interval average), rounded down to whole images and at least one. Default
    /// 0.3.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub share: f64,
    /// Most images that are compared with each other; larger sets are split evenly, image i into
    /// part i modulo the number of parts, so that work grows with the set and not with its square.
    /// Default 60; the paper splits sets into 1 to 3 parts.
    #[schemars(range(min = 2, max = 100_000))]
    pub subset: usize,
}

impl Default for MutualOptions {
    fn default() -> Self {
        Self {
            blocks: vec![6, 12, 18, 24],
            neighbourhoods: vec![1, 3, 5],
            share: 0.3,
            subset: 60,
        }
    }
}

/// MuSc's score: the largest value of the map, averaged among images that look alike (ICLR 2024,
/// section 3.4).
///
/// The map is the mean of the bank's branches, enlarged and not blurred. Scores stay in the units
/// of the map, distances between unit vectors; scaling them to 0..1 first, as published, would not
/// change their order. Likeness is the inner product of image embeddings of unit length, so that
/// every image is most like itself. The published code scales CLIP's embeddings so but not
/// DINOv2's, where the longest embedding then stands in for most images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MutualScorerOptions {
    /// Sizes of the neighbourhoods that scores are averaged over, in images, the image itself
    /// included; the results for all sizes are averaged (paper: k of the window mask). Empty: no
    /// re-scoring. Default 1, 2 and 3 as published for MVTec AD; 1, 8 and 9 for VisA.
    #[schemars(length(max = 64), inner(range(min = 1, max = 10_000)))]
    pub windows: Vec<usize>,
}

impl Default for MutualScorerOptions {
    fn default() -> Self {
        Self {
            windows: vec![1, 2, 3],
        }
    }
}
