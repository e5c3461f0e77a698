//! The backbone `thumbnail`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, Axis, s};
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::normalise;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use rareclip_imaging::{Filter, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BaselineError;

/// Mean and deviation of three channels.
pub(crate) const WIDTH: usize = 6;

/// The block of the tokens.
pub(crate) const BLOCK: usize = 1;

/// Means and deviations of the colours in a grid of cells; no weights.
///
/// The tokens of its only block, 1, are the mean of R, G and B and their standard deviations, of
/// values in 0..1. The image embedding is all mean colours end to end, of unit length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ThumbnailOptions {
    /// Side of the square input in pixels. Default 256.
    #[schemars(range(min = 1, max = 4096))]
    pub image_size: usize,
    /// Side of a cell in pixels; divides `image_size`. Default 16.
    #[schemars(range(min = 1, max = 4096))]
    pub cell: usize,
}

impl Default for ThumbnailOptions {
    fn default() -> Self {
        Self {
            image_size: 256,
            cell: 16,
        }
    }
}

#[typetag::serde(name = "thumbnail")]
impl BackboneFactory for ThumbnailOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        let Self { image_size, cell } = *self;
        if image_size == 0 || cell == 0 || image_size % cell != 0 {
            return Err(BaselineError::Cells { image_size, cell }.into());
        }
        if let Some(&other) = blocks.iter().find(|&&block| block != BLOCK) {
            return Err(ComponentError::Block {
                block: other,
                available: vec![BLOCK],
            }
            .into());
        }
        let grid = Grid {
            rows: image_size / cell,
            columns: image_size / cell,
        };
        let input = InputRecipe {
            side: image_size,
            mean: [0.0; 3],
            std: [1.0; 3],
            filter: Filter::Bilinear,
            preset: Preset::default(),
        };
        let spec = BackboneSpec {
            input,
            grid,
            blocks: vec![(BLOCK, WIDTH)],
            embedding_width: 3 * grid.patches(),
            weights: "none".into(),
        };
        Ok(Arc::new(Thumbnail { spec, cell }))
    }
}

#[derive(Debug)]
struct Thumbnail {
    spec: BackboneSpec,
    cell: usize,
}

impl Thumbnail {
    /// The features of an image `[3, side, side]`.
    fn features(&self, image: ArrayView3<'_, f32>) -> Features {
        let grid = self.spec.grid;
        let mut tokens = Array2::zeros((grid.patches(), WIDTH));
        for (patch, mut token) in tokens.rows_mut().into_iter().enumerate() {
            let row = patch / grid.columns * self.cell;
            let column = patch % grid.columns * self.cell;
            let cell = image.slice(s![.., row..row + self.cell, column..column + self.cell]);
            for (channel, plane) in cell.axis_iter(Axis(0)).enumerate() {
                let count = plane.len() as f64;
                let mean = plane.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
                let square = |&value: &f32| (f64::from(value) - mean).powi(2);
                let variance = plane.iter().map(square).sum::<f64>() / count;
                token[channel] = mean as f32;
                token[3 + channel] = variance.sqrt() as f32;
            }
        }
        let mut embedding: Vec<f32> = tokens.slice(s![.., ..3]).iter().copied().collect();
        if embedding.iter().all(|&value| value == 0.0) {
            // Black has no direction of its own: it is the limit of ever darker grays.
            embedding.fill(1.0);
        }
        normalise(&mut embedding);
        Features::new(grid, [(BLOCK, tokens)].into(), Array1::from_vec(embedding))
    }
}

impl Backbone for Thumbnail {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let side = self.spec.input.side;
        let shape = images.shape();
        if shape[1..] != [3, side, side] {
            return Err(
                ComponentError::shape("the input", shape, &[shape[0], 3, side, side]).into(),
            );
        }
        Ok(images
            .axis_iter(Axis(0))
            .map(|image| self.features(image))
            .collect())
    }
}
