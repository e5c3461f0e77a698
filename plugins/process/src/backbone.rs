//! The backbone `process`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array1, Array2, ArrayView4};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features, Grid, Slot, typetag};
use rareclip_imaging::InputRecipe;
use serde::Deserialize;

use crate::error::ProcessError;
use crate::frame::Frame;
use crate::options::BackboneOptions;
use crate::session::{Opening, Session};
use crate::wire::finite;

#[typetag::serde(name = "process")]
impl BackboneFactory for BackboneOptions {
    fn build(&self, blocks: &BTreeSet<usize>) -> Result<Arc<dyn Backbone>, BoxError> {
        if blocks.contains(&0) {
            return Err(ProcessError::Option {
                option: "blocks",
                found: "0".into(),
                expected: "blocks counted from 1",
            }
            .into());
        }
        let wanted: Vec<usize> = blocks.iter().copied().collect();
        let opening = Opening {
            slot: Slot::Backbone,
            component: self.component.clone(),
            options: self.options.clone(),
            request: Frame::request("open").with("blocks", wanted),
        };
        let session = Session::open(self.run()?, opening)?;
        session.stateless()?;
        let spec =
            read_spec(&session, blocks).map_err(|problem| session.wrong_answer("open", problem))?;
        Ok(Arc::new(ProcessBackbone {
            spec,
            session: Mutex::new(session),
        }))
    }
}

/// What the host says the backbone takes and gives.
#[derive(Deserialize)]
struct SpecFields {
    input: InputRecipe,
    grid: GridFields,
    blocks: Vec<(usize, usize)>,
    embedding_width: usize,
    weights: String,
}

#[derive(Deserialize)]
struct GridFields {
    rows: usize,
    columns: usize,
}

fn read_spec(session: &Session, blocks: &BTreeSet<usize>) -> Result<BackboneSpec, String> {
    let spec: SpecFields = session
        .opened()
        .parse("backbone")
        .map_err(|error| error.to_string())?;
    let given: BTreeSet<usize> = spec.blocks.iter().map(|(block, _)| *block).collect();
    if let Some(block) = blocks.difference(&given).next() {
        return Err(format!(
            "it gives blocks {given:?} and not block {block}, which was asked for"
        ));
    }
    let GridFields { rows, columns } = spec.grid;
    let sizes = [rows, columns, spec.input.side, spec.embedding_width];
    if sizes.contains(&0) || rows.checked_mul(columns).is_none() {
        return Err(format!(
            "sizes {sizes:?}: rows, columns, side and width are at least 1"
        ));
    }
    Ok(BackboneSpec {
        input: spec.input,
        grid: Grid { rows, columns },
        blocks: spec.blocks,
        embedding_width: spec.embedding_width,
        weights: format!("{} {}", session.identity(), spec.weights),
    })
}

/// A backbone in another process.
struct ProcessBackbone {
    spec: BackboneSpec,
    session: Mutex<Session>,
}

impl ProcessBackbone {
    /// The features of `batch` images in an answer.
    fn read(&self, answer: &Frame, batch: usize) -> Result<Vec<Features>, String> {
        let (grid, width) = (self.spec.grid, self.spec.embedding_width);
        let embeddings = finite(answer, "embedding", &[batch, width])?;
        let mut tokens: Vec<BTreeMap<usize, Array2<f32>>> = vec![BTreeMap::new(); batch];
        for &(block, width) in &self.spec.blocks {
            let shape = [batch, grid.patches(), width];
            let values = finite(answer, &format!("tokens.{block}"), &shape)?;
            let images = values.chunks_exact((grid.patches() * width).max(1));
            for (tokens, image) in tokens.iter_mut().zip(images) {
                let image = Array2::from_shape_vec((grid.patches(), width), image.to_vec());
                tokens.insert(block, image.map_err(|error| error.to_string())?);
            }
        }
        let images = tokens.into_iter().zip(embeddings.chunks_exact(width));
        let features = images.map(|(tokens, embedding)| {
            let embedding = Array1::from_vec(embedding.to_vec());
            let length = embedding.dot(&embedding).sqrt();
            if (length - 1.0).abs() > 1e-3 {
                return Err(format!("an image embedding of length {length}, expected 1"));
            }
            Ok(Features::new(grid, tokens, embedding))
        });
        features.collect()
    }
}

impl Backbone for ProcessBackbone {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Features>, BoxError> {
        let side = self.spec.input.side;
        let batch = images.shape()[0];
        if images.shape()[1..] != [3, side, side] {
            return Err(ProcessError::Shape {
                what: "the images".into(),
                found: images.shape().to_vec(),
                expected: format!("[batch, 3, {side}, {side}]"),
            }
            .into());
        }
        if batch == 0 {
            return Ok(Vec::new());
        }
        let mut request = Frame::request("encode");
        let values: Vec<f32> = images.iter().copied().collect();
        request.floats("images", images.shape(), &values);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = session.ask(&request)?;
        let features = self.read(&answer, batch);
        Ok(features.map_err(|problem| session.wrong_answer("encode", problem))?)
    }
}
