//! `type = "prior"`: the text side alone, or with what a bank of known normals says.

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::{
    AnomalyMap, Blur, BoxError, ErasedScorer, Grid, ScoreInput, Scored, Stateless, StatelessScorer,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The prior as map and score: APRIL-GAN and RareCLIP's bridge without a memory, WinCLIP. It
/// remembers nothing.
///
/// Without a bank the score is the image's probability plus `map_weight` times the largest value of
/// the map. With a bank of known normals map and score are fused with its evidence (WinCLIP+, CVPR
/// 2023, section 4.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PriorScorerOptions {
    /// Weight of the largest value of the map in the score. 0 is the image's probability alone, as
    /// in WinCLIP and zero-shot APRIL-GAN; RareCLIP adds the map with 1. Default 0.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub map_weight: f32,
    /// How the map of the prior and that of a bank become one. Default mean.
    pub fusion: Fusion,
    /// Taps of the Gaussian blur of the map, in pixels, odd; 0 for none. Default 25.
    #[schemars(range(min = 0, max = 1001))]
    pub blur_kernel: usize,
    /// Standard deviation of the Gaussian blur of the map, in pixels. Default 4.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub blur_sigma: f32,
}

/// How two maps become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Their mean.
    #[default]
    Mean,
    /// Their harmonic mean: high only where both are.
    Harmonic,
}

impl Default for PriorScorerOptions {
    fn default() -> Self {
        Self {
            map_weight: 0.0,
            fusion: Fusion::Mean,
            blur_kernel: 25,
            blur_sigma: 4.0,
        }
    }
}

impl Fusion {
    fn of(self, prior: f32, evidence: f32) -> f32 {
        match self {
            Self::Mean => 0.5 * (prior + evidence),
            Self::Harmonic if prior > 0.0 && evidence > 0.0 => {
                2.0 / (prior.recip() + evidence.recip())
            }
            Self::Harmonic => 0.0,
        }
    }
}

#[typetag::serde(name = "prior")]
impl ScorerFactory for PriorScorerOptions {
    fn capacity_bytes(&self, _: &BackboneSpec, _: &[usize]) -> Result<Option<u64>, BoxError> {
        Ok(Some(0))
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        _bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        let blur = (self.blur_kernel > 0).then_some(Blur {
            kernel: self.blur_kernel,
            sigma: self.blur_sigma,
        });
        let blur = blur.map(Blur::check).transpose()?;
        Ok(Box::new(Stateless(PriorScorer {
            options: self.clone(),
            blur,
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

struct PriorScorer {
    options: PriorScorerOptions,
    blur: Option<Blur>,
    grid: Grid,
    side: usize,
}

impl StatelessScorer for PriorScorer {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let prior = input.prior.ok_or(Error::NoPrior)?;
        let mut patches = prior.patches.clone();
        let mut image = prior.image;
        if let Some(evidence) = input
            .evidence
            .filter(|evidence| !evidence.branches.is_empty())
        {
            let share = 1.0 / evidence.branches.len() as f32;
            let mut mean = Array1::<f32>::zeros(patches.len());
            for branch in &evidence.branches {
                if branch.scores.len() != mean.len() {
                    return Err(Box::new(Error::Shape {
                        what: "the evidence".into(),
                        found: branch.scores.shape().to_vec(),
                        expected: format!("[{}]", mean.len()),
                    }));
                }
                mean.scaled_add(share, &branch.scores);
            }
            patches.zip_mut_with(&mean, |prior, &evidence| {
                *prior = self.options.fusion.of(*prior, evidence);
            });
            let largest = mean.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            image = 0.5 * (image + evidence.image.unwrap_or(largest));
        }
        let map = AnomalyMap::from_patches(patches.view(), self.grid, self.side, self.blur)?;
        let mut score = image;
        if self.options.map_weight > 0.0 {
            score += self.options.map_weight * map.max();
        }
        Ok(Scored::new(map, score))
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Fusion;

    #[test]
    fn the_harmonic_mean_needs_both() {
        assert_eq!(Fusion::Harmonic.of(0.0, 0.9), 0.0);
        assert!((Fusion::Harmonic.of(0.5, 0.25) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(Fusion::Mean.of(0.0, 0.5), 0.25);
    }
}
