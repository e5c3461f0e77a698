use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    AnomalyMap, BoxError, Branch, ErasedScorer, Grid, ScoreInput, Scored, ScorerFactory, Stateless,
    StatelessScorer, typetag,
};
use rareclip_imaging::upsample_bilinear;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest mean rarity of any patch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LargestOptions {}

#[typetag::serde(name = "largest")]
impl ScorerFactory for LargestOptions {
    fn build(
        &self,
        backbone: &BackboneSpec,
        _: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Stateless(Largest {
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

struct Largest {
    grid: Grid,
    side: usize,
}

impl StatelessScorer for Largest {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let evidence = input.evidence.ok_or("the scorer `largest` needs a bank")?;
        let grid = self.grid;
        let fits = |branch: &Branch| branch.scores.len() == grid.patches();
        if evidence.branches.is_empty() || !evidence.branches.iter().all(fits) {
            return Err("the evidence has not one value for each patch".into());
        }
        let mut mean = Array1::<f32>::zeros(grid.patches());
        for branch in &evidence.branches {
            mean += &branch.scores;
        }
        mean /= evidence.branches.len() as f32;
        let map = Array2::from_shape_vec((grid.rows, grid.columns), mean.to_vec())?;
        let values = upsample_bilinear(map.view(), self.side, self.side)?;
        let map = AnomalyMap { values };
        let score = map.max();
        Ok(Scored::new(map, score))
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }
}
