//! The backbone.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView4, Axis};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BoxError, Device, Features};
use rareclip_torch::{floats, to_tensor};
use rareclip_vit::{Plan, check_images, patch_tokens, unit, window_rows};

use crate::tower::{Outputs, Tower};
use crate::{Error, Precision, Result, VitTchOptions};

/// A vision transformer on libtorch.
///
/// Images are run one by one, so that a batch gives the same bits as its images alone.
pub struct VitTchBackbone {
    spec: BackboneSpec,
    /// Tokens before the patches.
    prefix: usize,
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
    /// When the checkpoint is missing, of no known family or incomplete, the image size is no multiple of the patch size, a block
    /// does not exist, or the device is not there or does not compute in the precision asked for.
    pub fn new(options: &VitTchOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        if options.precision == Precision::F16 && options.device == Device::Cpu {
            return Err(Error::Precision);
        }
        let device = rareclip_torch::open(options.device)?;
        let plan = Plan::new(&options.wishes(), blocks)?;
        // Nothing here is trained: no operation needs to be remembered.
        let tower = tch::no_grad(|| Tower::new(&plan, device, options.precision, options.tokens))?;
        Ok(Self {
            prefix: plan.prefix(),
            spec: plan.spec,
            tower: Mutex::new(tower),
        })
    }

    fn encode_one(&self, tower: &Tower, image: ArrayView4<'_, f32>) -> Result<Features> {
        let wanted = |block| self.spec.width_of(block).is_some();
        let image = to_tensor(image, tch::Device::Cpu)?;
        let Outputs {
            tokens,
            embedding,
            windows,
        } = tch::no_grad(|| tower.run(&image, wanted))?;
        let mut features = Features::new(
            self.spec.grid,
            Default::default(),
            unit(&floats(&embedding)?),
        );
        for (block, tokens) in tokens {
            let (all, width) = (floats(&tokens)?, self.spec.width_of(block).unwrap_or(0));
            let patches = patch_tokens(&all, self.prefix, self.spec.grid.patches(), width);
            let patches = patches.ok_or_else(|| Error::Output {
                what: format!("the output of block {block}"),
                found: all.len(),
                width,
            })?;
            features.tokens.insert(block, patches);
        }
        for (side, windows) in windows {
            let (all, width) = (floats(&windows)?, self.spec.embedding_width);
            let rows = window_rows(&all, width).ok_or_else(|| Error::Output {
                what: format!("the embeddings of windows of {side} patches"),
                found: all.len(),
                width,
            })?;
            features.windows.insert(side, rows);
        }
        Ok(features)
    }
}

impl Backbone for VitTchBackbone {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        check_images(&images, self.spec.input.side)?;
        let mut features = Vec::with_capacity(images.len_of(Axis(0)));
        for image in images.axis_chunks_iter(Axis(0), 1) {
            let tower = self.tower.lock().unwrap_or_else(PoisonError::into_inner);
            features.push(self.encode_one(&tower, image)?);
        }
        Ok(features)
    }
}
