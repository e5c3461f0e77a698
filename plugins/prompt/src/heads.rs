//! What all prompt heads share: from vectors in the joint embedding to probabilities.

use data_encoding::HEXLOWER;
use ndarray::Array2;
use rareclip_checkpoints::Checkpoint;
use rareclip_core::Features;
use rareclip_core::backbone::BackboneSpec;
use sha2::{Digest, Sha256};

use crate::product::dot;
use crate::{Error, Result, TextOptions};

/// Rows of tokens that one thread takes at a time.
pub(crate) const ROWS: usize = 64;

/// The probability in [0, 1] that `vector` is abnormal: softmax over `temperature` times its
/// cosines with the directions `normal` and `abnormal` (ICCV 2025, section 3.1), all of one width.
/// A zero vector gives 0.5.
///
/// `None` where the numbers are not finite or so large that they overflow.
pub fn probability(
    temperature: f32,
    normal: &[f32],
    abnormal: &[f32],
    vector: &[f32],
) -> Option<f32> {
    let length = dot(vector, vector).sqrt();
    if !length.is_finite() {
        return None;
    }
    let difference = dot(vector, abnormal) - dot(vector, normal);
    let cosine = if length > 0.0 {
        difference / length
    } else {
        0.0
    };
    let probability = 1.0 / (1.0 + (-f64::from(temperature) * cosine).exp());
    probability.is_finite().then_some(probability as f32)
}

/// What identifies numbers: the sha256 over their bytes, in hexadecimal.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [f32]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        for value in part {
            hasher.update(value.to_le_bytes());
        }
    }
    HEXLOWER.encode(&hasher.finalize())
}

/// The text side of a head.
#[derive(Debug)]
pub(crate) struct TextSide {
    temperature: f32,
    /// Directions of length `embedding width`.
    normal: Vec<f32>,
    abnormal: Vec<f32>,
}

impl TextSide {
    /// The directions of normal and abnormal.
    pub(crate) fn directions(&self) -> [&[f32]; 2] {
        [&self.normal, &self.abnormal]
    }

    /// Gets the text features of a checkpoint.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        options: &TextOptions,
        temperature: f32,
        backbone: &BackboneSpec,
    ) -> Result<Self> {
        let features = options.features_of(checkpoint)?;
        if features.nrows() != backbone.embedding_width {
            return Err(Error::Width {
                backbone: backbone.embedding_width,
                text: features.nrows(),
                model: checkpoint.path().display().to_string(),
            });
        }
        let column = |at| features.column(at).to_vec();
        Self::from_directions(temperature, column(0), column(1))
    }

    /// Of directions of unit length and one width.
    pub(crate) fn from_directions(
        temperature: f32,
        normal: Vec<f32>,
        abnormal: Vec<f32>,
    ) -> Result<Self> {
        if !(temperature.is_finite() && temperature > 0.0) {
            let detail = format!("is {temperature}, must be a number above 0");
            return Err(Error::option("temperature", detail));
        }
        Ok(Self {
            temperature,
            normal,
            abnormal,
        })
    }

    pub(crate) fn width(&self) -> usize {
        self.normal.len()
    }

    /// The probability of one vector; `what` names it in the error.
    pub(crate) fn probability(&self, vector: &[f32], what: &str) -> Result<f32> {
        probability(self.temperature, &self.normal, &self.abnormal, vector).ok_or_else(|| {
            Error::NonFinite {
                what: what.to_owned(),
                advice: "the image was not scored; check the weights",
            }
        })
    }

    /// The probability of an image by its embedding.
    pub(crate) fn image(&self, features: &Features) -> Result<f32> {
        let embedding = features.embedding.to_vec();
        if embedding.len() != self.width() {
            return Err(Error::Shape {
                what: "the image embedding".into(),
                found: vec![embedding.len()],
                expected: format!("[{}]", self.width()),
            });
        }
        self.probability(&embedding, "the image embedding")
    }
}

/// Says so where text and image side come from different files, which may be right (another layout
/// of the same weights).
pub(crate) fn compare(checkpoint: &Checkpoint, backbone: &BackboneSpec) {
    if checkpoint.sha256() != backbone.weights {
        tracing::warn!(
            "the text tower is read from {}, which is not the file of the backbone: the prior is meaningless if they are different models",
            checkpoint.path().display()
        );
    }
}

/// The tokens of a block, checked against a width.
pub(crate) fn tokens_of(features: &Features, block: usize, width: usize) -> Result<&Array2<f32>> {
    let tokens = features.tokens.get(&block).ok_or_else(|| Error::Block {
        block,
        available: features.tokens.keys().copied().collect(),
    })?;
    if tokens.dim() == (features.grid.patches(), width) {
        return Ok(tokens);
    }
    Err(Error::Shape {
        what: format!("tokens of block {block}"),
        found: tokens.shape().to_vec(),
        expected: format!("[{}, {width}]", features.grid.patches()),
    })
}

/// The width of the tokens of a block.
pub(crate) fn width_of(backbone: &BackboneSpec, block: usize) -> Result<usize> {
    backbone
        .width_of(block)
        .filter(|width| *width > 0)
        .ok_or_else(|| Error::Block {
            block,
            available: backbone.blocks.iter().map(|(block, _)| *block).collect(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::probability;

    #[test]
    fn the_nearer_direction_wins() {
        let of = |vector: &[f32]| probability(20.0, &[1.0, 0.0], &[0.0, 1.0], vector).unwrap();
        assert!(of(&[1.0, 0.0]) < 1e-8 && of(&[0.0, 3.0]) > 0.999_999);
        assert_eq!(of(&[2.0, 2.0]), 0.5);
        assert_eq!(of(&[0.0, 0.0]), 0.5);
        // exp(20 * 0.8) against exp(20 * 0.6).
        assert!((of(&[3.0, 4.0]) - 0.982_013_8).abs() < 1e-6);
    }

    #[test]
    fn numbers_that_are_not_finite_have_no_probability() {
        assert_eq!(probability(20.0, &[1.0], &[0.0], &[f32::NAN]), None);
        assert_eq!(probability(20.0, &[1.0], &[0.0], &[f32::INFINITY]), None);
    }

    proptest! {
        #[test]
        fn a_probability_is_in_0_to_1(
            temperature in 1e-3_f32..1e6,
            vectors in proptest::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL, 12),
        ) {
            let (normal, rest) = vectors.split_at(4);
            let found = probability(temperature, normal, &rest[..4], &rest[4..]);
            prop_assert!(found.is_some_and(|found| (0.0..=1.0).contains(&found)));
        }
    }
}
