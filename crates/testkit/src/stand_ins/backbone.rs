use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView3, ArrayView4, Axis, s};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::normalise;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fixed projections of the colours in a grid of cells; no weights.
///
/// It gives every block that is asked for, the same image other tokens in each, and zeros for a
/// black one. Grid and widths are as the options say, so that components can be shown unusual ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackboneOptions {
    /// Side of the square input in pixels; a multiple of `rows` and `columns`. Default 24.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) image_size: usize,
    /// Patches from top to bottom. Default 3.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) rows: usize,
    /// Patches from left to right. Default 4.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) columns: usize,
    /// Width of the tokens of every block. Default 8.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) width: usize,
    /// Width of the image embedding. Default 6.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) embedding_width: usize,
    /// Sides of the windows of patches that are embedded. Default 1, 2 and 3.
    #[schemars(inner(range(min = 1, max = 64)))]
    pub(crate) windows: Vec<usize>,
}

impl Default for BackboneOptions {
    fn default() -> Self {
        Self {
            image_size: 24,
            rows: 3,
            columns: 4,
            width: 8,
            embedding_width: 6,
            windows: vec![1, 2, 3],
        }
    }
}

/// The last block there is.
const BLOCKS: usize = 64;

/// Mean and deviation of three channels.
const COLOURS: usize = 6;

#[typetag::serde(name = "testkit")]
impl BackboneFactory for BackboneOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        let Self { rows, columns, .. } = *self;
        if rows == 0 || columns == 0 || self.width == 0 || self.embedding_width == 0 {
            return Err("grid and widths must be at least 1".into());
        }
        let side = self.image_size;
        if side == 0 || !side.is_multiple_of(rows) || !side.is_multiple_of(columns) {
            let problem = format!("`image_size` {side} does not divide into {rows} x {columns}");
            return Err(problem.into());
        }
        if let Some(block) = blocks.iter().find(|block| !(1..=BLOCKS).contains(*block)) {
            return Err(format!("block {block} is asked for, there are 1 to {BLOCKS}").into());
        }
        Ok(Arc::new(StandIn {
            spec: BackboneSpec {
                input: InputRecipe::imagenet(side),
                grid: Grid { rows, columns },
                blocks: blocks.iter().map(|&block| (block, self.width)).collect(),
                embedding_width: self.embedding_width,
                weights: "testkit".into(),
            },
            windows: self.windows.clone(),
        }))
    }
}

struct StandIn {
    spec: BackboneSpec,
    windows: Vec<usize>,
}

/// A fixed number from -1 to 1, another for each `block`, `row` and `column`.
fn weight(block: usize, row: usize, column: usize) -> f32 {
    let turn = (block * 53 + row * 17 + column * 29 + 7) as f32;
    (turn * 1.618_034).sin()
}

/// `colours` `[rows, 6]` brought to `width` numbers each.
fn project(colours: &Array2<f32>, block: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_fn((colours.nrows(), width), |(row, at)| {
        let terms = colours.row(row);
        let terms = terms.iter().enumerate();
        terms
            .map(|(from, value)| value * weight(block, from, at))
            .sum()
    })
}

/// Every row of unit length; one of zeros becomes the first direction.
fn unit(mut rows: Array2<f32>) -> Array2<f32> {
    for mut row in rows.rows_mut() {
        let mut values = row.to_vec();
        if values.iter().all(|&value| value == 0.0) {
            values[0] = 1.0;
        }
        normalise(&mut values);
        row.assign(&Array1::from_vec(values));
    }
    rows
}

impl StandIn {
    /// Means and deviations of the cells `[patches, 6]`.
    fn colours(&self, image: ArrayView3<'_, f32>) -> Array2<f32> {
        let Grid { rows, columns } = self.spec.grid;
        let (high, wide) = (self.spec.input.side / rows, self.spec.input.side / columns);
        Array2::from_shape_fn((rows * columns, COLOURS), |(patch, at)| {
            let (top, left) = (patch / columns * high, patch % columns * wide);
            let cell = image.slice(s![at % 3, top..top + high, left..left + wide]);
            let mean = cell.iter().sum::<f32>() / cell.len() as f32;
            match at / 3 {
                0 => mean,
                _ => cell.iter().map(|value| (value - mean).abs()).sum::<f32>() / cell.len() as f32,
            }
        })
    }

    /// The embeddings of the windows of one `side` `[positions, embedding width]`.
    fn windows_of(&self, colours: &Array2<f32>, side: usize) -> Array2<f32> {
        let Grid { rows, columns } = self.spec.grid;
        let places = |length: usize| (length + 1).saturating_sub(side);
        let (down, across) = (places(rows), places(columns));
        let mean = Array2::from_shape_fn((down * across, COLOURS), |(place, at)| {
            let (top, left) = (place / across, place % across);
            let patches = (top..top + side)
                .flat_map(|row| (left..left + side).map(move |column| row * columns + column));
            patches.map(|patch| colours[[patch, at]]).sum::<f32>() / (side * side) as f32
        });
        unit(project(&mean, 0, self.spec.embedding_width))
    }

    fn features(&self, image: ArrayView3<'_, f32>) -> Features {
        let colours = self.colours(image);
        let blocks = self.spec.blocks.iter();
        let tokens: BTreeMap<_, _> = blocks
            .map(|&(block, width)| (block, project(&colours, block, width)))
            .collect();
        let mean = colours.mean_axis(Axis(0));
        let mean = mean.unwrap_or_else(|| Array1::zeros(COLOURS));
        let whole = mean.insert_axis(Axis(0));
        let embedding = unit(project(&whole, 0, self.spec.embedding_width));
        let mut features = Features::new(self.spec.grid, tokens, embedding.row(0).to_owned());
        for &side in &self.windows {
            features
                .windows
                .insert(side, self.windows_of(&colours, side));
        }
        features
    }
}

impl Backbone for StandIn {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let (side, shape) = (self.spec.input.side, images.shape());
        if shape[1..] != [3, side, side] {
            return Err(format!("images are {shape:?}, expected [n, 3, {side}, {side}]").into());
        }
        let images = images.axis_iter(Axis(0));
        Ok(images.map(|image| self.features(image)).collect())
    }
}
