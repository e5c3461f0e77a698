//! The fourth room: prior, evidence and features to a map and a score.

use std::any::Any;
use std::fmt::Debug;

use ndarray::Array1;

use crate::backbone::BackboneSpec;
use crate::snapshot::{SnapshotReader, SnapshotWriter};
use crate::{
    AnomalyMap, BoxError, ComponentError, Evidence, FeatureSource, Features, Grid, Prior, Role,
    State,
};

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

impl<'a> ScoreInput<'a> {
    /// The evidence, for a scorer that cannot do without.
    ///
    /// # Errors
    /// [`ComponentError::NoEvidence`] when the detector has no bank.
    pub fn evidence(&self) -> Result<&'a Evidence, ComponentError> {
        self.evidence.ok_or(ComponentError::NoEvidence)
    }

    /// The mean over the branches of the bank of the scores of each patch `[patches]`, for a
    /// scorer that was built for `grid`.
    ///
    /// # Errors
    /// [`ComponentError::NoEvidence`], or [`ComponentError::Shape`] when the image has another grid
    /// or the evidence other patches.
    pub fn mean_scores(&self, grid: Grid) -> Result<Array1<f32>, ComponentError> {
        let Grid { rows, columns } = self.features.grid;
        if self.features.grid != grid {
            return Err(ComponentError::Shape {
                what: "the patch grid".into(),
                found: vec![rows, columns],
                expected: format!("[{}, {}]", grid.rows, grid.columns),
            });
        }
        self.evidence()?.mean(grid.patches())
    }
}

/// The map and score of one image.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The anomaly map at input resolution.
    pub map: AnomalyMap,
    /// The score of this image alone.
    pub raw_score: f32,
    /// The score after the scorer's refinements, e.g. re-scoring; equal to `raw_score` where it has
    /// none.
    pub score: f32,
}

impl Scored {
    /// A map and a score that is not refined.
    pub fn new(map: AnomalyMap, score: f32) -> Self {
        Self {
            map,
            raw_score: score,
            score,
        }
    }

    /// Whether no value is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.raw_score.is_finite()
            && self.score.is_finite()
            && self.map.values.iter().all(|value| value.is_finite())
    }
}

/// Scores the images of one stream in order. The result for an image depends on it and earlier ones
/// only.
///
/// A scorer that remembers nothing is a [`StatelessScorer`].
pub trait Scorer: State + Send {
    /// What it works out of an image for [`absorb`](Self::absorb) to use again; `()` for nothing.
    type Carry: Send + 'static;

    /// Scores an image against what is remembered, which stays as it is; no score for a known
    /// normal. A score or map that is not finite is refused by the stream.
    ///
    /// # Errors
    /// When an input it cannot do without is missing or has the wrong shape.
    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError>;

    /// Remembers the image whose assessment gave `carry`.
    ///
    /// # Errors
    /// When it cannot take in the image. The memory is unchanged then.
    fn absorb(&mut self, input: &ScoreInput<'_>, carry: Self::Carry) -> Result<(), BoxError>;

    /// Refines the scores of a batch by looking at all of it, where the bank learns from batches;
    /// `scores` are those of [`assess`](Self::assess), in the order of `images`.
    ///
    /// # Errors
    /// When features cannot be read or have the wrong shape.
    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        let _ = (images, scores);
        Ok(())
    }

    /// Values that a map takes as a rule, `(low, high)`: the colour scale until the stream is
    /// calibrated.
    fn nominal_range(&self) -> (f32, f32);

    /// Bytes held between two images.
    fn bytes(&self) -> usize;
}

/// A scorer that remembers nothing: `Box::new(Stateless(scorer))` is a [`Scorer`].
pub trait StatelessScorer: Send {
    /// Scores an image. A score or map that is not finite is refused by the stream.
    ///
    /// # Errors
    /// When an input it cannot do without is missing or has the wrong shape.
    fn score(&self, input: &ScoreInput<'_>) -> Result<Scored, BoxError>;

    /// [`Scorer::refine_batch`].
    ///
    /// # Errors
    /// As there.
    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        let _ = (images, scores);
        Ok(())
    }

    /// Values that a map takes as a rule, `(low, high)`: the colour scale until the stream is
    /// calibrated.
    fn nominal_range(&self) -> (f32, f32);
}

/// The [`Scorer`] that a [`StatelessScorer`] is.
#[derive(Debug, Clone)]
pub struct Stateless<S>(pub S);

impl<S> State for Stateless<S> {
    fn save<'a>(&'a self, _: &mut SnapshotWriter<'a>) {}

    fn restore(self, _: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl<S: StatelessScorer> Scorer for Stateless<S> {
    type Carry = ();

    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, ()), BoxError> {
        let scored = match input.role {
            Role::Normal => None,
            Role::Query => Some(self.0.score(input)?),
        };
        Ok((scored, ()))
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, (): ()) -> Result<(), BoxError> {
        Ok(())
    }

    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        self.0.refine_batch(images, scores)
    }

    fn nominal_range(&self) -> (f32, f32) {
        self.0.nominal_range()
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// What a scorer of whatever type found out about one image.
pub struct ScoreAssessment {
    /// Map and score, finite; `None` for a known normal.
    pub scored: Option<Scored>,
    /// The scorer's [`Carry`](Scorer::Carry).
    pub carry: Box<dyn Any + Send>,
}

/// A [`Scorer`] of whatever type. Every `Scorer` is one; nothing else implements it.
pub trait ErasedScorer: Send {
    /// [`Scorer::assess`].
    ///
    /// # Errors
    /// As there, and [`ComponentError::NonFinite`] for a score or map that is not finite.
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError>;

    /// [`Scorer::absorb`].
    ///
    /// # Errors
    /// As there, and when `carry` is that of a scorer of another type.
    fn absorb(
        &mut self,
        input: &ScoreInput<'_>,
        carry: Box<dyn Any + Send>,
    ) -> Result<(), BoxError>;

    /// [`Scorer::refine_batch`].
    ///
    /// # Errors
    /// As there.
    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError>;

    /// [`Scorer::nominal_range`].
    fn nominal_range(&self) -> (f32, f32);

    /// [`Scorer::bytes`].
    fn bytes(&self) -> usize;

    /// [`State::save`].
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);

    /// [`State::restore`].
    ///
    /// # Errors
    /// As there.
    fn restore(
        self: Box<Self>,
        reader: &SnapshotReader<'_>,
    ) -> Result<Box<dyn ErasedScorer>, BoxError>;
}

impl<S: Scorer + 'static> ErasedScorer for S {
    fn assess(&self, input: &ScoreInput<'_>) -> Result<ScoreAssessment, BoxError> {
        let (scored, carry) = Scorer::assess(self, input)?;
        if scored.as_ref().is_some_and(|scored| !scored.is_finite()) {
            return Err(ComponentError::non_finite("the score or the map").into());
        }
        let carry = Box::new(carry);
        Ok(ScoreAssessment { scored, carry })
    }

    fn absorb(
        &mut self,
        input: &ScoreInput<'_>,
        carry: Box<dyn Any + Send>,
    ) -> Result<(), BoxError> {
        let carry = carry.downcast::<S::Carry>();
        let carry = carry.map_err(|_| "the assessment is that of another scorer")?;
        Scorer::absorb(self, input, *carry)
    }

    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        Scorer::refine_batch(self, images, scores)
    }

    fn nominal_range(&self) -> (f32, f32) {
        Scorer::nominal_range(self)
    }

    fn bytes(&self) -> usize {
        Scorer::bytes(self)
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        State::save(self, writer);
    }

    fn restore(
        self: Box<Self>,
        reader: &SnapshotReader<'_>,
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(State::restore(*self, reader)?))
    }
}

/// Builds a [`Scorer`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait ScorerFactory: Debug + Send + Sync {
    /// The blocks (1-based) it reads beyond those of the bank; empty where it reads what the bank
    /// reads.
    fn blocks(&self) -> Vec<usize> {
        Vec::new()
    }

    /// The most bytes that a scorer of these options holds between two images for scored images,
    /// computed without building one and without reserving memory; known normals come on top.
    /// `Some(0)` if it remembers nothing. Use saturating arithmetic. `None` if it cannot be
    /// computed: a service then refuses the scorer in a config from a request, unless the operator
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
    ) -> Result<Box<dyn ErasedScorer>, BoxError>;
}
