//! The rareclip scorer `acme-scorer`: the mean of the rarest patches.

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    AnomalyMap, BoxError, ErasedScorer, Grid, ScoreInput, Scored, ScorerFactory, Stateless,
    StatelessScorer, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(scorer AcmeScorerOptions);

/// The mean score of the rarest patches; the map shows every patch.
///
/// The score of a patch is its mean over the branches of the bank. The scorer remembers nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeScorerOptions {
    /// Share of the patches that make the score, the rarest; at least one patch. Default 0.02.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
}

impl Default for AcmeScorerOptions {
    fn default() -> Self {
        Self { share: 0.02 }
    }
}

#[typetag::serde(name = "acme-scorer")]
impl ScorerFactory for AcmeScorerOptions {
    fn build(
        &self,
        backbone: &BackboneSpec,
        _bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Stateless(Rarest {
            share: self.share,
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

/// The scorer of one stream.
struct Rarest {
    share: f64,
    grid: Grid,
    side: usize,
}

impl StatelessScorer for Rarest {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let scores = input.mean_scores(self.grid)?;
        let mut rarest = scores.to_vec();
        rarest.sort_unstable_by(|a, b| b.total_cmp(a));
        rarest.truncate(((rarest.len() as f64 * self.share) as usize).max(1));
        let score = rarest.iter().sum::<f32>() / rarest.len() as f32;
        let map = AnomalyMap::from_patches(scores.view(), self.grid, self.side, None)?;
        Ok(Scored::new(map, score))
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 0.5)
    }
}
