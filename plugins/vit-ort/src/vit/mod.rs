//! `type = "vit"`.

mod options;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView4, Axis};
use ort::session::Session;
use ort::value::TensorRef;
use rareclip_core::backbone::{BackboneSpec, Batching};
use rareclip_core::{Backbone, BackboneFactory, BoxError, Device, Features, typetag};
use rareclip_vit::{Plan, check_images, patch_tokens, unit, window_rows};

pub use options::{Precision, VitOptions};

use crate::error::runtime as refused;
use crate::graph::{self, EMBEDDING, INPUT, output_of, windows_of};
use crate::operators::brain;
use crate::{Result, runtime};

#[typetag::serde(name = "vit")]
impl BackboneFactory for VitOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        Ok(Arc::new(VitBackbone::new(self, blocks)?))
    }
}

/// A vision transformer on onnxruntime.
///
/// Images are run one by one, each with all threads, unless [`VitOptions::batch`] is set.
#[derive(Debug)]
pub struct VitBackbone {
    spec: BackboneSpec,
    /// Tokens before the patches.
    prefix: usize,
    /// Sides of the windows that are embedded.
    windows: BTreeSet<usize>,
    batching: Batching,
    session: Mutex<Session>,
}

impl VitBackbone {
    /// Builds the transformer so that it gives the tokens of `blocks` (1-based).
    ///
    /// # Errors
    /// When the checkpoint or onnxruntime is missing, the checkpoint is of no known family or
    /// incomplete, the image size is no multiple of the patch size, or a block does not exist.
    pub fn new(options: &VitOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        runtime::check(options.device, options.precision)?;
        let plan = Plan::new(&options.wishes(), blocks)?;
        let built = graph::build(&plan, options.tokens, options.precision, options.batch)?;
        let Plan {
            checkpoint,
            vit,
            windows,
            spec,
            ..
        } = plan;
        let path = checkpoint.path().to_owned();
        // The pages it has read count as this process's memory, beside what the session is about to
        // take.
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
            batching: declared(options),
            session: Mutex::new(session),
        })
    }

    /// Runs `images` `[images, 3, side, side]`, of which the graph takes so many at once.
    fn run(&self, session: &mut Session, images: ArrayView4<'_, f32>) -> Result<Vec<Features>> {
        let count = images.len_of(Axis(0));
        let images = images.as_standard_layout();
        let input = TensorRef::from_array_view(images.view()).map_err(refused("input"))?;
        let outputs = session
            .run(ort::inputs![INPUT => input])
            .map_err(refused("running the model"))?;
        let misshapen = |name: &str| {
            refused(name)(ort::Error::<()>::new(
                "an output of another shape".to_owned(),
            ))
        };
        // The numbers of image `at`: the first axis of every output goes over the images.
        let values = |name: &str, at: usize| -> Result<&[f32]> {
            let (_, all) = outputs[name]
                .try_extract_tensor::<f32>()
                .map_err(refused(name))?;
            let length = all.len() / count;
            let values = all.get(at * length..(at + 1) * length);
            values.ok_or_else(|| misshapen(name))
        };
        let one = |at: usize| {
            let embedding = unit(values(EMBEDDING, at)?);
            let mut features = Features::new(self.spec.grid, Default::default(), embedding);
            for &(block, width) in &self.spec.blocks {
                let name = output_of(block);
                let patches = self.spec.grid.patches();
                let tokens = patch_tokens(values(&name, at)?, self.prefix, patches, width);
                let tokens = tokens.ok_or_else(|| misshapen(&name))?;
                features.tokens.insert(block, tokens);
            }
            for &side in &self.windows {
                let name = windows_of(side);
                let windows = window_rows(values(&name, at)?, self.spec.embedding_width);
                let windows = windows.ok_or_else(|| misshapen(&name))?;
                features.windows.insert(side, windows);
            }
            Ok(features)
        };
        (0..count).map(one).collect()
    }
}

/// How far an image in a batch on a CUDA device may be from the same image alone, as
/// [`Features::deviation`]: the device chooses how to add up a product by its size.
const TOLERANCE: f32 = 1e-3;

/// What is true of batches with these options. On the processor every sum is added up in the same
/// order whatever the number of rows; `tests/batches.rs` compares the bits.
fn declared(options: &VitOptions) -> Batching {
    match options.device {
        _ if !options.batch => Batching::None,
        Device::Cpu => Batching::Exact,
        _ => Batching::Approximate {
            tolerance: TOLERANCE,
        },
    }
}

impl Backbone for VitBackbone {
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
            // Locked per run, so that streams that share the model take turns.
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            features.extend(self.run(&mut session, images)?);
        }
        Ok(features)
    }
}
