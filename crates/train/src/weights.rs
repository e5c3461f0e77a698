//! What is learned, as plain numbers.

use ndarray::{Array1, Array2, ArrayView1};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The linear layer of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// `[embedding width, token width]`.
    pub weight: Array2<f32>,
    /// `[embedding width]`.
    pub bias: Array1<f32>,
}

/// Everything that learns.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// One layer per block, in the order of the blocks.
    pub layers: Vec<Layer>,
    /// Learned directions `[embedding width, 2]`, normal and abnormal, of any length; `None` where
    /// they are fixed.
    pub directions: Option<Array2<f32>>,
}

/// What bridged patches are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Directions {
    /// Unit columns normal and abnormal `[embedding width, 2]` that stay as they are: CLIP's text
    /// embeddings.
    Fixed(Array2<f32>),
    /// Two vectors that are drawn by the seed and learned along with the layers; only their
    /// direction counts. For backbones without a text side.
    Learned,
}

impl Weights {
    /// Weights to start from: layers uniform within 1 over the root of the token width, as PyTorch
    /// draws those of a linear layer (though not by its generator), directions uniform on the
    /// sphere.
    pub fn draw(seed: u64, embedding: usize, widths: &[usize], learned: bool) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let layer = |&width: &usize| {
            let bound = 1.0 / (width.max(1) as f32).sqrt();
            let mut draw = || draws.random_range(-bound..=bound);
            Layer {
                weight: Array2::from_shape_simple_fn((embedding, width), &mut draw),
                bias: Array1::from_shape_simple_fn(embedding, &mut draw),
            }
        };
        let layers = widths.iter().map(layer).collect();
        let directions = learned.then(|| {
            unit_columns(&Array2::from_shape_simple_fn((embedding, 2), || {
                normal(&mut draws)
            }))
        });
        Self { layers, directions }
    }
}

/// A draw from the standard normal distribution, by Box and Muller.
fn normal(draws: &mut ChaCha8Rng) -> f32 {
    let (radius, angle): (f64, f64) = (draws.random(), draws.random());
    // 1 - radius is in (0, 1].
    ((-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

/// The same columns at length 1; a zero column stays.
pub(crate) fn unit_columns(columns: &Array2<f32>) -> Array2<f32> {
    let mut unit = columns.clone();
    for mut column in unit.columns_mut() {
        let length = length(column.view());
        if length > 0.0 {
            column.mapv_inplace(|value| (f64::from(value) / length) as f32);
        }
    }
    unit
}

pub(crate) fn length(vector: ArrayView1<'_, f32>) -> f64 {
    let squares = vector
        .iter()
        .map(|&value| f64::from(value) * f64::from(value));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_start() {
        let draw = |seed| Weights::draw(seed, 5, &[7, 3], true);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let weights = draw(1);
        assert_eq!(weights.layers[1].weight.dim(), (5, 3));
        let bound = 1.0 / 3.0_f32.sqrt();
        let values = weights.layers[1].weight.iter();
        assert!(values.clone().all(|value| value.abs() <= bound));
        assert!(values.clone().any(|value| value.abs() > bound / 2.0));
        for column in weights.directions.unwrap().columns() {
            assert!((length(column) - 1.0).abs() < 1e-6);
        }
        assert_eq!(Weights::draw(1, 5, &[7, 3], false).directions, None);
    }

    #[test]
    fn columns_get_length_1_and_zeros_stay() {
        let unit = unit_columns(&ndarray::array![[3.0, 0.0], [4.0, 0.0]]);
        assert_eq!(unit, ndarray::array![[0.6, 0.0], [0.8, 0.0]]);
    }
}
