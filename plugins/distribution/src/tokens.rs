//! The tokens a bank reads.

use ndarray::{Array2, ArrayView2};
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Grid};

/// Blocks of one backbone.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    /// Number (1-based) and width of each.
    blocks: Vec<(usize, usize)>,
    grid: Grid,
}

impl Blocks {
    pub(crate) fn new(blocks: &[usize], backbone: &BackboneSpec) -> Result<Self, ComponentError> {
        let distinct = (1..blocks.len()).all(|i| !blocks[..i].contains(&blocks[i]));
        let fits = distinct && !blocks.is_empty();
        ComponentError::require(fits, "blocks", blocks, "a list of different blocks")?;
        let width = |&block: &usize| {
            let width = backbone.width_of(block).filter(|&width| width > 0);
            let missing = || ComponentError::Block {
                block,
                available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
            };
            width.map(|width| (block, width)).ok_or_else(missing)
        };
        Ok(Self {
            blocks: blocks.iter().map(width).collect::<Result<_, _>>()?,
            grid: backbone.grid,
        })
    }

    pub(crate) fn widths(&self) -> Vec<usize> {
        self.blocks.iter().map(|(_, width)| *width).collect()
    }

    pub(crate) fn patches(&self) -> usize {
        self.grid.patches()
    }

    /// The tokens `[patches, width]` of each block.
    pub(crate) fn read<'a>(
        &self,
        features: &'a Features,
    ) -> Result<Vec<ArrayView2<'a, f32>>, BoxError> {
        let mut all = Vec::with_capacity(self.blocks.len());
        for &(block, width) in &self.blocks {
            let tokens = features.block(block)?;
            let expected = [self.grid.patches(), width];
            if tokens.shape() != expected || features.grid != self.grid {
                return Err(ComponentError::shape(
                    "a block of tokens",
                    tokens.shape(),
                    expected.as_ref(),
                )
                .into());
            }
            all.push(tokens.view());
        }
        Ok(all)
    }

    /// The mean of the blocks `[patches, width]`, which are of one width.
    pub(crate) fn mean(&self, features: &Features) -> Result<Array2<f32>, BoxError> {
        let blocks = self.read(features)?;
        let width = self.widths().first().copied().unwrap_or_default();
        let mut mean = Array2::zeros((self.patches(), width));
        for tokens in &blocks {
            mean += tokens;
        }
        mean /= blocks.len() as f32;
        finite(mean.iter(), "a block of tokens")?;
        Ok(mean)
    }
}

/// An error unless all values are finite.
pub(crate) fn finite<'a>(
    values: impl IntoIterator<Item = &'a f32>,
    what: &'static str,
) -> Result<(), ComponentError> {
    if values.into_iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(ComponentError::non_finite(what))
}
