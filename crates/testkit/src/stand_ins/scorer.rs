use std::collections::VecDeque;

use ndarray::Array1;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, BoxError, ErasedScorer, Grid, Role, ScoreInput, Scored, Scorer, ScorerFactory,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prior and mean rarity of the patches as the map; the score is how far its maximum is above those
/// of the latest images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScorerOptions {
    /// Images whose scores are remembered, the latest. Default 3.
    #[schemars(range(min = 1, max = 1000))]
    images: usize,
}

impl Default for ScorerOptions {
    fn default() -> Self {
        Self { images: 3 }
    }
}

#[typetag::serde(name = "testkit")]
impl ScorerFactory for ScorerOptions {
    fn build(
        &self,
        backbone: &BackboneSpec,
        _: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(StandIn {
            images: self.images,
            grid: backbone.grid,
            side: backbone.input.side,
            latest: VecDeque::new(),
        }))
    }
}

struct StandIn {
    images: usize,
    grid: Grid,
    side: usize,
    latest: VecDeque<f32>,
}

impl StandIn {
    /// Prior plus mean rarity of each patch `[patches]`.
    fn patches(&self, input: &ScoreInput<'_>) -> Result<Array1<f32>, BoxError> {
        let count = self.grid.patches();
        let mut sum = Array1::<f32>::zeros(count);
        let mut add = |values: &Array1<f32>, share: f32| -> Result<(), BoxError> {
            if values.len() != count {
                return Err(format!("{} values for {count} patches", values.len()).into());
            }
            sum.scaled_add(share, values);
            Ok(())
        };
        if let Some(prior) = input.prior {
            add(&prior.patches, 1.0)?;
        }
        let branches = input
            .evidence
            .map_or(&[][..], |evidence| &evidence.branches);
        for branch in branches {
            add(&branch.scores, 1.0 / branches.len() as f32)?;
        }
        Ok(sum)
    }

    fn scored(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let patches = self.patches(input)?;
        if input.features.grid != self.grid {
            return Err("the features have another grid".into());
        }
        let map = AnomalyMap::from_patches(patches.view(), self.grid, self.side, None)?;
        let raw_score = map.max();
        let mean = self.latest.iter().sum::<f32>() / self.latest.len().max(1) as f32;
        let scored = Scored {
            map,
            raw_score,
            score: raw_score - mean,
        };
        if scored.is_finite() {
            return Ok(scored);
        }
        Err("prior or evidence is not a finite number".into())
    }
}

impl State for StandIn {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let latest: Vec<f32> = self.latest.iter().copied().collect();
        writer.floats("latest", &[latest.len()], latest);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        let (shape, latest) = reader.floats("latest")?;
        if shape.len() != 1 || latest.len() > self.images {
            let most = self.images;
            return Err(format!("`latest` has shape {shape:?}, expected [up to {most}]").into());
        }
        self.latest = latest.into();
        Ok(self)
    }
}

impl Scorer for StandIn {
    type Carry = Option<f32>;

    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError> {
        let scored = match input.role {
            Role::Normal => None,
            Role::Query => Some(self.scored(input)?),
        };
        let score = scored.as_ref().map(|scored| scored.raw_score);
        Ok((scored, score))
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, carry: Self::Carry) -> Result<(), BoxError> {
        if let Some(score) = carry {
            self.latest.push_back(score);
            if self.latest.len() > self.images {
                self.latest.pop_front();
            }
        }
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 2.0)
    }

    fn bytes(&self) -> usize {
        self.latest.len() * size_of::<f32>()
    }
}
