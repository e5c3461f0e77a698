//! The fourth room: prior, evidence and features to a map and a score.

use std::any::Any;
use std::fmt::Debug;

use crate::backbone::BackboneSpec;
use crate::snapshot::{SnapshotReader, SnapshotWriter};
use crate::{AnomalyMap, BoxError, Evidence, FeatureSource, Features, Prior, Role};

/// Everything a scorer sees of one image.
#[derive(Debug, Clone, Copy)]
pub struct ScoreInput<'a> {
    /// What the backbone said.
    pub features: &'a Features,
    /// What the prompt head said, where the detector has one.
    pub prior: Option<&'a Prior>,
    /// What the bank said, where the detector has one.
    pub evidence: Option<&'a Evidence>,
    /// As what the image is shown.
    pub role: Role,
    /// Whether the image is about to be absorbed.
    pub update: bool,
}

/// The map and score of one image.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The anomaly map at input resolution.
    pub map: AnomalyMap,
    /// The score of this image alone.
    pub raw_score: f32,
    /// The score after the scorer's refinements, e.g. re-scoring; equal to `raw_score` where it has none.
    pub score: f32,
}

impl Scored {
    /// Whether no value is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.raw_score.is_finite()
            && self.score.is_finite()
            && self.map.values.iter().all(|value| value.is_finite())
    }
}

/// What a scorer found out about one image, and its own work for [`Scorer::absorb`] to use again.
pub struct ScoreAssessment {
    /// Map and score; `None` for a known normal.
    pub scored: Option<Scored>,
    /// The scorer's own intermediate results.
    pub carry: Box<dyn Any + Send>,
}

/// Scores the images of one stream in order. The result for an image depends on it and earlier ones only.
pub trait Scorer: Send {
    /// Scores an image against what is remembered, which stays as it is.
    ///
    /// # Errors
    /// When an input it cannot do without is missing or has the wrong shape.
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError>;

    /// Remembers the image whose assessment gave `carry`.
    ///
    /// # Errors
    /// When `carry` is not one of this scorer's. The state is unchanged then.
    fn absorb(
        &mut self,
        input: &ScoreInput<'_>,
        carry: Box<dyn Any + Send>,
    ) -> Result<(), BoxError>;

    /// Refines the scores of a batch by looking at all of it, where the bank learns from batches; `scores` are those of
    /// [`assess`](Self::assess), in the order of `images`.
    ///
    /// # Errors
    /// When features cannot be read or have the wrong shape.
    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        let _ = (images, scores);
        Ok(())
    }

    /// Values that a map takes as a rule, `(low, high)`: the colour scale until the stream is calibrated.
    fn nominal_range(&self) -> (f32, f32);

    /// Bytes held between two images.
    fn bytes(&self) -> usize;

    /// Writes the whole state.
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);

    /// Replaces the state by a saved one; continuing equals never having stopped, to the bit.
    ///
    /// # Errors
    /// When an entry is missing or has the wrong shape. The scorer must not be used then.
    fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), BoxError>;
}

/// Builds a [`Scorer`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait ScorerFactory: Debug + Send + Sync {
    /// The blocks (1-based) it reads beyond those of the bank; empty where it reads what the bank reads.
    fn blocks(&self) -> Vec<usize> {
        Vec::new()
    }

    /// The most bytes that a scorer of these options holds between two images for scored images, computed without building one
    /// and without reserving memory; known normals come on top. `Some(0)` if it remembers nothing. Use saturating arithmetic.
    /// `None` if it cannot be computed: a service then refuses the scorer in a config from a request, unless the operator
    /// allows it by name.
    ///
    /// # Errors
    /// If the options do not fit the backbone.
    fn capacity_bytes(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Option<u64>, BoxError> {
        let _ = (backbone, bank_blocks);
        Ok(None)
    }

    /// Builds a scorer with no memory for one stream; `bank_blocks` are the blocks the bank reads.
    ///
    /// # Errors
    /// When the options do not fit the backbone.
    fn build(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn Scorer>, BoxError>;
}
