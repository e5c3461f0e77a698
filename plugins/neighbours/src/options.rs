//! The options of the banks, in the papers' terms.

use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::{Features, Grid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Every patch of the known normals; a patch is as anomalous as its nearest neighbours are far by
/// cosine.
///
/// AnomalyDINO (Damm et al., WACV 2025, section 3) on a DINOv2 backbone: one block, single patches,
/// the nearest neighbour alone. Its masking of the background and its rotated copies of the normals
/// are steps before the backbone and not part of this bank, which sees features.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PatchOptions {
    /// Blocks whose tokens are remembered, 1-based; each is a branch of its own. Default 12, the
    /// last of a DINOv2-S (AnomalyDINO).
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)), extend("x-memory" = true))]
    pub blocks: Vec<usize>,
    /// Sides of the squares of patches averaged into one, in patches, odd; each is a branch of its
    /// own. Default 1: none.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 8191)), extend("x-memory" = true))]
    pub neighbourhoods: Vec<usize>,
    /// Nearest patches whose cosines are averaged. Default 1 (AnomalyDINO).
    #[schemars(range(min = 1, max = 1000))]
    pub neighbours: usize,
    /// Most known normals taken in: the bound of the memory, in images. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-memory" = true))]
    pub max_normals: usize,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
}

impl Default for PatchOptions {
    fn default() -> Self {
        Self {
            blocks: vec![12],
            neighbourhoods: vec![1],
            neighbours: 1,
            max_normals: 1000,
            index: rareclip_core::index::named("exact"),
        }
    }
}

/// A greedy coreset of the patches of the known normals; a patch is as anomalous as the nearest of
/// them is far (PatchCore).
///
/// Roth et al., CVPR 2022: patches are means over a neighbourhood, blocks are put side by side
/// (section 3.1), the memory is thinned out by greedy k-center choice on a random projection
/// (section 3.2), and the distance is Euclidean (section 3.3).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CoresetOptions {
    /// Blocks whose tokens are put side by side, 1-based; they may differ in width. Default 6 and
    /// 9: the middle of a 12-block ViT, as PatchCore takes the middle of a ResNet.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)), extend("x-memory" = true))]
    pub blocks: Vec<usize>,
    /// Side of the square of patches averaged into one, in patches, odd (paper: p). Default 3.
    #[schemars(range(min = 1, max = 8191))]
    pub neighbourhood: usize,
    /// Share of the patches that is kept. Default 0.1 (paper: PatchCore-10%).
    #[schemars(range(min = 0.000001, max = 1.0), extend("x-memory" = true))]
    pub share: f64,
    /// Width that patches are randomly projected to for the choice; 0, or at least their own width,
    /// for none. Default 128 (published code).
    #[schemars(range(min = 0, max = 65_536))]
    pub projection: usize,
    /// Random patches whose mean distance the greedy choice begins with. Default 10 (published
    /// code).
    #[schemars(range(min = 1, max = 1000))]
    pub starts: usize,
    /// Seed of projection and starts: the same seed chooses the same. Default 0.
    #[schemars(range(min = 0, max = 18_446_744_073_709_551_615_u64))]
    pub seed: u64,
    /// Prototypes around the nearest one that re-weight the score of an image (paper: b, equation
    /// 7), the nearest included; 0 for the largest patch distance as it is, as the published code
    /// does. At least 2 otherwise; 9 is common. The weight rests on exponentials of distances:
    /// where these differ by tens, as of raw tokens, it is 1. Default 0.
    #[schemars(range(min = 0, max = 1000))]
    pub reweight_neighbours: usize,
    /// Most known normals taken in: the bound of the memory, in images. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-memory" = true))]
    pub max_normals: usize,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
}

impl Default for CoresetOptions {
    fn default() -> Self {
        Self {
            blocks: vec![6, 9],
            neighbourhood: 3,
            share: 0.1,
            projection: 128,
            starts: 10,
            seed: 0,
            reweight_neighbours: 0,
            max_normals: 1000,
            index: rareclip_core::index::named("exact"),
        }
    }
}

/// The embeddings of the known normals; an image is as anomalous as its nearest neighbours are far
/// by cosine.
///
/// It says nothing of single patches: every patch has the rarity of the image, and the map is flat.
/// A baseline, after deep nearest-neighbour anomaly detection (Bergman, Cohen, Hoshen, 2020).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageOptions {
    /// Nearest images whose cosines are averaged (paper: k). Default 2 (the paper).
    #[schemars(range(min = 1, max = 1000))]
    pub neighbours: usize,
    /// Most known normals taken in: the bound of the memory, in images. Default 100 000.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-memory" = true))]
    pub max_normals: usize,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            neighbours: 2,
            max_normals: 100_000,
            index: rareclip_core::index::named("exact"),
        }
    }
}

/// The windows of the known normals; a window is as anomalous as its nearest normal one is far by
/// half the cosine distance, and a patch as the harmonic mean of the windows that hold it
/// (WinCLIP+, CVPR 2023, section 4.3). The backbone must give the same windows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowOptions {
    /// Sides of the windows in patches. Default 2 and 3 (the paper).
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 8191)), extend("x-memory" = true))]
    pub sides: Vec<usize>,
    /// Most known normals taken in: the bound of the memory, in images. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-memory" = true))]
    pub max_normals: usize,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self {
            sides: vec![2, 3],
            max_normals: 1000,
            index: rareclip_core::index::named("exact"),
        }
    }
}

/// What every bank asks of its options.
pub(crate) fn require_bound(max_normals: usize) -> Result<(), ComponentError> {
    ComponentError::require(max_normals >= 1, "max_normals", max_normals, "at least 1")
}

/// The blocks asked for with their widths.
pub(crate) fn widths(
    blocks: &[usize],
    backbone: &BackboneSpec,
) -> Result<Vec<(usize, usize)>, ComponentError> {
    let different = (1..blocks.len()).all(|at| !blocks[..at].contains(&blocks[at]));
    ComponentError::require(
        different && !blocks.is_empty(),
        "blocks",
        blocks,
        "a list of different blocks",
    )?;
    let width_of = |&block: &usize| {
        let width = backbone.width_of(block).filter(|&width| width > 0);
        width
            .map(|width| (block, width))
            .ok_or_else(|| ComponentError::Block {
                block,
                available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
            })
    };
    blocks.iter().map(width_of).collect()
}

/// Checks the shapes that a bank relies on: the declared grid, and one token a patch of the
/// declared width in each block.
pub(crate) fn check_shapes(
    features: &Features,
    grid: Grid,
    blocks: &[(usize, usize)],
) -> Result<(), rareclip_core::BoxError> {
    for &(block, width) in blocks {
        let found = features.block(block)?.shape().to_vec();
        let expected = vec![grid.patches(), width];
        if found != expected || features.grid != grid {
            return Err(ComponentError::shape("a block of tokens", &found, &expected).into());
        }
    }
    Ok(())
}
