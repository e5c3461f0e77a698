//! The rareclip scorer `{{name}}`: the mean of the rarest patches.

use std::any::Any;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScoreAssessment;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, BoxError, Grid, Role, ScoreInput, Scored, Scorer, ScorerFactory, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(scorer {{Name}}Options);

/// The mean rarity of the rarest patches as the score; the map shows every patch.
///
/// The rarity of a patch is its mean over the branches of the bank. The scorer remembers nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct {{Name}}Options {
    /// Share of the patches that make the score, the rarest; at least one patch. Default 0.02.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
}

impl Default for {{Name}}Options {
    fn default() -> Self {
        Self { share: 0.02 }
    }
}

#[typetag::serde(name = "{{name}}")]
impl ScorerFactory for {{Name}}Options {
    fn build(&self, backbone: &BackboneSpec, _: &[usize]) -> Result<Box<dyn Scorer>, BoxError> {
        let (share, grid, side) = (self.share, backbone.grid, backbone.input.side);
        Ok(Box::new(Rarest { share, grid, side }))
    }
}

/// The scorer of one stream.
struct Rarest {
    share: f64,
    grid: Grid,
    side: usize,
}

/// All there is to remember of an image.
struct Nothing;

impl Rarest {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let evidence = input.evidence.ok_or("add a [bank] table to the config")?;
        let mut rarity = Array1::<f32>::zeros(self.grid.patches());
        for branch in &evidence.branches {
            if branch.rarity.len() != rarity.len() || input.features.grid != self.grid {
                return Err("the image has another grid than the backbone declares".into());
            }
            rarity.scaled_add(1.0 / evidence.branches.len() as f32, &branch.rarity);
        }
        let mut rarest = rarity.to_vec();
        rarest.sort_unstable_by(|a, b| b.total_cmp(a));
        rarest.truncate(((rarest.len() as f64 * self.share) as usize).max(1));
        let score = rarest.iter().sum::<f32>() / rarest.len() as f32;
        let map = AnomalyMap::from_patches(rarity.view(), self.grid, self.side, None)?;
        let scored = Scored {
            map,
            raw_score: score,
            score,
        };
        if !scored.is_finite() {
            return Err("the evidence is not finite".into());
        }
        Ok(scored)
    }
}

impl Scorer for Rarest {
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError> {
        let query = input.role == Role::Query;
        let scored = query.then(|| self.score(input)).transpose()?;
        let carry = Box::new(Nothing);
        Ok(ScoreAssessment { scored, carry })
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, carry: Box<dyn Any + Send>) -> Result<(), BoxError> {
        if !carry.is::<Nothing>() {
            return Err("the assessment is another scorer's".into());
        }
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 0.5)
    }

    fn bytes(&self) -> usize {
        0
    }

    fn save<'a>(&'a self, _: &mut SnapshotWriter<'a>) {}

    fn load(&mut self, _: &SnapshotReader<'_>) -> Result<(), BoxError> {
        Ok(())
    }
}
