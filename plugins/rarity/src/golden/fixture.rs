//! Reads the golden data of `../shared/fixtures/rarity`.

use std::path::PathBuf;

use ndarray::{Array1, Array2, ArrayD, Axis, Ix1, Ix2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Features, Grid, InputRecipe, Prior};
use safetensors::{Dtype, SafeTensors};

/// The folder of the golden data, or `None` with a loud line.
pub(super) fn folder(test: &str) -> Option<PathBuf> {
    Some(rareclip_testkit::shared(test)?.join("fixtures/rarity"))
}

pub(super) struct File(Vec<u8>);

impl File {
    pub(super) fn open(folder: &std::path::Path, name: &str) -> Self {
        Self(std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap())
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    /// Numbers of any type.
    pub(super) fn get(&self, name: &str) -> ArrayD<f32> {
        let tensors = self.tensors();
        let tensor = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("no tensor {name}"));
        let words = || tensor.data().as_chunks::<4>().0.iter();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => words().map(|&word| f32::from_le_bytes(word)).collect(),
            Dtype::I32 => words()
                .map(|&word| i32::from_le_bytes(word) as f32)
                .collect(),
            Dtype::U8 => tensor.data().iter().map(|&byte| f32::from(byte)).collect(),
            other => panic!("{name} has type {other:?}"),
        };
        ArrayD::from_shape_vec(tensor.shape(), values).unwrap()
    }

    /// The part of `name` at the leading `at` indices.
    pub(super) fn at(&self, name: &str, at: &[usize]) -> ArrayD<f32> {
        at.iter().fold(self.get(name), |array, &i| {
            array.index_axis_move(Axis(0), i)
        })
    }

    pub(super) fn number(&self, name: &str, at: &[usize]) -> f32 {
        *self.at(name, at).first().unwrap()
    }
}

/// The backbone that the synthetic features stand for.
pub(super) fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe {
            side: 56,
            ..InputRecipe::clip(56)
        },
        grid: Grid {
            rows: 8,
            columns: 8,
        },
        blocks: vec![(2, 32), (3, 32), (4, 32)],
        embedding_width: 16,
        weights: "synthetic".into(),
    }
}

/// The sixteen images of the stream.
pub(super) fn images(inputs: &File) -> Vec<Features> {
    let tokens = inputs.get("tokens");
    let embeddings = inputs.get("image_feature_raw");
    (0..tokens.shape()[0])
        .map(|image| {
            let block = |layer: usize| -> Array2<f32> {
                let image = tokens.index_axis(Axis(0), image);
                let block = image.index_axis(Axis(0), layer).to_owned();
                block.into_dimensionality::<Ix2>().unwrap()
            };
            let raw = embeddings.index_axis(Axis(0), image).to_owned();
            let raw = raw.into_dimensionality::<Ix1>().unwrap();
            let norm = raw.dot(&raw).sqrt();
            let tokens = [(2, block(0)), (3, block(1)), (4, block(2))].into();
            Features::new(backbone().grid, tokens, raw / norm)
        })
        .collect()
}

fn abnormal(similarity: (f32, f32)) -> f32 {
    1.0 / (1.0 + (20.0 * (similarity.0 - similarity.1)).exp())
}

/// The text prior of an image, from the bridge's weights.
pub(super) fn prior(inputs: &File, features: &Features) -> Prior {
    let text = inputs
        .get("text_features")
        .into_dimensionality::<Ix2>()
        .unwrap();
    let image = features.embedding.dot(&text);
    let mut patches = Array1::zeros(features.grid.patches());
    for (layer, block) in [3usize, 4].into_iter().enumerate() {
        let weight = inputs.get(&format!("tpb.fc.{layer}.weight"));
        let weight = weight.into_dimensionality::<Ix2>().unwrap();
        let bias = inputs
            .get(&format!("tpb.fc.{layer}.bias"))
            .into_dimensionality::<Ix1>()
            .unwrap();
        let projected = features.tokens[&block].dot(&weight.t()) + &bias;
        for (patch, row) in patches.iter_mut().zip(projected.rows()) {
            let both = row.dot(&text) / row.dot(&row).sqrt();
            *patch += abnormal((both[0], both[1])) / 2.0;
        }
    }
    Prior {
        image: abnormal((image[0], image[1])),
        patches,
    }
}
