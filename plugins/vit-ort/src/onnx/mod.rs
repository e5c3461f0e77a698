//! `type = "onnx"`.

mod file;
mod grid;
mod options;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array4, ArrayView4, Axis};
use ort::session::Session;
use ort::value::TensorRef;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BoxError, Features, Grid, InputRecipe};
use rareclip_vit::{check_images, unit};

pub use options::{OnnxOptions, OnnxOutput};

use crate::error::{output as output_error, runtime as refused};
use crate::{Error, Result};
use grid::Cells;

/// The outputs of the blocks asked for, by block, on their own grids; and the embedding, not yet of unit length.
type Outputs = (Vec<(usize, Cells)>, Vec<f32>);

/// Any ONNX file on onnxruntime; images are run one by one.
#[derive(Debug)]
pub(crate) struct OnnxBackbone {
    spec: BackboneSpec,
    path: PathBuf,
    input: String,
    /// Outputs by block: block n is entry n - 1.
    outputs: Vec<OnnxOutput>,
    embedding: Option<String>,
    session: Mutex<Session>,
}

impl OnnxBackbone {
    pub(crate) fn new(options: &OnnxOptions, blocks: &BTreeSet<usize>) -> Result<Self> {
        let path = rareclip_models::resolve_model(&options.model)?;
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
        let (outputs, embedding) = (options.outputs.clone(), options.embedding.clone());
        let session = Mutex::new(session);
        let mut backbone = Self {
            spec,
            path,
            input,
            outputs,
            embedding,
            session,
        };
        backbone.measure(options, blocks)?;
        Ok(backbone)
    }

    /// Learns grids and widths from one black image: many files do not declare them.
    fn measure(&mut self, options: &OnnxOptions, blocks: &BTreeSet<usize>) -> Result<()> {
        let side = options.image_size;
        let black = Array4::zeros((1, 3, side, side));
        let (cells, embedding) = self.run(black.view(), blocks)?;
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

    /// Runs one image.
    fn run(&self, image: ArrayView4<'_, f32>, blocks: &BTreeSet<usize>) -> Result<Outputs> {
        let image = image.as_standard_layout();
        let input = TensorRef::from_array_view(image.view()).map_err(refused("input"))?;
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
            Cells::read(shape, values, prefix).map_err(wrong)
        };
        let mut cells = Vec::with_capacity(blocks.len());
        for &block in blocks {
            let output = &self.outputs[block - 1];
            cells.push((block, read(&output.name, output.prefix_tokens)?));
        }
        let source = match &self.embedding {
            Some(name) => read(name, Some(0))?,
            None => {
                let last = &self.outputs[self.outputs.len() - 1];
                read(&last.name, last.prefix_tokens)?
            }
        };
        Ok((cells, source.mean()))
    }
}

impl Backbone for OnnxBackbone {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        check_images(&images, self.spec.input.side)?;
        let blocks = self.spec.blocks.iter().map(|(block, _)| *block).collect();
        let mut features = Vec::with_capacity(images.len_of(Axis(0)));
        for image in images.axis_chunks_iter(Axis(0), 1) {
            let (cells, embedding) = self.run(image, &blocks)?;
            let grid = self.spec.grid;
            let tokens = cells
                .into_iter()
                .map(|(block, cells)| (block, cells.resized(grid)))
                .collect();
            features.push(Features::new(grid, tokens, unit(&embedding)));
        }
        Ok(features)
    }
}
