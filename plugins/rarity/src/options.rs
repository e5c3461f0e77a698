//! The options of the banks, in the paper's terms.

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::patches::check_neighbourhoods;
use rareclip_core::{BoxError, Branch, Distance, Features, Grid, UpdatePolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a bank that is over capacity chooses the prototypes to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Sampler {
    /// Those least similar to their nearest earlier prototype, in arrival order (paper: SCS).
    #[default]
    SequentialCoreset,
    /// Greedy k-center: again and again the one farthest from those chosen (paper: GCS). Slow; for
    /// ablation.
    GreedyCoreset,
    /// A uniform random choice (paper: RS); for ablation.
    Random {
        /// Seed of the choice; the same seed chooses the same. Default 0.
        #[serde(default)]
        #[schemars(range(min = 0, max = 18_446_744_073_709_551_615_u64))]
        seed: u64,
    },
    /// The prototypes nearest to the centres of k-means (paper: KCS). Slow; for ablation.
    KMeans {
        /// Seed of the first centres; the same seed chooses the same. Default 0.
        #[serde(default)]
        #[schemars(range(min = 0, max = 18_446_744_073_709_551_615_u64))]
        seed: u64,
    },
}

/// RareCLIP's bank: prototypes and how often each recurs in the images seen.
///
/// One branch per neighbourhood size and block, each with its own prototypes and rarity matrix
/// (ICCV 2025, section 3.2). Memory is bounded by `capacity` and `keep_images`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrototypeOptions {
    /// Blocks whose tokens are remembered, 1-based (paper: L_rare). Default 6, 12, 18, 24 of a
    /// ViT-L.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)), extend("x-memory" = true))]
    pub blocks: Vec<usize>,
    /// Sides of the squares of patches averaged into one, in patches, odd (paper: r). Default 1
    /// and 3.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 8191)), extend("x-memory" = true))]
    pub neighbourhoods: Vec<usize>,
    /// Prototypes kept per branch, in images: 3.0 keeps three times the patches of an image.
    /// Default 3.0.
    #[schemars(range(min = 0.001, max = 1000.0), extend("x-memory" = true))]
    pub capacity: f64,
    /// Nearest prototypes that speak for a patch (paper: k). Default 3.
    #[schemars(range(min = 1, max = 64))]
    pub neighbours: usize,
    /// Share of the largest similarities that may go beyond the scale (paper: loose-similarity
    /// ratio, gamma). 0 scales by the maximum, a negative value switches calibration off. Default
    /// 0.01.
    #[schemars(range(min = -1e6, max = 0.99))]
    pub looseness: f64,
    /// Share of the remembered images that vote on a patch (paper: rarity threshold, rho). Default
    /// 0.3.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rarity_threshold: f64,
    /// Images whose votes are remembered: rows of the rarity matrix. Default 200.
    #[schemars(range(min = 1, max = 100_000), extend("x-memory" = true))]
    pub keep_images: usize,
    /// How prototypes are chosen when there are too many. Default sequential-coreset.
    pub sampler: Sampler,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
    /// Which scored images are remembered. Default always.
    pub update: UpdatePolicy,
}

impl Default for PrototypeOptions {
    fn default() -> Self {
        Self {
            blocks: vec![6, 12, 18, 24],
            neighbourhoods: vec![1, 3],
            capacity: 3.0,
            neighbours: 3,
            looseness: 0.01,
            rarity_threshold: 0.3,
            keep_images: 200,
            sampler: Sampler::default(),
            index: rareclip_core::index::named("exact"),
            update: UpdatePolicy::Always,
        }
    }
}

/// RareCLIP-d's bank: a sample of every remembered image, compared with directly.
///
/// No rarity matrix and no calibration; commonness is read off the best similarity to each
/// remembered image. The costlier variant: its memory is `keep_images` x `image_share` images.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DirectOptions {
    /// Blocks whose tokens are remembered, 1-based (paper: L_rare). Default 6, 12, 18, 24 of a
    /// ViT-L.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 4096)), extend("x-memory" = true))]
    pub blocks: Vec<usize>,
    /// Sides of the squares of patches averaged into one, in patches, odd (paper: r). Default 1
    /// and 3.
    #[schemars(length(min = 1, max = 64), inner(range(min = 1, max = 8191)), extend("x-memory" = true))]
    pub neighbourhoods: Vec<usize>,
    /// Share of its patches that an image is reduced to. Default 0.333.
    #[schemars(range(min = 0.001, max = 1.0), extend("x-memory" = true))]
    pub image_share: f64,
    /// Share of the remembered images that vote on a patch (paper: rarity threshold, rho). Default
    /// 0.3.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rarity_threshold: f64,
    /// Images remembered; known normals are among them and never leave. Default 200.
    #[schemars(range(min = 1, max = 100_000), extend("x-memory" = true))]
    pub keep_images: usize,
    /// Share of the largest similarities to the known normals that may go beyond the scale. Default
    /// 0.02.
    #[schemars(range(min = -1e6, max = 0.99))]
    pub normal_looseness: f64,
    /// How the bank searches. Default exact.
    pub index: Arc<dyn VectorIndexFactory>,
    /// Which scored images are remembered. Default always.
    pub update: UpdatePolicy,
}

impl Default for DirectOptions {
    fn default() -> Self {
        Self {
            blocks: vec![6, 12, 18, 24],
            neighbourhoods: vec![1, 3],
            image_share: 0.333,
            rarity_threshold: 0.3,
            keep_images: 200,
            normal_looseness: 0.02,
            index: rareclip_core::index::named("exact"),
            update: UpdatePolicy::Always,
        }
    }
}

/// One branch of a bank: a neighbourhood size on a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BranchSpec {
    pub(crate) block: usize,
    pub(crate) neighbourhood: usize,
    pub(crate) width: usize,
}

impl BranchSpec {
    /// The rarity of the patches of an image `[patches]`, and against the known normals alone, as
    /// evidence.
    pub(crate) fn evidence(
        &self,
        rarity: Array1<f32>,
        normal_rarity: Option<Array1<f32>>,
    ) -> Branch {
        Branch {
            normal_scores: normal_rarity,
            ..Branch::of_block(self.block, self.neighbourhood, Distance::Cosine, rarity)
        }
    }

    /// Checks the shapes that searches rely on, for every branch of a bank.
    pub(crate) fn check_all<'a>(
        specs: impl IntoIterator<Item = &'a Self>,
        features: &Features,
        grid: Grid,
    ) -> Result<(), BoxError> {
        for spec in specs {
            let found = features.block(spec.block)?.shape().to_vec();
            let expected = vec![grid.patches(), spec.width];
            if found != expected || features.grid != grid {
                let what = "a block of tokens";
                return Err(ComponentError::shape(what, &found, &expected).into());
            }
        }
        Ok(())
    }
}

/// The width of `block`.
pub(crate) fn width_of(backbone: &BackboneSpec, block: usize) -> Result<usize, ComponentError> {
    backbone
        .width_of(block)
        .filter(|&width| width > 0)
        .ok_or_else(|| ComponentError::Block {
            block,
            available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
        })
}

/// The branches of a bank: all blocks of the first neighbourhood size, then of the next.
pub(crate) fn branches(
    blocks: &[usize],
    neighbourhoods: &[usize],
    backbone: &BackboneSpec,
) -> Result<Vec<BranchSpec>, ComponentError> {
    let distinct =
        |list: &[usize]| !list.is_empty() && (1..list.len()).all(|i| !list[..i].contains(&list[i]));
    ComponentError::require(
        distinct(blocks),
        "blocks",
        blocks,
        "a list of different blocks",
    )?;
    check_neighbourhoods("neighbourhoods", neighbourhoods, backbone.grid)?;
    let odd = neighbourhoods.iter().all(|side| side % 2 == 1) && distinct(neighbourhoods);
    ComponentError::require(
        odd,
        "neighbourhoods",
        neighbourhoods,
        "a list of different odd numbers",
    )?;
    let mut all = Vec::with_capacity(blocks.len() * neighbourhoods.len());
    for &neighbourhood in neighbourhoods {
        for &block in blocks {
            let width = width_of(backbone, block)?;
            all.push(BranchSpec {
                block,
                neighbourhood,
                width,
            });
        }
    }
    Ok(all)
}
