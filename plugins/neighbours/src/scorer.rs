//! The scorer `nearest-neighbour`.

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::{
    AnomalyMap, Blur, BoxError, ErasedScorer, Evidence, Grid, ScoreInput, Scored, Stateless,
    StatelessScorer, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the score of an image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageScore {
    /// What the bank says of the image as a whole (`images`, and `coreset` with re-weighting);
    /// where it says nothing, the patches.
    #[default]
    Bank,
    /// The patches, whatever the bank says of the image.
    Patches,
}

/// The mean rarity of each patch as the map, and its largest values as the score.
///
/// The map is that mean over the branches of the bank, enlarged bilinearly with corners aligned and
/// blurred. It remembers nothing, so an image's result depends on the image and the bank alone. It
/// goes with any bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NearestNeighbourOptions {
    /// Where the score of an image comes from. Default bank.
    pub image_score: ImageScore,
    /// Share of the patches, those of the largest rarity, whose mean is the score where it comes
    /// from the patches; at least one patch, so 0 is the maximum. Default 0.01 (AnomalyDINO);
    /// PatchCore takes 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_share: f64,
    /// Taps of the Gaussian blur of the map, in pixels, odd. Default 33: four deviations to each
    /// side.
    #[schemars(range(min = 1, max = 1001))]
    pub blur_kernel: usize,
    /// Standard deviation of the Gaussian blur of the map, in pixels; 0 for none. Default 4
    /// (AnomalyDINO, PatchCore).
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub blur_sigma: f32,
    /// The values a map takes as a rule, low and high: the scale of colours until the stream is
    /// calibrated. Default 0 to 0.5, which suits cosines; Euclidean distances have the scale of
    /// their backbone.
    #[schemars(inner(range(min = -1e9, max = 1e9)))]
    pub map_range: [f32; 2],
}

impl Default for NearestNeighbourOptions {
    fn default() -> Self {
        Self {
            image_score: ImageScore::Bank,
            top_share: 0.01,
            blur_kernel: 33,
            blur_sigma: 4.0,
            map_range: [0.0, 0.5],
        }
    }
}

#[typetag::serde(name = "nearest-neighbour")]
impl ScorerFactory for NearestNeighbourOptions {
    fn capacity_bytes(&self, _: &BackboneSpec, _: &[usize]) -> Result<Option<u64>, BoxError> {
        Ok(Some(0))
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        _: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        let share = self.top_share;
        ComponentError::require((0.0..=1.0).contains(&share), "top_share", share, "0 to 1")?;
        let [low, high] = self.map_range;
        let range = low.is_finite() && high.is_finite() && low < high;
        ComponentError::require(range, "map_range", self.map_range, "two numbers, ascending")?;
        let blur = (self.blur_sigma != 0.0).then_some(Blur {
            kernel: self.blur_kernel,
            sigma: self.blur_sigma,
        });
        if let Some(Blur { kernel, sigma }) = blur {
            rareclip_imaging::gaussian_kernel(kernel, sigma)?;
        }
        Ok(Box::new(Stateless(NearestNeighbour {
            options: self.clone(),
            blur,
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

struct NearestNeighbour {
    options: NearestNeighbourOptions,
    blur: Option<Blur>,
    grid: Grid,
    side: usize,
}

impl NearestNeighbour {
    /// The mean rarity of each patch `[patches]` over the branches.
    fn rarity(&self, evidence: &Evidence) -> Result<Array1<f32>, ComponentError> {
        let patches = self.grid.patches();
        let mut mean = Array1::<f32>::zeros(patches);
        for branch in &evidence.branches {
            if branch.scores.len() != patches {
                return Err(ComponentError::shape(
                    "the rarity of a branch",
                    &[branch.scores.len()],
                    &[patches],
                ));
            }
            mean += &branch.scores;
        }
        if evidence.branches.is_empty() {
            return Err(ComponentError::NoEvidence);
        }
        mean /= evidence.branches.len() as f32;
        if mean.iter().all(|value| value.is_finite()) {
            Ok(mean)
        } else {
            Err(ComponentError::non_finite("the evidence of the bank"))
        }
    }

    fn image_score(
        &self,
        evidence: &Evidence,
        rarity: &Array1<f32>,
    ) -> Result<f32, ComponentError> {
        let said = evidence
            .image
            .filter(|_| self.options.image_score == ImageScore::Bank);
        match said {
            Some(score) if score.is_finite() => Ok(score),
            Some(_) => Err(ComponentError::non_finite("the bank's score of the image")),
            None => Ok(mean_of_top(rarity.to_vec(), self.options.top_share)),
        }
    }
}

/// The mean of the largest `share` of the values, rounded down to a whole number of at least one.
fn mean_of_top(mut values: Vec<f32>, share: f64) -> f32 {
    let count = ((share * values.len() as f64) as usize).clamp(1, values.len().max(1));
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    let top = values.iter().take(count).map(|&value| f64::from(value));
    (top.sum::<f64>() / count as f64) as f32
}

impl StatelessScorer for NearestNeighbour {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let evidence = input.evidence.ok_or(ComponentError::NoEvidence)?;
        let rarity = self.rarity(evidence)?;
        let score = self.image_score(evidence, &rarity)?;
        let map = AnomalyMap::from_patches(rarity.view(), self.grid, self.side, self.blur)?;
        Ok(Scored::new(map, score))
    }

    fn nominal_range(&self) -> (f32, f32) {
        let [low, high] = self.options.map_range;
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::mean_of_top;

    #[test]
    fn a_share_is_rounded_down_to_whole_patches() {
        let values = vec![1.0, 5.0, 2.0, 4.0, 3.0];
        assert_eq!(mean_of_top(values.clone(), 0.5), 4.5);
        assert_eq!(mean_of_top(values, 0.59), 4.5);
    }

    #[test]
    fn no_share_is_the_maximum_and_the_whole_is_the_mean() {
        let values = vec![1.0, 5.0, 3.0];
        assert_eq!(mean_of_top(values.clone(), 0.0), 5.0);
        assert_eq!(mean_of_top(values, 1.0), 3.0);
    }
}
