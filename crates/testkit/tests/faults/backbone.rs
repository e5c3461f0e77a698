//! A backbone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::{Array4, ArrayView4, Axis};
use rareclip_core::backbone::{BackboneSpec, Batching};
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, typetag};
use rareclip_testkit::conformance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::refused;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Sound.
    #[default]
    None,
    /// Images of a batch lean towards each other.
    BatchDiffers,
    /// The same, and a declaration that batches are exact.
    ExactDiffers,
    /// Images of a batch deviate by ten times the declared tolerance.
    BeyondTolerance,
    /// Images of a batch deviate by a tenth of the declared tolerance: not a fault.
    WithinTolerance,
    /// A tolerance that any number fits.
    AnyTolerance,
    /// The embedding is twice as long.
    LongEmbedding,
    /// A block fewer than asked for.
    LosesBlock,
    /// Tokens of another width than declared.
    OtherWidth,
    /// Any input is brought to size.
    AnyShape,
    /// Any block is given.
    AnyBlock,
    /// No images make it panic.
    EmptyPanics,
    /// Numbers are read as they lie in memory.
    MemoryOrder,
    /// An image of NaN spoils the next one.
    NanSpreads,
    /// Another backbone whenever it is built.
    OtherWeights,
    /// Tokens depend on how often it was asked.
    Remembers,
}

/// A backbone with a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultyOptions {
    /// The fault. Default none.
    fault: Fault,
}

/// What the faults of batches declare.
const TOLERANCE: f32 = 1e-3;

/// Backbones built.
static BUILT: AtomicU32 = AtomicU32::new(0);

#[typetag::serde(name = "faulty")]
impl BackboneFactory for FaultyOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        let sound = <dyn BackboneFactory>::from_table(crate::sound_table())?;
        let mut blocks = blocks.clone();
        if self.fault == Fault::AnyBlock {
            blocks.retain(|block| (1..64).contains(block));
        }
        let inner = sound.build(&blocks)?;
        let mut spec = inner.spec().clone();
        match self.fault {
            Fault::LosesBlock => drop(spec.blocks.pop()),
            Fault::OtherWidth => spec.blocks.iter_mut().for_each(|block| block.1 += 1),
            Fault::OtherWeights => {
                spec.weights = BUILT.fetch_add(1, Ordering::Relaxed).to_string();
            }
            _ => {}
        }
        Ok(Arc::new(Faulty {
            fault: self.fault,
            inner,
            spec,
            asked: AtomicU32::new(0),
        }))
    }
}

struct Faulty {
    fault: Fault,
    inner: Arc<dyn Backbone>,
    spec: BackboneSpec,
    asked: AtomicU32,
}

impl Backbone for Faulty {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn batching(&self) -> Batching {
        match self.fault {
            Fault::ExactDiffers => Batching::Exact,
            Fault::BeyondTolerance | Fault::WithinTolerance => Batching::Approximate {
                tolerance: TOLERANCE,
            },
            Fault::AnyTolerance => Batching::Approximate {
                tolerance: f32::INFINITY,
            },
            _ => Batching::None,
        }
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let mut images = images.to_owned();
        let side = self.spec.input.side;
        let count = images.len_of(Axis(0));
        match self.fault {
            Fault::EmptyPanics => assert!(count > 0, "no image"),
            Fault::AnyShape => {
                let (_, channels, rows, columns) = images.dim();
                images = Array4::from_shape_fn((count, 3, side, side), |(n, c, y, x)| {
                    images[[n, c.min(channels - 1), y.min(rows - 1), x.min(columns - 1)]]
                });
            }
            Fault::MemoryOrder => {
                let values = images.as_slice_memory_order().unwrap().to_vec();
                images = Array4::from_shape_vec(images.dim(), values)?;
            }
            Fault::NanSpreads => {
                let sums: Vec<f32> = images.axis_iter(Axis(0)).map(|image| image.sum()).collect();
                for (mut image, sum) in images.axis_iter_mut(Axis(0)).skip(1).zip(sums) {
                    image += sum * 0.0;
                }
            }
            _ => {}
        }
        let mut all = self.inner.encode(images.view())?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        for features in &mut all {
            match self.fault {
                Fault::BatchDiffers | Fault::ExactDiffers if count > 1 => {
                    features
                        .tokens
                        .values_mut()
                        .for_each(|tokens| *tokens *= 1.0 + 1e-6);
                }
                Fault::BeyondTolerance | Fault::WithinTolerance if count > 1 => {
                    let share = match self.fault {
                        Fault::BeyondTolerance => 10.0,
                        _ => 0.1,
                    };
                    features
                        .tokens
                        .values_mut()
                        .for_each(|tokens| *tokens *= 1.0 + share * TOLERANCE);
                }
                Fault::LongEmbedding => features.embedding *= 2.0,
                Fault::Remembers => {
                    let factor = 1.0 + asked as f32;
                    features
                        .tokens
                        .values_mut()
                        .for_each(|tokens| *tokens *= factor);
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

#[test]
fn a_sound_backbone_passes() {
    conformance::backbone("faulty").blocks([2, 5]).check();
}

#[test]
fn a_batch_within_the_declared_tolerance_passes() {
    conformance::backbone("faulty")
        .options(json!({ "fault": "within-tolerance" }))
        .blocks([2, 5])
        .check();
}

refused! { conformance::backbone("faulty").blocks([2, 5]);
    a_batch_that_differs_is_found: "batch-differs" => "alone and in a batch"
    a_batch_that_is_declared_exact_and_differs_is_found: "exact-differs" => "alone and in a batch"
    a_batch_beyond_its_tolerance_is_found: "beyond-tolerance" => "alone and in a batch"
    an_endless_tolerance_is_found: "any-tolerance" => "above 0 and below 1"
    an_embedding_of_another_length_is_found: "long-embedding" => "unit length"
    a_lost_block_is_found: "loses-block" => "names the blocks"
    another_width_is_found: "other-width" => "those of its spec"
    any_shape_is_found: "any-shape" => "another shape are an error"
    any_block_is_found: "any-block" => "does not exist"
    a_panic_on_no_image_is_found: "empty-panics" => "no images give no features"
    memory_order_is_found: "memory-order" => "wherever they lie in memory"
    nan_that_spreads_is_found: "nan-spreads" => "nor touch other images"
    other_weights_are_found: "other-weights" => "built again"
    a_memory_is_found: "remembers" => "alone and in a batch"
}
