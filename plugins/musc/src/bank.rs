//! MuSc's bank.

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{BankStatus, ErasedBank, MemoryBank, MemoryBankFactory};
use rareclip_core::patches::check_neighbourhoods;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BoxError, Branch, Distance, Evidence, FeatureSource, Features, Grid, Learning, Role, typetag,
};
use rayon::prelude::*;

use crate::error::MutualError;
use crate::neighbourhood::aggregate;
use crate::options::MutualOptions;
use crate::scoring::Patches;

#[typetag::serde(name = "mutual")]
impl MemoryBankFactory for MutualOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    /// Nothing is held between two images.
    fn capacity_bytes(&self, _: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        Ok(Some(0))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(MutualBank::new(self, backbone)?))
    }
}

/// A neighbourhood size on a block.
#[derive(Debug, Clone, Copy)]
struct BranchSpec {
    block: usize,
    neighbourhood: usize,
    width: usize,
}

/// The rules by which the images of a set score each other; there is no memory.
struct MutualBank {
    branches: Vec<BranchSpec>,
    grid: Grid,
    share: f64,
    subset: usize,
}

impl MutualBank {
    fn new(options: &MutualOptions, backbone: &BackboneSpec) -> Result<Self, ComponentError> {
        let (blocks, sides) = (&options.blocks, &options.neighbourhoods);
        let distinct = |list: &[usize]| {
            !list.is_empty() && (1..list.len()).all(|i| !list[..i].contains(&list[i]))
        };
        ComponentError::require(
            distinct(blocks),
            "blocks",
            blocks,
            "a list of different blocks",
        )?;
        check_neighbourhoods("neighbourhoods", sides, backbone.grid)?;
        let odd = sides.iter().all(|side| side % 2 == 1) && distinct(sides);
        ComponentError::require(
            odd,
            "neighbourhoods",
            sides,
            "a list of different odd numbers",
        )?;
        let share = options.share;
        ComponentError::require(
            share > 0.0 && share <= 1.0,
            "share",
            share,
            "above 0, up to 1",
        )?;
        ComponentError::require(options.subset >= 2, "subset", options.subset, "at least 2")?;
        let mut branches = Vec::with_capacity(blocks.len() * sides.len());
        for &neighbourhood in sides {
            for &block in blocks {
                let width = backbone.width_of(block).filter(|&width| width > 0);
                let missing = || ComponentError::Block {
                    block,
                    available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
                };
                branches.push(BranchSpec {
                    block,
                    neighbourhood,
                    width: width.ok_or_else(missing)?,
                });
            }
        }
        Ok(Self {
            branches,
            grid: backbone.grid,
            share,
            subset: options.subset,
        })
    }

    /// The patch features of one branch of one image `[patches, width]`.
    fn features(
        &self,
        branch: BranchSpec,
        features: &Features,
        out: &mut [f32],
    ) -> Result<(), BoxError> {
        let tokens = features.block(branch.block)?;
        let expected = [self.grid.patches(), branch.width];
        if tokens.shape() != expected || features.grid != self.grid {
            return Err(ComponentError::shape(
                "a block of tokens",
                tokens.shape(),
                expected.as_ref(),
            )
            .into());
        }
        if aggregate(tokens.view(), self.grid, branch.neighbourhood, out) {
            return Ok(());
        }
        Err(ComponentError::non_finite("a block of tokens").into())
    }
}

/// Into how many parts a set of `images` (at least 2) is split, so that none has one image alone.
fn parts(images: usize, subset: usize) -> usize {
    images.div_ceil(subset).min(images / 2).max(1)
}

impl State for MutualBank {
    fn save<'a>(&'a self, _: &mut SnapshotWriter<'a>) {}

    fn restore(self, _: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl MemoryBank for MutualBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Batch
    }

    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        let count = images.len();
        if count < 2 {
            return Err(MutualError::TooFewImages { found: count }.into());
        }
        let patches = self.grid.patches();
        let mut evidence = vec![Evidence::new(Vec::new()); count];
        let parts = parts(count, self.subset);
        let mut values = Vec::new();
        for part in 0..parts {
            let members: Vec<usize> = (part..count).step_by(parts).collect();
            for &branch in &self.branches {
                let size = patches * branch.width;
                values.resize(members.len() * size, 0.0f32);
                values
                    .par_chunks_exact_mut(size)
                    .zip(&members)
                    .try_for_each(|(out, &at)| self.features(branch, &*images.get(at)?, out))?;
                let set = Patches {
                    values: &values,
                    patches,
                    width: branch.width,
                };
                for (&at, rarity) in members.iter().zip(set.scores(self.share)) {
                    let (block, side) = (branch.block, branch.neighbourhood);
                    let scores = Array1::from_vec(rarity);
                    let branch = Branch::of_block(block, side, Distance::Euclidean, scores);
                    evidence[at].branches.push(branch);
                }
                tracing::debug!(
                    part = part + 1,
                    parts,
                    block = branch.block,
                    neighbourhood = branch.neighbourhood,
                    "images scored each other"
                );
            }
        }
        Ok(evidence)
    }

    fn assess(&self, _: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        Err(MutualError::NeedsBatch.into())
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: 0,
            prototypes: 0,
            bytes: 0,
            capacity_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn no_part_is_too_large_or_of_one_image() {
        let found = [
            parts(60, 60),
            parts(61, 60),
            parts(248, 60),
            parts(2, 2),
            parts(3, 2),
        ];
        assert_eq!(found, [1, 2, 5, 1, 1]);
    }
}
