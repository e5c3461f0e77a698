//! `type = "onnx"`.

mod file;
mod grid;
mod options;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array4, ArrayView4, Axis};
use ort::session::Session;
use ort::value::TensorRef;
use rareclip_core::backbone::{BackboneSpec, Batching};
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, InputRecipe, typetag};
use rareclip_vit::{check_images, unit};

pub use options::{OnnxOptions, OnnxOutput};

use crate::error::{output as output_error, runtime as refused};
use crate::{Error, Result};
use grid::Cells;

/// Of one image: the outputs of the blocks asked for, by block, on their own grids; and the
/// embedding, not yet of unit length.
type Outputs = (Vec<(usize, Cells)>, Vec<f32>);

/// How far an image in a batch may be from the same image alone, as [`Features::deviation`].
///
/// A graph may contain anything, so nothing is known of its bits. Rounding of f32 stays far below.
const TOLERANCE: f32 = 1e-3;

#[typetag::serde(name = "onnx")]
impl BackboneFactory for OnnxOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        Ok(Arc::new(OnnxBackbone::new(self, blocks)?))
    }
}

/// Any ONNX file on onnxruntime; images are run one by one unless [`OnnxOptions::batch`] is set.
#[derive(Debug)]
pub(crate) struct OnnxBackbone {
    spec: BackboneSpec,
    path: PathBuf,
    input: String,
    /// Outputs by block: block n is entry n - 1.
    outputs: Vec<OnnxOutput>,
    embedding: Option<String>,
    batching: Batching,
    session: Mutex<Session>,
}

impl OnnxBackbone {
    pub(crate) fn new(options: &OnnxOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        let path = rareclip_artifacts::resolve_model(&options.model)?;
        let count = options.outputs.len();
        if count == 0 {
            let detail = "name at least one output, e.g. outputs = [{ name = \"features\" }]";
            return Err(Error::Option {
                key: "outputs".into(),
                detail: detail.into(),
            });
        }
        if let Some(&block) = blocks.iter().find(|block| !(1..=count).contains(*block)) {
            return Err(rareclip_vit::Error::NoSuchBlock {
                block,
                blocks: count,
            }
            .into());
        }
        let (session, weights) = file::open(&path, options)?;
        let input = file::input(&session, &path, options)?;
        let recipe = InputRecipe {
            mean: options.mean,
            std: options.std,
            preset: options.preset,
            ..InputRecipe::imagenet(options.image_size)
        };
        let spec = BackboneSpec {
            input: recipe,
            grid: Grid {
                rows: 0,
                columns: 0,
            },
            blocks: Vec::new(),
            embedding_width: 0,
            weights,
        };
        if options.batch {
            file::check_batch_axis(&session, &path, &input)?;
        }
        let (outputs, embedding) = (options.outputs.clone(), options.embedding.clone());
        let session = Mutex::new(session);
        let mut backbone = Self {
            spec,
            path,
            input,
            outputs,
            embedding,
            batching: Batching::None,
            session,
        };
        backbone.measure(options, blocks)?;
        if options.batch {
            backbone.try_batch()?;
            backbone.batching = Batching::Approximate {
                tolerance: TOLERANCE,
            };
        }
        Ok(backbone)
    }

    /// Learns grids and widths from one black image: many files do not declare them.
    fn measure(&mut self, options: &OnnxOptions, blocks: &BTreeSet<usize>) -> Result<()> {
        let side = options.image_size;
        let black = Array4::zeros((1, 3, side, side));
        let run = self.run(black.view(), blocks)?.pop();
        let (cells, embedding) = run.unwrap_or_default();
        let natural = cells
            .iter()
            .map(|(_, cells)| cells.grid)
            .max_by_key(|grid| grid.patches());
        let grid = match options.grid {
            Some(side) => Some(Grid {
                rows: side,
                columns: side,
            }),
            None => natural,
        };
        self.spec.grid = grid.unwrap_or(Grid {
            rows: 1,
            columns: 1,
        });
        self.spec.blocks = cells
            .iter()
            .map(|(block, cells)| (*block, cells.values.ncols()))
            .collect();
        self.spec.embedding_width = embedding.len();
        Ok(())
    }

    /// Fails if two images in one run are not what they are alone.
    fn try_batch(&self) -> Result<()> {
        let side = self.spec.input.side;
        let images = Array4::from_shape_fn((2, 3, side, side), |(image, channel, y, x)| {
            image as f32 * (((7 * x + 3 * y + channel) % 11) as f32 - 5.0) / 5.0
        });
        let together = self.features(images.view())?;
        let alone = images.axis_chunks_iter(Axis(0), 1);
        for (image, found) in alone.zip(&together) {
            let expected = self.features(image)?;
            let deviation = expected.first().map(|expected| found.deviation(expected));
            if let Some(deviation) = deviation.filter(|deviation| *deviation > TOLERANCE) {
                return Err(Error::Option {
                    key: "batch".into(),
                    detail: format!(
                        "an image in a batch of {} deviates by {deviation:.1e} from the same image alone, expected at most {TOLERANCE:.0e}. Leave out `batch`",
                        self.path.display()
                    ),
                });
            }
        }
        Ok(())
    }

    /// The features of `images`, in one run.
    fn features(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>> {
        let blocks = self.spec.blocks.iter().map(|(block, _)| *block).collect();
        let grid = self.spec.grid;
        let outputs = self.run(images, &blocks)?.into_iter();
        let features = outputs.map(|(cells, embedding)| {
            let tokens = cells
                .into_iter()
                .map(|(block, cells)| (block, cells.resized(grid)))
                .collect();
            Features::new(grid, tokens, unit(&embedding))
        });
        Ok(features.collect())
    }

    /// Runs images at once; the outputs of each.
    fn run(&self, images: ArrayView4<'_, f32>, blocks: &BTreeSet<usize>) -> Result<Vec<Outputs>> {
        let count = images.len_of(Axis(0));
        let images = images.as_standard_layout();
        let input = TensorRef::from_array_view(images.view()).map_err(refused("input"))?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session
            .run(ort::inputs![self.input.as_str() => input])
            .map_err(refused("running the model"))?;
        let read = |name: &str, prefix: Option<usize>| {
            let wrong = |detail: String| output_error(&self.path, name, detail);
            let value = outputs
                .get(name)
                .ok_or_else(|| wrong("was not computed".into()))?;
            let (shape, values) = value
                .try_extract_tensor::<f32>()
                .map_err(|error| wrong(error.to_string()))?;
            Cells::read_all(shape, values, prefix, count).map_err(wrong)
        };
        let mut cells: Vec<_> = (0..count)
            .map(|_| Vec::with_capacity(blocks.len()))
            .collect();
        for &block in blocks {
            let output = &self.outputs[block - 1];
            let all = read(&output.name, output.prefix_tokens)?;
            for (cells, of_image) in cells.iter_mut().zip(all) {
                cells.push((block, of_image));
            }
        }
        let source = match &self.embedding {
            Some(name) => read(name, Some(0))?,
            None => {
                let last = &self.outputs[self.outputs.len() - 1];
                read(&last.name, last.prefix_tokens)?
            }
        };
        let embeddings = source.iter().map(Cells::mean);
        Ok(cells.into_iter().zip(embeddings).collect())
    }
}

impl Backbone for OnnxBackbone {
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
            features.extend(self.features(images)?);
        }
        Ok(features)
    }
}
