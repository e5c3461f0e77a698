//! The rareclip backbone `acme-backbone`: colours and edges of square cells, without weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, Axis, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::normalise;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(backbone AcmeBackboneOptions);

/// Colours and edges of square cells; no weights.
///
/// The tokens of its only block, 1, are the means of R, G and B and their standard deviations, of values in 0..1, and the mean
/// steps of the brightness from left to right and from top to bottom. The image embedding is the mean token, of unit length.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeBackboneOptions {
    /// Side of the square input in pixels. Default 256.
    #[schemars(range(min = 1, max = 4096))]
    pub image_size: usize,
    /// Side of a cell in pixels; divides `image_size`. Default 16.
    #[schemars(range(min = 1, max = 4096))]
    pub cell: usize,
}

impl Default for AcmeBackboneOptions {
    fn default() -> Self {
        Self {
            image_size: 256,
            cell: 16,
        }
    }
}

/// The only block.
const BLOCK: usize = 1;

/// Means and deviations of three channels, and steps in two directions.
const WIDTH: usize = 8;

#[typetag::serde(name = "acme-backbone")]
impl BackboneFactory for AcmeBackboneOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        let (side, cell) = (self.image_size, self.cell);
        if side == 0 || cell == 0 || !side.is_multiple_of(cell) {
            return Err(format!("`cell` {cell} does not divide `image_size` {side}").into());
        }
        if let Some(block) = blocks.iter().find(|&&block| block != BLOCK) {
            return Err(format!("there is no block {block}, only {BLOCK}").into());
        }
        let spec = BackboneSpec {
            input: InputRecipe {
                mean: [0.0; 3],
                std: [1.0; 3],
                ..InputRecipe::clip(side)
            },
            grid: Grid {
                rows: side / cell,
                columns: side / cell,
            },
            blocks: vec![(BLOCK, WIDTH)],
            embedding_width: WIDTH,
            weights: "none".into(),
        };
        Ok(Arc::new(Cells { spec, cell }))
    }
}

struct Cells {
    spec: BackboneSpec,
    cell: usize,
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = values.len().max(1) as f32;
    values.sum::<f32>() / count
}

/// The token of a cell `[3, rows, columns]`.
fn token(cell: ArrayView3<'_, f32>) -> [f32; WIDTH] {
    let mut token = [0.0; WIDTH];
    for (channel, plane) in cell.outer_iter().enumerate() {
        let level = mean(plane.iter().copied());
        let variance = mean(plane.iter().map(|value| (value - level).powi(2)));
        (token[channel], token[3 + channel]) = (level, variance.sqrt());
    }
    let brightness = |(row, column)| mean(cell.slice(s![.., row, column]).iter().copied());
    let gray = Array2::from_shape_fn((cell.dim().1, cell.dim().2), brightness);
    for (axis, step) in [(1, 6), (0, 7)] {
        let (len, axis) = (gray.len_of(Axis(axis)), Axis(axis));
        let (before, after) = (
            gray.slice_axis(axis, (..len - 1).into()),
            gray.slice_axis(axis, (1..).into()),
        );
        token[step] = mean(before.iter().zip(&after).map(|(a, b)| (a - b).abs()));
    }
    token
}

impl Cells {
    fn features(&self, image: ArrayView3<'_, f32>) -> Features {
        let (grid, cell) = (self.spec.grid, self.cell);
        let mut tokens = Array2::zeros((grid.patches(), WIDTH));
        for (patch, mut row) in tokens.outer_iter_mut().enumerate() {
            let top = patch / grid.columns * cell;
            let left = patch % grid.columns * cell;
            let part = image.slice(s![.., top..top + cell, left..left + cell]);
            row.assign(&Array1::from_iter(token(part)));
        }
        let means = tokens.columns().into_iter();
        let mut embedding: Vec<f32> = means.map(|all| mean(all.iter().copied())).collect();
        if embedding.iter().all(|&value| value == 0.0) {
            // Black has no direction of its own.
            embedding.fill(1.0);
        }
        normalise(&mut embedding);
        let tokens = BTreeMap::from([(BLOCK, tokens)]);
        Features::new(grid, tokens, Array1::from_vec(embedding))
    }
}

impl Backbone for Cells {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let (shape, side) = (images.shape(), self.spec.input.side);
        if shape[1..] != [3, side, side] {
            return Err(format!("images are {shape:?}, expected [n, 3, {side}, {side}]").into());
        }
        let images = images.outer_iter();
        Ok(images.map(|image| self.features(image)).collect())
    }
}
