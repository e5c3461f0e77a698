use std::any::Any;

use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScoreAssessment;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, BoxError, Branch, Grid, Role, ScoreInput, Scored, Scorer, ScorerFactory, typetag,
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
    fn build(&self, backbone: &BackboneSpec, _: &[usize]) -> Result<Box<dyn Scorer>, BoxError> {
        Ok(Box::new(Largest {
            grid: backbone.grid,
            side: backbone.input.side,
        }))
    }
}

struct Largest {
    grid: Grid,
    side: usize,
}

/// Marks an assessment as one of this scorer's.
struct Carry;

impl Scorer for Largest {
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError> {
        if input.role == Role::Normal {
            return Ok(ScoreAssessment {
                scored: None,
                carry: Box::new(Carry),
            });
        }
        let evidence = input.evidence.ok_or("the scorer `largest` needs a bank")?;
        let grid = self.grid;
        let fits = |branch: &Branch| branch.rarity.len() == grid.patches();
        if evidence.branches.is_empty() || !evidence.branches.iter().all(fits) {
            return Err("the evidence has not one value for each patch".into());
        }
        let mut mean = Array1::<f32>::zeros(grid.patches());
        for branch in &evidence.branches {
            mean += &branch.rarity;
        }
        mean /= evidence.branches.len() as f32;
        let map = Array2::from_shape_vec((grid.rows, grid.columns), mean.to_vec())?;
        let values = upsample_bilinear(map.view(), self.side, self.side)?;
        let map = AnomalyMap { values };
        let score = map.max();
        let scored = Scored {
            map,
            raw_score: score,
            score,
        };
        if !scored.is_finite() {
            return Err("the evidence is not finite".into());
        }
        Ok(ScoreAssessment {
            scored: Some(scored),
            carry: Box::new(Carry),
        })
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, carry: Box<dyn Any + Send>) -> Result<(), BoxError> {
        match carry.is::<Carry>() {
            true => Ok(()),
            false => Err("the assessment is not one of this scorer".into()),
        }
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }

    fn bytes(&self) -> usize {
        0
    }

    fn save<'a>(&'a self, _: &mut SnapshotWriter<'a>) {}

    fn load(&mut self, _: &SnapshotReader<'_>) -> Result<(), BoxError> {
        Ok(())
    }
}
