//! What kind of vision transformer a checkpoint holds, told by its tensor names and shapes.

mod kind;
mod layout;

use rareclip_checkpoints::{Beside, Checkpoint, Tower};

pub use rareclip_checkpoints::Activation;

pub use kind::Family;
pub use layout::{Affine, BlockKeys, Layout, Linear, Projection, Rows, VitKeys};

use crate::{Error, Result};

/// What the user may set over what was found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// Number of attention heads.
    pub heads: Option<usize>,
    /// Activation.
    pub activation: Option<Activation>,
}

/// A vision transformer, described.
#[derive(Debug, Clone)]
pub struct Vit {
    /// Its family.
    pub family: Family,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of the native patch grid.
    pub grid: usize,
    /// Width inside the MLPs.
    pub mlp: usize,
    /// Register tokens after the class token.
    pub registers: usize,
    /// Width of the image embedding.
    pub embedding_width: usize,
    /// Activation inside the MLPs.
    pub activation: Activation,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
    /// Where its tensors are.
    pub keys: VitKeys,
}

impl Vit {
    /// Describes the transformer in a checkpoint and checks that every tensor is there in the right
    /// shape.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`], [`Error::Unsupported`], [`Error::Heads`], or a tensor that is
    /// missing or of the wrong shape.
    pub fn detect(checkpoint: &Checkpoint, overrides: Overrides) -> Result<Self> {
        let (layout, prefix) = Layout::detect(checkpoint)?;
        let beside = Beside::read(checkpoint.path(), Tower::Vision)?;
        let keys = VitKeys::new(checkpoint, layout, &prefix)?;
        let vit = Self::measure(checkpoint, layout, keys, overrides, beside)?;
        vit.check(checkpoint)?;
        Ok(vit)
    }

    fn measure(
        checkpoint: &Checkpoint,
        layout: Layout,
        keys: VitKeys,
        overrides: Overrides,
        beside: Beside,
    ) -> Result<Self> {
        let family = layout.family();
        let shape = |key: &str| Ok::<_, Error>(checkpoint.info(key)?.shape);
        let axis = |shape: &[usize], axis: usize| shape.get(axis).copied().unwrap_or(0);
        let patches = shape(&keys.patch)?;
        let (width, patch) = (axis(&patches, 0), axis(&patches, 3));
        let positions = shape(&keys.positions)?;
        let cells = positions
            .iter()
            .rev()
            .nth(1)
            .map_or(0, |rows| rows.saturating_sub(1));
        let grid = cells.isqrt();
        if grid == 0 || grid * grid != cells {
            let path = checkpoint.path().to_owned();
            let what = format!("a position table of shape {positions:?} (no square grid)");
            return Err(Error::Unsupported { path, what });
        }
        let heads = overrides
            .heads
            .or(beside.heads)
            .unwrap_or(family.heads(width));
        if width == 0 || heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::Heads { width, heads });
        }
        let mlp = match keys.blocks.first() {
            Some(block) => axis(&shape(&block.fc1.weight)?, 0),
            None => 0,
        };
        let registers = match &keys.registers {
            Some(key) => axis(&shape(key)?, 1),
            None => 0,
        };
        let embedding_width = match &keys.projection {
            Some(projection) => axis(&shape(&projection.key)?, usize::from(!projection.out_first)),
            None => width,
        };
        let activation = overrides
            .activation
            .or(beside.activation)
            .unwrap_or(Activation::Gelu);
        let epsilon = beside.epsilon.unwrap_or(family.epsilon());
        Ok(Self {
            family,
            width,
            heads,
            patch,
            grid,
            mlp,
            registers,
            embedding_width,
            activation,
            epsilon,
            keys,
        })
    }

    /// Checks that every tensor is there in its shape.
    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        let (width, patch) = (self.width, self.patch);
        let affine = |norm: &Affine| {
            checkpoint.expect_shape(&norm.weight, &[width])?;
            checkpoint.expect_shape(&norm.bias, &[width])
        };
        checkpoint.expect_shape(&self.keys.patch, &[width, 3, patch, patch])?;
        for key in self.keys.patch_bias.iter() {
            checkpoint.expect_shape(key, &[width])?;
        }
        for norm in self.keys.pre_norm.iter().chain([&self.keys.final_norm]) {
            affine(norm)?;
        }
        for block in &self.keys.blocks {
            affine(&block.norm1)?;
            affine(&block.norm2)?;
            for linear in block.linears() {
                let (mut out, mut inner) = (width, width);
                if linear.weight == block.fc1.weight {
                    out = self.mlp;
                } else if linear.weight == block.fc2.weight {
                    inner = self.mlp;
                }
                out *= linear.rows.map_or(1, |rows| rows.of);
                checkpoint.expect_shape(&linear.weight, &[out, inner])?;
                checkpoint.expect_shape(&linear.bias, &[out])?;
            }
            for key in block.scale1.iter().chain(&block.scale2) {
                checkpoint.expect_shape(key, &[width])?;
            }
        }
        if let Some(projection) = &self.keys.projection {
            let mut shape = [width, self.embedding_width];
            if projection.out_first {
                shape.reverse();
            }
            checkpoint.expect_shape(&projection.key, &shape)?;
        }
        Ok(())
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.keys.blocks.len()
    }

    /// The patch grid's side at an image size.
    ///
    /// # Errors
    /// [`Error::ImageSize`] where the size is not a positive multiple of the patch size.
    pub fn grid_at(&self, size: usize) -> Result<usize> {
        if size > 0 && size.is_multiple_of(self.patch) {
            return Ok(size / self.patch);
        }
        let below = (size / self.patch).max(1) * self.patch;
        let above = (size / self.patch + 1) * self.patch;
        Err(Error::ImageSize {
            size,
            patch: self.patch,
            below,
            above,
        })
    }
}
