//! A backbone as it is asked for, checked against the checkpoint.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, ArrayView2, ArrayView4, s};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Grid, InputRecipe};
use rareclip_imaging::Preset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::family::{Family, Overrides, Vit};
use crate::positions::{self, PositionResize};
use crate::{Error, Result};

/// Which tokens a block gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tokens {
    /// The residual stream right after the block.
    #[default]
    Raw,
    /// The same after the model's final layer norm.
    Norm,
}

/// What is asked of a transformer, whatever the engine.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'w> {
    /// A model name of the catalogue, or the path of a checkpoint.
    pub model: &'w str,
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Sides in patches of the windows that are embedded as if each were an image.
    pub windows: &'w [usize],
    /// What is set over what the checkpoint says.
    pub overrides: Overrides,
    /// How the position table is resized; the family's own rule if absent.
    pub position_resize: Option<PositionResize>,
    /// Subtracted per channel; the family's own if absent.
    pub mean: Option<[f32; 3]>,
    /// Divisor per channel; the family's own if absent.
    pub std: Option<[f32; 3]>,
    /// Order of colour conversion and resizing.
    pub preset: Preset,
}

impl Wishes<'_> {
    fn input(&self, family: Family) -> InputRecipe {
        let recipe = match family {
            Family::DinoV2 => InputRecipe::imagenet(self.image_size),
            Family::Clip => InputRecipe::clip(self.image_size),
        };
        let mean = self.mean.unwrap_or(recipe.mean);
        let std = self.std.unwrap_or(recipe.std);
        InputRecipe {
            mean,
            std,
            preset: self.preset,
            ..recipe
        }
    }
}

/// A transformer that can be built as it is asked for.
#[derive(Debug)]
pub struct Plan {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The transformer in it.
    pub vit: Vit,
    /// Blocks (1-based) whose tokens are asked for; all exist.
    pub blocks: BTreeSet<usize>,
    /// Sides in patches of the windows to embed; all fit into the image.
    pub windows: BTreeSet<usize>,
    /// How positions are resized.
    pub positions: PositionResize,
    /// What the backbone declares.
    pub spec: BackboneSpec,
}

/// What stands before the first block besides the image: the patches' part is added to their
/// embeddings.
#[derive(Debug)]
pub struct FirstTokens {
    /// Class token, its position added, and register tokens, `[1 + registers, width]` row by row.
    pub prefix: Vec<f32>,
    /// Positions of the patches `[patches, width]`.
    pub positions: Array2<f32>,
}

impl Plan {
    /// Opens the checkpoint and checks what is asked of it.
    ///
    /// # Errors
    /// When the checkpoint is missing, of no known family or incomplete, the image size is no
    /// multiple of the patch size, or a block or window does not exist.
    pub fn new(wishes: &Wishes<'_>, blocks: &BTreeSet<usize>) -> Result<Self> {
        let checkpoint = Checkpoint::open(rareclip_artifacts::resolve_model(wishes.model)?)?;
        let vit = Vit::detect(&checkpoint, wishes.overrides)?;
        let wrong = |block: &&usize| !(1..=vit.blocks()).contains(*block);
        if let Some(&block) = blocks.iter().find(wrong) {
            return Err(Error::NoSuchBlock {
                block,
                blocks: vit.blocks(),
            });
        }
        let side = vit.grid_at(wishes.image_size)?;
        let windows: BTreeSet<usize> = wishes.windows.iter().copied().collect();
        let outside = |window: &&usize| !(1..=side).contains(*window);
        if let Some(&window) = windows.iter().find(outside) {
            return Err(Error::Window { window, grid: side });
        }
        let spec = BackboneSpec {
            input: wishes.input(vit.family),
            grid: Grid {
                rows: side,
                columns: side,
            },
            blocks: blocks.iter().map(|&block| (block, vit.width)).collect(),
            embedding_width: vit.embedding_width,
            weights: rareclip_artifacts::verified_sha256(&checkpoint)?.to_owned(),
        };
        Ok(Self {
            positions: wishes
                .position_resize
                .unwrap_or(vit.family.position_resize()),
            checkpoint,
            vit,
            blocks: blocks.clone(),
            windows,
            spec,
        })
    }

    /// Side of the patch grid.
    pub fn side(&self) -> usize {
        self.spec.grid.rows
    }

    /// Tokens before the patches: the class token and the registers.
    pub fn prefix(&self) -> usize {
        1 + self.vit.registers
    }

    /// Which tokens make up every square window of `side` patches: the prefix and the window's
    /// patches in reading order, one window after another, themselves in reading order. `side` is
    /// at most that of the grid.
    pub fn window_tokens(&self, side: usize) -> Vec<i64> {
        let (grid, prefix) = (self.side(), self.prefix());
        let places = (grid + 1).saturating_sub(side);
        let mut tokens = Vec::new();
        for (top, left) in (0..places * places).map(|at| (at / places, at % places)) {
            tokens.extend(0..prefix as i64);
            let patch = |at: usize| (top + at / side) * grid + left + at % side;
            tokens.extend((0..side * side).map(|at| (prefix + patch(at)) as i64));
        }
        tokens
    }

    /// The tokens that do not depend on the image, positions resized to the patch grid.
    ///
    /// # Errors
    /// When a tensor cannot be read or has another shape than its family's.
    pub fn first_tokens(&self) -> Result<FirstTokens> {
        let (vit, keys, checkpoint) = (&self.vit, &self.vit.keys, &self.checkpoint);
        let (width, native, grid) = (vit.width, vit.grid, self.side());
        let wrong = |key: &str, expected: &[usize]| -> Result<Error> {
            Ok(Error::Checkpoint(rareclip_checkpoints::Error::Shape {
                path: checkpoint.path().to_owned(),
                key: key.to_owned(),
                found: checkpoint.info(key)?.shape,
                expected: expected.to_vec(),
            }))
        };
        let rows = 1 + native * native;
        let table = checkpoint.f32(&keys.positions)?;
        let Ok(table) = ArrayView2::from_shape((rows, width), &table) else {
            return Err(wrong(&keys.positions, &[rows, width])?);
        };
        let table = positions::resize(table, 1, (native, native), (grid, grid), self.positions);
        let mut prefix = checkpoint.f32(&keys.class)?.into_owned();
        if prefix.len() != width {
            return Err(wrong(&keys.class, &[1, 1, width])?);
        }
        prefix
            .iter_mut()
            .zip(table.row(0))
            .for_each(|(token, position)| *token += position);
        if let Some(key) = &keys.registers {
            prefix.extend_from_slice(&checkpoint.f32_shaped(key, &[1, vit.registers, width])?);
        }
        Ok(FirstTokens {
            prefix,
            positions: table.slice(s![1.., ..]).to_owned(),
        })
    }
}

/// Scales to unit length; zero stays zero.
pub fn unit(values: &[f32]) -> Array1<f32> {
    let length = values
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    values
        .iter()
        .map(|value| (f64::from(*value) * factor) as f32)
        .collect()
}

/// The patches' rows of all tokens of a block, `[prefix + patches, width]` row by row; `None` where
/// the numbers are fewer.
pub fn patch_tokens(
    all: &[f32],
    prefix: usize,
    patches: usize,
    width: usize,
) -> Option<Array2<f32>> {
    let rows = all.get(prefix * width..)?.to_vec();
    Array2::from_shape_vec((patches, width), rows).ok()
}

/// The embeddings of windows `[windows, width]`, each of unit length, of all their numbers row by
/// row; `None` where those do not fill whole rows.
pub fn window_rows(all: &[f32], width: usize) -> Option<Array2<f32>> {
    if width == 0 || !all.len().is_multiple_of(width) {
        return None;
    }
    let rows: Vec<f32> = all.chunks_exact(width).flat_map(unit).collect();
    Array2::from_shape_vec((all.len() / width, width), rows).ok()
}

/// Checks a batch of images against the declared side.
///
/// # Errors
/// [`Error::Images`].
pub fn check_images(images: &ArrayView4<'_, f32>, side: usize) -> Result<()> {
    let found = images.shape();
    if found[1..] == [3, side, side] {
        return Ok(());
    }
    Err(Error::Images {
        found: found.to_vec(),
        side,
    })
}
