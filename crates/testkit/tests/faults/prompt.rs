//! A prompt head.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, Features, Prior, PromptHead, PromptHeadFactory, typetag};
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
    /// Probabilities above 1.
    AboveOne,
    /// A patch short.
    ShortPrior,
    /// NaN in, NaN out.
    NanLeaves,
    /// The prior of an image depends on those before it.
    Remembers,
    /// Other weights each time they are loaded.
    OtherWeights,
    /// A block that is not declared is read.
    ReadsMore,
    /// A backbone without the block is accepted.
    AnyBackbone,
    /// Patches of a turned grid are taken for those of the right one, and turned.
    TurnedGrid,
}

/// A prompt head with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultyOptions {
    /// The fault. Default none.
    fault: Fault,
}

/// Heads built.
static BUILT: AtomicU32 = AtomicU32::new(0);

fn sound() -> Arc<dyn PromptHeadFactory> {
    <dyn PromptHeadFactory>::from_table(crate::sound_table()).unwrap()
}

#[typetag::serde(name = "faulty")]
impl PromptHeadFactory for FaultyOptions {
    fn blocks(&self) -> Vec<usize> {
        sound().blocks()
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Arc<dyn PromptHead>, BoxError> {
        let mut spec = backbone.clone();
        if self.fault == Fault::AnyBackbone {
            spec.blocks = vec![(3, 8)];
        }
        let weights = match self.fault {
            Fault::OtherWeights => BUILT.fetch_add(1, Ordering::Relaxed).to_string(),
            _ => "faulty".into(),
        };
        Ok(Arc::new(Faulty {
            fault: self.fault,
            inner: sound().build(&spec)?,
            spec,
            weights,
            seen: AtomicU32::new(0),
        }))
    }
}

struct Faulty {
    fault: Fault,
    inner: Arc<dyn PromptHead>,
    spec: BackboneSpec,
    weights: String,
    seen: AtomicU32,
}

impl PromptHead for Faulty {
    fn weights(&self) -> &str {
        &self.weights
    }

    fn prior(&self, features: &Features) -> Result<Prior, BoxError> {
        let mut features = features.clone();
        let turned = features.grid != self.spec.grid;
        if self.fault == Fault::ReadsMore {
            features.block(5)?;
        }
        if self.fault == Fault::TurnedGrid {
            features.grid = self.spec.grid;
        }
        let nan = features
            .tokens
            .values()
            .flatten()
            .any(|value| value.is_nan());
        if self.fault == Fault::NanLeaves && nan {
            features
                .tokens
                .values_mut()
                .for_each(|tokens| tokens.fill(0.0));
        }
        let mut prior = self.inner.prior(&features)?;
        let patches = &mut prior.patches;
        match self.fault {
            Fault::AboveOne => *patches += 0.9,
            Fault::ShortPrior => *patches = patches.iter().skip(1).copied().collect(),
            Fault::NanLeaves if nan => patches.fill(f32::NAN),
            Fault::TurnedGrid if turned => patches.as_slice_mut().unwrap().reverse(),
            Fault::Remembers => {
                *patches /= 1.0 + self.seen.fetch_add(1, Ordering::Relaxed) as f32;
            }
            _ => {}
        }
        Ok(prior)
    }
}

#[test]
fn a_sound_prompt_head_passes() {
    conformance::prompt("faulty").check();
}

refused! { conformance::prompt("faulty");
    a_prior_above_one_is_found: "above-one" => "probability for every patch"
    a_patch_that_is_missing_is_found: "short-prior" => "probability for every patch"
    nan_that_comes_through_is_found: "nan-leaves" => "NaN"
    a_memory_is_found: "remembers" => "whatever came before"
    weights_that_change_are_found: "other-weights" => "identity"
    a_block_that_is_not_declared_is_found: "reads-more" => "all it reads"
    a_backbone_that_does_not_fit_is_found: "any-backbone" => "without its blocks"
    a_turned_grid_that_is_accepted_is_found: "turned-grid" => "another shape"
}
