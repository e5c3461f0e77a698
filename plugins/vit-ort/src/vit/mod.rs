//! `type = "vit"`.

mod options;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView4, Axis};
use ort::session::Session;
use ort::value::TensorRef;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BoxError, Features};
use rareclip_vit::{Plan, check_images, patch_tokens, unit, window_rows};

pub use options::{Precision, VitOptions};

use crate::error::runtime as refused;
use crate::graph::{self, EMBEDDING, INPUT, output_of, windows_of};
use crate::operators::brain;
use crate::{Result, runtime};

/// A vision transformer on onnxruntime.
///
/// Images are run one by one, so that a batch gives the same bits as its images alone; a run uses all its threads.
#[derive(Debug)]
pub struct VitBackbone {
    spec: BackboneSpec,
    /// Tokens before the patches.
    prefix: usize,
    /// Sides of the windows that are embedded.
    windows: BTreeSet<usize>,
    session: Mutex<Session>,
}

impl VitBackbone {
    /// Builds the transformer so that it gives the tokens of `blocks` (1-based).
    ///
    /// # Errors
    /// When the checkpoint or onnxruntime is missing, the checkpoint is of no known family or incomplete, the image size is
    /// no multiple of the patch size, or a block does not exist.
    pub fn new(options: &VitOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        runtime::check(options.device, options.precision)?;
        let plan = Plan::new(&options.wishes(), blocks)?;
        let built = graph::build(&plan, options.tokens, options.precision)?;
        let Plan {
            checkpoint,
            vit,
            windows,
            spec,
            ..
        } = plan;
        let path = checkpoint.path().to_owned();
        // The pages it has read count as this process's memory, beside what the session is about to take.
        drop(checkpoint);
        let brain = match brain::Dots::detect() {
            Some(dots) if !built.brain.is_empty() => {
                Some(brain::Weights::load(dots, &path, &built.brain)?)
            }
            _ => None,
        };
        let environment = runtime::environment(options.onnxruntime.as_deref())?;
        let builder = runtime::builder(&environment, options.device, options.threads)?;
        let builder = runtime::in_precision(builder, options.precision)?;
        let session = runtime::session(builder, &built.model, &built.folder, brain.as_ref())?;
        let prefix = 1 + vit.registers;
        Ok(Self {
            spec,
            prefix,
            windows,
            session: Mutex::new(session),
        })
    }

    fn encode_one(&self, session: &mut Session, image: ArrayView4<'_, f32>) -> Result<Features> {
        let image = image.as_standard_layout();
        let input = TensorRef::from_array_view(image.view()).map_err(refused("input"))?;
        let outputs = session
            .run(ort::inputs![INPUT => input])
            .map_err(refused("running the model"))?;
        let values = |name: &str| {
            outputs[name]
                .try_extract_tensor::<f32>()
                .map(|(_, values)| values)
        };
        let misshapen = |name: &str| {
            refused(name)(ort::Error::<()>::new(
                "an output of another shape".to_owned(),
            ))
        };
        let embedding = unit(values(EMBEDDING).map_err(refused("embedding"))?);
        let mut features = Features::new(self.spec.grid, Default::default(), embedding);
        for &(block, width) in &self.spec.blocks {
            let name = output_of(block);
            let all = values(&name).map_err(refused(&name))?;
            let tokens = patch_tokens(all, self.prefix, self.spec.grid.patches(), width);
            features
                .tokens
                .insert(block, tokens.ok_or_else(|| misshapen(&name))?);
        }
        for &side in &self.windows {
            let name = windows_of(side);
            let all = values(&name).map_err(refused(&name))?;
            let windows = window_rows(all, self.spec.embedding_width);
            features
                .windows
                .insert(side, windows.ok_or_else(|| misshapen(&name))?);
        }
        Ok(features)
    }
}

impl Backbone for VitBackbone {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        check_images(&images, self.spec.input.side)?;
        let mut features = Vec::with_capacity(images.len_of(Axis(0)));
        for image in images.axis_chunks_iter(Axis(0), 1) {
            // Locked per image, so that streams that share the model take turns.
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            features.push(self.encode_one(&mut session, image)?);
        }
        Ok(features)
    }
}
