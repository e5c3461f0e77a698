use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, Axis, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Means and deviations of small patches of pixels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PixelOptions {
    /// Side of the input in pixels.
    #[schemars(range(min = 7, max = 1024))]
    pub image_size: usize,
    /// Side of a patch in pixels.
    #[schemars(range(min = 1, max = 64))]
    pub patch: usize,
}

impl Default for PixelOptions {
    fn default() -> Self {
        Self {
            image_size: 56,
            patch: 7,
        }
    }
}

struct Pixels {
    spec: BackboneSpec,
    patch: usize,
}

/// Mean and deviation of three channels, and two gradients.
const WIDTH: usize = 8;

/// The last block.
const BLOCKS: usize = 100;

#[typetag::serde(name = "pixels")]
impl BackboneFactory for PixelOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        if !self.image_size.is_multiple_of(self.patch) {
            return Err(format!(
                "image_size {} is not a multiple of patch {}",
                self.image_size, self.patch
            )
            .into());
        }
        if let Some(block) = blocks.iter().find(|block| !(1..=BLOCKS).contains(*block)) {
            return Err(format!("block {block} is asked for, there are 1 to {BLOCKS}").into());
        }
        let side = self.image_size / self.patch;
        Ok(Arc::new(Pixels {
            spec: BackboneSpec {
                input: InputRecipe::imagenet(self.image_size),
                grid: Grid {
                    rows: side,
                    columns: side,
                },
                blocks: blocks.iter().map(|block| (*block, WIDTH)).collect(),
                embedding_width: WIDTH,
                weights: "none".into(),
            },
            patch: self.patch,
        }))
    }
}

impl Pixels {
    fn token(&self, image: ArrayView3<'_, f32>, patch: usize) -> [f32; WIDTH] {
        let (row, column) = (
            patch / self.spec.grid.columns,
            patch % self.spec.grid.columns,
        );
        let size = self.patch;
        let part = image.slice(s![
            ..,
            row * size..(row + 1) * size,
            column * size..(column + 1) * size
        ]);
        let mut token = [0.0; WIDTH];
        for channel in 0..3 {
            let plane = part.index_axis(Axis(0), channel);
            let mean = plane.mean().unwrap_or(0.0);
            token[channel] = mean + 0.1;
            token[3 + channel] = plane
                .mapv(|value| (value - mean).abs())
                .mean()
                .unwrap_or(0.0);
        }
        let plane = part.index_axis(Axis(0), 0);
        let half = size / 2;
        token[6] = plane.slice(s![..half, ..]).sum() - plane.slice(s![half.., ..]).sum();
        token[7] = plane.slice(s![.., ..half]).sum() - plane.slice(s![.., half..]).sum();
        token[6] /= (size * size) as f32;
        token[7] /= (size * size) as f32;
        token
    }
}

impl Backbone for Pixels {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let (side, shape) = (self.spec.input.side, images.shape());
        if shape[1..] != [3, side, side] {
            return Err(format!("images are {shape:?}, expected [n, 3, {side}, {side}]").into());
        }
        let encode = |image: ArrayView3<'_, f32>| {
            let patches = self.spec.grid.patches();
            let flat: Vec<f32> = (0..patches)
                .flat_map(|patch| self.token(image, patch))
                .collect();
            let base = Array2::from_shape_vec((patches, WIDTH), flat)?;
            let tokens: BTreeMap<_, _> = self
                .spec
                .blocks
                .iter()
                .map(|(block, _)| (*block, base.mapv(|value| (value * *block as f32).tanh())))
                .collect();
            let mean = base
                .mean_axis(Axis(0))
                .unwrap_or_else(|| Array1::zeros(WIDTH));
            let length = mean.dot(&mean).sqrt().max(1e-6);
            Ok(Features::new(self.spec.grid, tokens, mean / length))
        };
        images.axis_iter(Axis(0)).map(encode).collect()
    }
}
