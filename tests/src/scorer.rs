use std::any::Any;

use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScoreAssessment;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{AnomalyMap, BoxError, Role, ScoreInput, Scored, Scorer, ScorerFactory};
use rareclip_imaging::upsample_bilinear;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest mean rarity of any patch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LargestOptions {}

impl ScorerFactory for LargestOptions {
    fn build(&self, backbone: &BackboneSpec, _: &[usize]) -> Result<Box<dyn Scorer>, BoxError> {
        Ok(Box::new(Largest {
            side: backbone.input.side,
        }))
    }
}

struct Largest {
    side: usize,
}

impl Scorer for Largest {
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError> {
        if input.role == Role::Normal {
            return Ok(ScoreAssessment {
                scored: None,
                carry: Box::new(()),
            });
        }
        let evidence = input.evidence.ok_or("the scorer `largest` needs a bank")?;
        let grid = input.features.grid;
        let mut mean = Array1::<f32>::zeros(grid.patches());
        for branch in &evidence.branches {
            mean += &branch.rarity;
        }
        mean /= evidence.branches.len() as f32;
        let map = Array2::from_shape_vec((grid.rows, grid.columns), mean.to_vec())?;
        let values = upsample_bilinear(map.view(), self.side, self.side)?;
        let map = AnomalyMap { values };
        let score = map.max();
        Ok(ScoreAssessment {
            scored: Some(Scored {
                map,
                raw_score: score,
                score,
            }),
            carry: Box::new(()),
        })
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, _: Box<dyn Any + Send>) -> Result<(), BoxError> {
        Ok(())
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
