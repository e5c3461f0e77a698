//! The rareclip backbone `acme-backbone`: colours of square cells, without weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, Axis, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::normalise;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(backbone AcmeBackboneOptions);

/// Colours of square cells; no weights.
///
/// The tokens of its only block, 1, are the means of R, G and B and their standard deviations, of
/// values in 0..1. The image embedding is the mean token, of unit length.
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

/// Means and deviations of three channels.
const WIDTH: usize = 6;

#[typetag::serde(name = "acme-backbone")]
impl BackboneFactory for AcmeBackboneOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        let (side, cell) = (self.image_size, self.cell);
        if side == 0 || cell == 0 || !side.is_multiple_of(cell) {
            return Err(format!("`cell` {cell} does not divide `image_size` {side}").into());
        }
        let (rows, columns) = (side / cell, side / cell);
        let spec = BackboneSpec {
            input: InputRecipe::unit(side),
            grid: Grid { rows, columns },
            blocks: vec![(BLOCK, WIDTH)],
            embedding_width: WIDTH,
            weights: "none".into(),
        };
        let known = |&block: &usize| spec.width(block).map(drop);
        blocks.iter().try_for_each(known)?;
        Ok(Arc::new(Cells { spec, cell }))
    }
}

struct Cells {
    spec: BackboneSpec,
    cell: usize,
}

impl Cells {
    fn features(&self, image: ArrayView3<'_, f32>) -> Features {
        let (grid, cell) = (self.spec.grid, self.cell);
        let mut tokens = Array2::zeros((grid.patches(), WIDTH));
        for (patch, mut token) in tokens.outer_iter_mut().enumerate() {
            let (top, left) = (patch / grid.columns * cell, patch % grid.columns * cell);
            let part = image.slice(s![.., top..top + cell, left..left + cell]);
            for (channel, plane) in part.outer_iter().enumerate() {
                token[channel] = plane.mean().unwrap_or_default();
                token[3 + channel] = plane.std(0.0);
            }
        }
        // A black image has no direction of its own.
        let mean = tokens
            .mean_axis(Axis(0))
            .filter(|mean| mean.iter().any(|&value| value != 0.0));
        let mut embedding = mean.map_or(vec![1.0; WIDTH], |mean| mean.to_vec());
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
        self.spec.check_images(&images)?;
        // Sums are taken in one order, however the numbers lie in memory.
        let images = images.as_standard_layout();
        let features = |image| self.features(image);
        Ok(images.outer_iter().map(features).collect())
    }
}
