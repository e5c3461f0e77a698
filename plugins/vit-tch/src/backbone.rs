//! The backbone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView4, Axis};
use rareclip_core::backbone::{BackboneSpec, Batching};
use rareclip_core::{Backbone, BackboneFactory, BoxError, Device, Features, typetag};
use rareclip_vit::torch::{floats, to_tensor};
use rareclip_vit::{Plan, check_images, patch_tokens, unit, window_rows};

use crate::tower::Tower;
use crate::{Error, Precision, Result, VitTchOptions};

#[typetag::serde(name = "vit-tch")]
impl BackboneFactory for VitTchOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        Ok(Arc::new(VitTchBackbone::new(self, blocks)?))
    }
}

/// A vision transformer on libtorch.
///
/// Images are run one by one unless [`VitTchOptions::batch`] is set.
pub struct VitTchBackbone {
    spec: BackboneSpec,
    /// Tokens before the patches.
    prefix: usize,
    batching: Batching,
    /// Streams that share the model take turns.
    tower: Mutex<Tower>,
}

impl std::fmt::Debug for VitTchBackbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VitTchBackbone")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl VitTchBackbone {
    /// Builds the transformer so that it gives the tokens of `blocks` (1-based).
    ///
    /// # Errors
    /// When the checkpoint is missing, of no known family or incomplete, the image size is no
    /// multiple of the patch size, a block does not exist, or the device is not there or does not
    /// compute in the precision asked for.
    pub fn new(options: &VitTchOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        if options.precision == Precision::F16 && options.device == Device::Cpu {
            return Err(Error::Precision);
        }
        let device = rareclip_vit::torch::open(options.device)?;
        let plan = Plan::new(&options.wishes(), blocks)?;
        // Nothing here is trained: no operation needs to be remembered.
        let tower = tch::no_grad(|| Tower::new(&plan, device, options.precision, options.tokens))?;
        Ok(Self {
            prefix: plan.prefix(),
            spec: plan.spec,
            batching: declared(options),
            tower: Mutex::new(tower),
        })
    }

    /// Runs `images` `[images, 3, side, side]` at once.
    fn run(&self, tower: &Tower, images: ArrayView4<'_, f32>) -> Result<Vec<Features>> {
        let count = images.len_of(Axis(0));
        let wanted = |block| self.spec.width_of(block).is_some();
        let images = to_tensor(images, tch::Device::Cpu)?;
        let outputs = tch::no_grad(|| tower.run(&images, wanted))?;
        let embeddings = floats(&outputs.embedding)?;
        let mut all: Vec<Features> = of_images(&embeddings, count)
            .map(|embedding| Features::new(self.spec.grid, Default::default(), unit(embedding)))
            .collect();
        for (block, tokens) in outputs.tokens {
            let (values, width) = (floats(&tokens)?, self.spec.width_of(block).unwrap_or(0));
            for (features, values) in all.iter_mut().zip(of_images(&values, count)) {
                let patches = patch_tokens(values, self.prefix, self.spec.grid.patches(), width);
                let patches = patches.ok_or_else(|| Error::Output {
                    what: format!("the output of block {block}"),
                    found: values.len(),
                    width,
                })?;
                features.tokens.insert(block, patches);
            }
        }
        for (side, windows) in outputs.windows {
            let (values, width) = (floats(&windows)?, self.spec.embedding_width);
            for (features, values) in all.iter_mut().zip(of_images(&values, count)) {
                let rows = window_rows(values, width).ok_or_else(|| Error::Output {
                    what: format!("the embeddings of windows of {side} patches"),
                    found: values.len(),
                    width,
                })?;
                features.windows.insert(side, rows);
            }
        }
        Ok(all)
    }
}

/// The numbers of every image in an output whose first axis goes over `count` images.
fn of_images(values: &[f32], count: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks_exact((values.len() / count.max(1)).max(1))
}

/// What is true of batches with these options: libtorch chooses how to add up a product by its
/// size. In f32 on the processor deviations up to 4e-7 were measured; `tests/batches.rs` holds them
/// to what is declared.
fn declared(options: &VitTchOptions) -> Batching {
    if !options.batch {
        return Batching::None;
    }
    let tolerance = match (options.precision, options.device) {
        (Precision::F32, Device::Cpu) => 1e-4,
        (Precision::F32, _) => 1e-3,
        // A number next to the middle of two rounded ones falls to either side.
        (Precision::Bf16, _) => 0.1,
        (Precision::F16, _) => 0.02,
    };
    Batching::Approximate { tolerance }
}

impl Backbone for VitTchBackbone {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn batching(&self) -> Batching {
        self.batching
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        check_images(&images, self.spec.input.side)?;
        let at_once = match self.batching {
            Batching::None => 1,
            _ => images.len_of(Axis(0)).max(1),
        };
        let mut features = Vec::with_capacity(images.len_of(Axis(0)));
        for images in images.axis_chunks_iter(Axis(0), at_once) {
            let tower = self.tower.lock().unwrap_or_else(PoisonError::into_inner);
            features.extend(self.run(&tower, images)?);
        }
        Ok(features)
    }
}
