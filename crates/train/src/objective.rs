//! What is minimised, and how.

use serde::{Deserialize, Serialize};

/// The constants of the loss: per block focal and dice loss of the enlarged probabilities against
/// the mask, and one term that keeps bridged patches near the embedding of their image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Factor on the cosines before the softmax (paper: tau); above 0.
    pub temperature: f64,
    /// Exponent of the focal loss (Lin et al., ICCV 2017); at least 0.
    pub focal_gamma: f64,
    /// Targets of the focal loss are this and 1 minus this instead of 0 and 1; in 0..0.5.
    pub focal_smooth: f64,
    /// Added to numerator and denominator of the dice loss; above 0.
    pub dice_smooth: f64,
    /// Factor on the mean squared difference of 1 and the cosine of bridged patch and image
    /// embedding; at least 0.
    pub align_weight: f64,
}

impl Default for Objective {
    /// The published constants.
    fn default() -> Self {
        Self {
            temperature: 20.0,
            focal_gamma: 2.0,
            focal_smooth: 1e-5,
            dice_smooth: 1.0,
            align_weight: 1.0,
        }
    }
}

/// The constants of Adam (Kingma and Ba, ICLR 2015).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Step length; above 0.
    pub learning_rate: f64,
    /// Decay of the first and of the second moment; in 0..1.
    pub betas: (f64, f64),
    /// Added to the denominator; above 0.
    pub epsilon: f64,
}

impl Default for Adam {
    /// The published constants.
    fn default() -> Self {
        Self {
            learning_rate: 0.005,
            betas: (0.5, 0.999),
            epsilon: 1e-8,
        }
    }
}

/// The loss of a batch and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// The sum that is minimised.
    pub total: f64,
    /// Mean squared difference of 1 and the cosine of bridged patch and image embedding, before its
    /// weight.
    pub align: f64,
    /// Focal loss of each block.
    pub focal: Vec<f64>,
    /// Dice loss of each block.
    pub dice: Vec<f64>,
}

impl Losses {
    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let blocks = self.focal.iter().chain(&self.dice);
        blocks
            .chain([&self.total, &self.align])
            .all(|loss| loss.is_finite())
    }

    /// Of a row as [`row`](Self::row) gives it.
    pub(crate) fn from_row(row: &[f64]) -> Option<Self> {
        let (&[total, align], blocks) = row.split_first_chunk()?;
        let (focal, dice) = blocks.split_at(blocks.len() / 2);
        (focal.len() == dice.len()).then(|| Self {
            total,
            align,
            focal: focal.to_vec(),
            dice: dice.to_vec(),
        })
    }

    /// All numbers in a row: total, align, focal of each block, dice of each block.
    pub(crate) fn row(&self) -> Vec<f64> {
        let mut row = vec![self.total, self.align];
        row.extend(&self.focal);
        row.extend(&self.dice);
        row
    }

    /// The mean of several; `None` of none.
    pub(crate) fn mean(all: &[Self]) -> Option<Self> {
        let mut sum = all.first()?.row();
        for losses in &all[1..] {
            sum.iter_mut()
                .zip(losses.row())
                .for_each(|(sum, loss)| *sum += loss);
        }
        sum.iter_mut().for_each(|sum| *sum /= all.len() as f64);
        Self::from_row(&sum)
    }
}
