//! The plain data that passes between the rooms.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{Array, Array1, Array2, ArrayView1, Dimension};
use rareclip_imaging::{gaussian_blur, upsample_bilinear};
use serde::{Deserialize, Serialize};

use crate::median::median;
use crate::{BoxError, ComponentError, Grid, Result};

/// What a backbone says of one image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Features {
    /// The patch grid that all `tokens` share.
    pub grid: Grid,
    /// Per block (1-based) the patch tokens `[patches, width]`, neither averaged nor normalised.
    pub tokens: BTreeMap<usize, Array2<f32>>,
    /// The image embedding `[embedding width]`, of unit length.
    pub embedding: Array1<f32>,
    /// Embeddings of square windows of patches, by their side in patches:
    /// `[positions, embedding width]`, of unit length, positions row by row one patch apart. Empty
    /// unless the backbone was asked for windows.
    pub windows: BTreeMap<usize, Array2<f32>>,
    /// Size in bytes of the file that the image came in, where it is known.
    pub file_bytes: Option<u64>,
}

/// Features by position: in memory, or read from a cache when they are asked for.
pub trait FeatureSource: Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features of image `at`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError>;
}

impl FeatureSource for &[Features] {
    fn len(&self) -> usize {
        <[Features]>::len(self)
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        match <[Features]>::get(self, at) {
            Some(features) => Ok(Cow::Borrowed(features)),
            None => Err(format!("no image {at}: there are {}", <[Features]>::len(self)).into()),
        }
    }
}

impl Features {
    /// Features of one image: its patch grid, per block (1-based) the tokens `[patches, width]`,
    /// and the image embedding of unit length.
    pub fn new(grid: Grid, tokens: BTreeMap<usize, Array2<f32>>, embedding: Array1<f32>) -> Self {
        Self {
            grid,
            tokens,
            embedding,
            windows: BTreeMap::new(),
            file_bytes: None,
        }
    }

    /// The tokens `[patches, width]` of a block.
    ///
    /// # Errors
    /// [`ComponentError::Block`] when the backbone did not give that block.
    pub fn block(&self, block: usize) -> Result<&Array2<f32>, ComponentError> {
        self.tokens
            .get(&block)
            .ok_or_else(|| ComponentError::Block {
                block,
                available: self.tokens.keys().copied().collect(),
            })
    }

    /// The tokens `[patches, width]` of a block, for a component that was built for `grid` and
    /// `width`.
    ///
    /// # Errors
    /// [`ComponentError::Block`], [`ComponentError::Shape`] when grid or width is another, or
    /// [`ComponentError::NonFinite`].
    pub fn tokens_of(
        &self,
        block: usize,
        grid: Grid,
        width: usize,
    ) -> Result<&Array2<f32>, ComponentError> {
        let tokens = self.block(block)?;
        let what = || format!("tokens of block {block}");
        if self.grid != grid || tokens.dim() != (grid.patches(), width) {
            let Grid { rows, columns } = grid;
            return Err(ComponentError::Shape {
                what: what(),
                found: tokens.shape().to_vec(),
                expected: format!("[{rows} x {columns} patches, {width}]"),
            });
        }
        match tokens.iter().all(|value| value.is_finite()) {
            true => Ok(tokens),
            false => Err(ComponentError::NonFinite { what: what() }),
        }
    }

    /// Checks that every number is finite and every block has one token a patch.
    ///
    /// # Errors
    /// [`ComponentError::NonFinite`] or [`ComponentError::Shape`].
    pub fn check(&self) -> Result<(), ComponentError> {
        for (block, tokens) in &self.tokens {
            if tokens.nrows() != self.grid.patches() {
                return Err(ComponentError::Shape {
                    what: format!("tokens of block {block}"),
                    found: tokens.shape().to_vec(),
                    expected: format!("[{}, width]", self.grid.patches()),
                });
            }
            if !tokens.iter().all(|value| value.is_finite()) {
                return Err(ComponentError::NonFinite {
                    what: format!("tokens of block {block}"),
                });
            }
        }
        for (&side, windows) in &self.windows {
            let places = |length: usize| (length + 1).saturating_sub(side);
            let expected = [
                places(self.grid.rows) * places(self.grid.columns),
                self.embedding.len(),
            ];
            if windows.shape() != expected {
                return Err(ComponentError::Shape {
                    what: format!("windows of side {side}"),
                    found: windows.shape().to_vec(),
                    expected: format!("{expected:?}"),
                });
            }
            if !windows.iter().all(|value| value.is_finite()) {
                return Err(ComponentError::NonFinite {
                    what: format!("windows of side {side}"),
                });
            }
        }
        if !self.embedding.iter().all(|value| value.is_finite()) {
            return Err(ComponentError::NonFinite {
                what: "image embedding".into(),
            });
        }
        Ok(())
    }

    /// How far these features of an image are from `expected` ones, as a share.
    ///
    /// Per array (the tokens of one block, the image embedding, the windows of one side): the
    /// largest difference of two numbers at the same place, over the largest magnitude in the
    /// expected array. The largest share of all arrays is returned. Infinite where blocks, windows
    /// or shapes differ, or a difference is not a number.
    pub fn deviation(&self, expected: &Self) -> f32 {
        let same_keys = self.tokens.keys().eq(expected.tokens.keys())
            && self.windows.keys().eq(expected.windows.keys());
        if !same_keys || self.grid != expected.grid {
            return f32::INFINITY;
        }
        let tables = self.tokens.values().chain(self.windows.values());
        let others = expected.tokens.values().chain(expected.windows.values());
        tables
            .zip(others)
            .map(|(found, expected)| share(found, expected))
            .fold(share(&self.embedding, &expected.embedding), f32::max)
    }
}

/// The largest difference over the largest expected magnitude; infinite where they cannot be
/// compared.
fn share<D: Dimension>(found: &Array<f32, D>, expected: &Array<f32, D>) -> f32 {
    if found.shape() != expected.shape() {
        return f32::INFINITY;
    }
    let (mut difference, mut magnitude) = (0.0_f32, 0.0_f32);
    for (found, expected) in found.iter().zip(expected) {
        let apart = (found - expected).abs();
        // The larger of two numbers passes over NaN.
        if !apart.is_finite() {
            return f32::INFINITY;
        }
        difference = difference.max(apart);
        magnitude = magnitude.max(expected.abs());
    }
    match difference > 0.0 {
        true => difference / magnitude,
        false => 0.0,
    }
}

/// What is known of one image before any memory, from the text side.
#[derive(Debug, Clone)]
pub struct Prior {
    /// Probability in [0, 1] that the image is abnormal.
    pub image: f32,
    /// Probability in [0, 1] that each patch is abnormal, `[patches]`.
    pub patches: Array1<f32>,
}

impl Prior {
    /// A prior whose values are probabilities.
    ///
    /// # Errors
    /// [`ComponentError::NonFinite`] when a value is not within [0, 1].
    pub fn new(image: f32, patches: Array1<f32>) -> Result<Self, ComponentError> {
        let probable = |value: &f32| (0.0..=1.0).contains(value);
        match probable(&image) && patches.iter().all(probable) {
            true => Ok(Self { image, patches }),
            false => Err(ComponentError::NonFinite {
                what: "the prior".into(),
            }),
        }
    }
}

/// What a memory bank says of one image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Evidence {
    /// One entry per branch of the bank, in the bank's order.
    pub branches: Vec<Branch>,
    /// How unlike the memory the image is as a whole, where the bank says so itself; larger is more
    /// anomalous.
    pub image: Option<f32>,
}

impl Evidence {
    /// Evidence of patches alone.
    pub fn new(branches: Vec<Branch>) -> Self {
        Self {
            branches,
            image: None,
        }
    }

    /// The mean over the branches of the scores of each patch `[patches]`.
    ///
    /// # Errors
    /// [`ComponentError::Shape`] when a branch has not `patches` scores, or there is no branch.
    pub fn mean(&self, patches: usize) -> Result<Array1<f32>, ComponentError> {
        let wrong = |what: &str, found: usize, expected: String| ComponentError::Shape {
            what: what.into(),
            found: vec![found],
            expected,
        };
        if self.branches.is_empty() {
            return Err(wrong("the evidence", 0, "at least one branch".into()));
        }
        let share = 1.0 / self.branches.len() as f32;
        let mut mean = Array1::<f32>::zeros(patches);
        for Branch { source, scores, .. } in &self.branches {
            if scores.len() != patches {
                let what = format!("the evidence of {source}");
                return Err(wrong(&what, scores.len(), format!("[{patches}]")));
            }
            mean.scaled_add(share, scores);
        }
        Ok(mean)
    }
}

/// The evidence of one branch of a bank: how unlike its memory each patch is, by one kind of
/// feature.
#[derive(Debug, Clone)]
pub struct Branch {
    /// What was compared, in words that no other branch of the bank has, such as `block 9`.
    pub source: String,
    /// What `scores` measure.
    pub distance: Distance,
    /// Per patch how unlike the memory it is `[patches]`; larger is more anomalous. Zero while the
    /// memory is empty.
    pub scores: Array1<f32>,
    /// The same against the known normal shots alone, where there are any.
    pub normal_scores: Option<Array1<f32>>,
}

impl Branch {
    /// Scores of patches `[patches]` without a comparison with known normals.
    pub fn new(source: impl Into<String>, distance: Distance, scores: Array1<f32>) -> Self {
        Self {
            source: source.into(),
            distance,
            scores,
            normal_scores: None,
        }
    }

    /// Scores of the patches of `block` (1-based), each averaged over a square of `side` x `side`
    /// patches.
    pub fn of_block(block: usize, side: usize, distance: Distance, scores: Array1<f32>) -> Self {
        let source = match side {
            1 => format!("block {block}"),
            _ => format!("block {block}, {side} x {side} patches"),
        };
        Self::new(source, distance, scores)
    }
}

/// What kind of distance the scores of a [`Branch`] are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Distance {
    /// 1 less a cosine, or a monotonic function of cosines: 0 to 2.
    Cosine,
    /// The length of a difference, from 0.
    Euclidean,
    /// A length in units of the spread of the normals, from 0.
    Mahalanobis,
    /// What of a feature the normals do not explain, from 0.
    Residual,
    /// Something else, on a scale of its own.
    #[default]
    Other,
}

/// The anomaly map of one image at input resolution.
#[derive(Debug, Clone)]
pub struct AnomalyMap {
    /// `[height, width]`; larger is more anomalous.
    pub values: Array2<f32>,
}

/// The Gaussian blur that ends most anomaly maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blur {
    /// Taps, odd.
    pub kernel: usize,
    /// Standard deviation in pixels.
    pub sigma: f32,
}

impl Blur {
    /// Checks that there is such a filter.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) when the number of taps is even or the deviation is
    /// not above 0.
    pub fn check(self) -> Result<Self> {
        rareclip_imaging::gaussian_kernel(self.kernel, self.sigma)?;
        Ok(self)
    }
}

impl AnomalyMap {
    /// The map of `side` x `side` pixels of a value per patch `[patches]`: enlarged bilinearly with
    /// corners aligned, then blurred.
    ///
    /// # Errors
    /// [`ComponentError::Shape`] when there is not one value a patch,
    /// [`Error::Image`](crate::Error::Image) when the blur is none.
    pub fn from_patches(
        values: ArrayView1<'_, f32>,
        grid: Grid,
        side: usize,
        blur: Option<Blur>,
    ) -> Result<Self> {
        let values = values
            .into_shape_with_order((grid.rows, grid.columns))
            .map_err(|_| ComponentError::Shape {
                what: "the patch map".into(),
                found: values.shape().to_vec(),
                expected: format!("[{}]", grid.patches()),
            })?;
        let large = upsample_bilinear(values, side, side)?;
        let values = match blur {
            Some(Blur { kernel, sigma }) => gaussian_blur(large.view(), kernel, sigma)?,
            None => large,
        };
        Ok(Self { values })
    }

    /// The largest value of the map.
    pub fn max(&self) -> f32 {
        self.values
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max)
    }

    /// The median value: what most of the image looks like.
    pub fn median(&self) -> f32 {
        median(self.values.iter().copied())
    }
}

/// As what an image is shown to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A known normal: it is remembered and gets no score (k-shot).
    Normal,
    /// An image to be scored.
    Query,
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Features, Grid};

    fn features(tokens: [f32; 2], embedding: f32) -> Features {
        let grid = Grid {
            rows: 2,
            columns: 1,
        };
        let tokens = array![[tokens[0]], [tokens[1]]];
        Features::new(grid, [(3, tokens)].into(), array![embedding])
    }

    #[test]
    fn a_deviation_is_the_largest_difference_over_the_largest_magnitude_of_its_array() {
        let expected = features([-8.0, 1.0], 1.0);
        assert_eq!(features([-8.0, 1.5], 1.0).deviation(&expected), 0.0625);
        assert_eq!(features([-8.0, 1.0], 0.75).deviation(&expected), 0.25);
        assert_eq!(expected.deviation(&expected), 0.0);
    }

    #[test]
    fn a_deviation_of_what_cannot_be_compared_is_infinite() {
        let expected = features([-8.0, 1.0], 1.0);
        for found in [
            features([f32::NAN, 1.0], 1.0),
            features([-8.0, 1.0], f32::INFINITY),
        ] {
            assert_eq!(found.deviation(&expected), f32::INFINITY);
        }
        let mut other_block = expected.clone();
        other_block.tokens = [(4, expected.tokens[&3].clone())].into();
        assert_eq!(other_block.deviation(&expected), f32::INFINITY);
        let mut longer = expected.clone();
        longer.embedding = array![1.0, 0.0];
        assert_eq!(longer.deviation(&expected), f32::INFINITY);
    }
}
