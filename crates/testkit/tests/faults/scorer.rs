//! A scorer.

use std::any::Any;
use std::sync::Arc;

use std::cell::Cell;

use ndarray::Array2;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BoxError, ErasedScorer, FeatureSource, Role, ScoreInput, Scored, Scorer, ScorerFactory, typetag,
};
use rareclip_testkit::conformance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refused;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Sound.
    #[default]
    None,
    /// A number that scores depend on is not saved.
    SnapshotForgets,
    /// Assessing counts, and the count shows.
    TraceOfAssessment,
    /// A row of the map is missing.
    ShortMap,
    /// Known normals get a score as well.
    ScoresNormals,
    /// A prior that is too short counts where it is there.
    ShortPrior,
    /// A block that nobody declares is read.
    ReadsMore,
    /// The nominal range is upside down.
    UpsideDown,
    /// The scores of a set are sorted.
    RefinesInOrder,
    /// A set that cannot be read leaves half its scores changed.
    RefinesHalf,
    /// Without evidence it panics.
    NoEvidencePanics,
    /// A restored scorer reports another memory.
    OtherBytes,
}

/// A scorer with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultyOptions {
    /// The fault. Default none.
    fault: Fault,
}

/// A sound scorer.
pub(crate) fn sound() -> Arc<dyn ScorerFactory> {
    <dyn ScorerFactory>::from_table(crate::sound_table()).unwrap()
}

#[typetag::serde(name = "faulty")]
impl ScorerFactory for FaultyOptions {
    fn build(
        &self,
        backbone: &BackboneSpec,
        bank_blocks: &[usize],
    ) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Faulty {
            fault: self.fault,
            inner: sound().build(backbone, bank_blocks)?,
            count: Cell::new(0.0),
            loaded: false,
        }))
    }
}

struct Faulty {
    fault: Fault,
    inner: Box<dyn ErasedScorer>,
    count: Cell<f32>,
    loaded: bool,
}

impl Faulty {
    fn spoil(&self, scored: &mut Scored) {
        let (rows, columns) = scored.map.values.dim();
        match self.fault {
            Fault::ShortMap => scored.map.values = Array2::zeros((rows - 1, columns)),
            Fault::TraceOfAssessment => {
                self.count.set(self.count.get() + 1.0);
                scored.score += self.count.get();
            }
            Fault::SnapshotForgets => scored.score += self.count.get(),
            _ => {}
        }
    }
}

impl State for Faulty {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        self.inner.save(writer);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.loaded = true;
        self.inner = self.inner.restore(reader)?;
        Ok(self)
    }
}

impl Scorer for Faulty {
    type Carry = Box<dyn Any + Send>;

    fn assess(&self, input: &ScoreInput<'_>) -> Result<(Option<Scored>, Self::Carry), BoxError> {
        let mut input = *input;
        let mut prior = input.prior.cloned();
        match self.fault {
            Fault::ScoresNormals => input.role = Role::Query,
            Fault::ReadsMore => drop(input.features.block(3)?),
            Fault::NoEvidencePanics => assert!(input.evidence.is_some(), "nothing to score"),
            Fault::ShortPrior => {
                if let Some(prior) = &mut prior {
                    let mut values = prior.patches.to_vec();
                    values.resize(input.features.grid.patches(), 0.0);
                    prior.patches = values.into();
                }
                input.prior = prior.as_ref();
            }
            _ => {}
        }
        let mut assessed = self.inner.assess(&input)?;
        if let Some(scored) = &mut assessed.scored {
            self.spoil(scored);
        }
        Ok((assessed.scored, assessed.carry))
    }

    fn absorb(&mut self, input: &ScoreInput<'_>, carry: Self::Carry) -> Result<(), BoxError> {
        self.inner.absorb(input, carry)?;
        self.count.set(self.count.get() + 1.0);
        Ok(())
    }

    fn refine_batch(&self, images: &dyn FeatureSource, scores: &mut [f32]) -> Result<(), BoxError> {
        match self.fault {
            Fault::RefinesInOrder => scores.sort_by(f32::total_cmp),
            Fault::RefinesHalf => {
                for (at, score) in scores.iter_mut().enumerate() {
                    *score += 1.0;
                    images.get(at)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn nominal_range(&self) -> (f32, f32) {
        match self.fault {
            Fault::UpsideDown => (1.0, 0.0),
            _ => self.inner.nominal_range(),
        }
    }

    fn bytes(&self) -> usize {
        let own = usize::from(self.fault == Fault::OtherBytes && self.loaded);
        own + self.inner.bytes()
    }
}

#[test]
fn a_sound_scorer_passes() {
    conformance::scorer("faulty").check();
}

refused! { conformance::scorer("faulty");
    a_number_that_is_not_saved_is_found: "snapshot-forgets" => "never stopped"
    an_assessment_that_leaves_a_trace_is_found: "trace-of-assessment" => "leaves no trace"
    a_map_of_another_shape_is_found: "short-map" => "declared shape"
    a_scored_normal_is_found: "scores-normals" => "declared shape"
    a_short_prior_that_counts_is_found: "short-prior" => "another shape"
    a_block_that_is_not_declared_is_found: "reads-more" => "all it reads"
    a_range_upside_down_is_found: "upside-down" => "nominal range"
    a_set_in_another_order_is_found: "refines-in-order" => "in their order"
    a_set_that_is_half_refined_is_found: "refines-half" => "keeps its scores"
    a_panic_without_evidence_is_found: "no-evidence-panics" => "missing inputs"
    another_memory_after_a_restart_is_found: "other-bytes" => "memory it reports"
}
