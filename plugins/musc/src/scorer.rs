//! MuSc's scorer, and its re-scoring among images that look alike (paper: RsCIN).

use ndarray::Array1;
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::patches::dot;
use rareclip_core::scorer::ScorerFactory;
use rareclip_core::{
    AnomalyMap, BoxError, ErasedScorer, FeatureSource, Grid, ScoreInput, Scored, Stateless,
    StatelessScorer, typetag,
};

use crate::error::MutualError;
use crate::options::MutualScorerOptions;

#[typetag::serde(name = "mutual")]
impl ScorerFactory for MutualScorerOptions {
    fn capacity_bytes(&self, _: &BackboneSpec, _: &[usize]) -> Result<Option<u64>, BoxError> {
        Ok(Some(0))
    }

    fn build(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        if bank_blocks.is_empty() {
            return Err(ComponentError::NoEvidence.into());
        }
        let fits = self.windows.iter().all(|&window| window >= 1);
        ComponentError::require(fits, "windows", &self.windows, "numbers from 1")?;
        Ok(Box::new(Stateless(MutualScorer {
            windows: self.windows.clone(),
            grid: backbone.grid,
            side: backbone.input.side,
        })))
    }
}

/// The rules of the score; there is no memory.
struct MutualScorer {
    windows: Vec<usize>,
    grid: Grid,
    side: usize,
}

impl StatelessScorer for MutualScorer {
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError> {
        let evidence = input.evidence.ok_or(ComponentError::NoEvidence)?;
        if evidence.branches.is_empty() {
            return Err(ComponentError::NoEvidence.into());
        }
        let patches = self.grid.patches();
        let mut mean = Array1::<f32>::zeros(patches);
        for branch in &evidence.branches {
            if branch.scores.len() != patches {
                return Err(ComponentError::shape(
                    "the evidence",
                    branch.scores.shape(),
                    &[patches],
                )
                .into());
            }
            mean += &branch.scores;
        }
        mean /= evidence.branches.len() as f32;
        let map = AnomalyMap::from_patches(mean.view(), self.grid, self.side, None)?;
        let score = map.max();
        Ok(Scored::new(map, score))
    }

    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        if scores.len() != images.len() {
            return Err(MutualError::Scores {
                scores: scores.len(),
                images: images.len(),
            }
            .into());
        }
        if self.windows.is_empty() || scores.is_empty() {
            return Ok(());
        }
        let mut embeddings: Vec<Vec<f32>> = Vec::with_capacity(images.len());
        for at in 0..images.len() {
            let embedding = images.get(at)?.embedding.to_vec();
            let width = embeddings.first().map_or(embedding.len(), Vec::len);
            if embedding.len() != width {
                return Err(ComponentError::shape(
                    "an image embedding",
                    &[embedding.len()],
                    &[width],
                )
                .into());
            }
            if !embedding.iter().all(|value| value.is_finite()) {
                return Err(ComponentError::non_finite("an image embedding").into());
            }
            embeddings.push(embedding);
        }
        let refined: Vec<f32> = (0..scores.len())
            .map(|image| refined(image, &embeddings, scores, &self.windows))
            .collect();
        scores.copy_from_slice(&refined);
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }
}

/// The score of `image`: per window the mean of its own score and those of the images most like it,
/// weighed by similarity; then the mean over the windows (paper: equations 5 and 6). Unlike images,
/// of negative similarity, do not weigh.
fn refined(image: usize, embeddings: &[Vec<f32>], scores: &[f32], windows: &[usize]) -> f32 {
    let own = &embeddings[image];
    let mut alike: Vec<(f32, usize)> = embeddings
        .iter()
        .enumerate()
        .map(|(other, embedding)| (dot(own, embedding).max(0.0), other))
        .collect();
    // The image itself comes first: another of the same embedding is no closer.
    alike.sort_by(|a, b| {
        let itself = |at: usize| at != image;
        (itself(a.1).cmp(&itself(b.1)))
            .then(b.0.total_cmp(&a.0))
            .then(a.1.cmp(&b.1))
    });
    let mean = |&window: &usize| {
        let near = &alike[..window.min(alike.len())];
        let weight: f32 = near.iter().map(|(similarity, _)| similarity).sum();
        if weight <= 0.0 {
            return scores[image];
        }
        let sum: f32 = near
            .iter()
            .map(|&(similarity, at)| similarity * scores[at])
            .sum();
        sum / weight
    };
    windows.iter().map(mean).sum::<f32>() / windows.len() as f32
}

#[cfg(test)]
mod tests {
    use super::refined;

    #[test]
    fn a_window_of_one_keeps_the_score() {
        let embeddings = [vec![1.0, 0.0], vec![1.0, 0.0]];
        assert_eq!(refined(1, &embeddings, &[5.0, 3.0], &[1]), 3.0);
    }

    #[test]
    fn images_alike_share_their_scores_by_similarity() {
        let embeddings = [vec![1.0, 0.0], vec![0.6, 0.8], vec![0.8, 0.6]];
        let scores = [1.0, 2.0, 4.0];
        // Nearest to the first is the third, then the second: weights 1, 0.8, 0.6.
        let two = (1.0 + 0.8 * 4.0) / 1.8;
        let three = (1.0 + 0.8 * 4.0 + 0.6 * 2.0) / 2.4;
        let expected = (1.0 + two + three) / 3.0;
        assert!((refined(0, &embeddings, &scores, &[1, 2, 3]) - expected).abs() < 1e-6);
    }

    #[test]
    fn opposites_do_not_weigh() {
        let embeddings = [vec![1.0, 0.0], vec![-1.0, 0.0]];
        assert_eq!(refined(0, &embeddings, &[1.0, 9.0], &[2]), 1.0);
    }

    #[test]
    fn a_window_beyond_the_set_takes_all_of_it() {
        let embeddings = [vec![1.0, 0.0], vec![1.0, 0.0]];
        assert_eq!(refined(0, &embeddings, &[1.0, 3.0], &[9]), 2.0);
    }
}
