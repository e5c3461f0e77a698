//! Text features: the mean directions of normal and abnormal sentences, computed once and kept on
//! disk.

use std::path::Path;

use data_encoding::HEXLOWER;
use ndarray::{Array2, ArrayView2, Axis};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::write_whole;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

use crate::{Error, PromptSet, Result, TextOverrides, TextTower, product, tokenizer};

/// The tensor in a kept file.
const TENSOR: &str = "text_features";
/// The metadata key with the checksum of its bytes.
const CHECKSUM: &str = "sha256";

/// What text features are made from.
#[derive(Debug, Clone, Copy)]
pub struct TextSource<'a> {
    /// The checkpoint with the text tower.
    pub checkpoint: &'a Checkpoint,
    /// What the user sets over what was found there.
    pub overrides: TextOverrides,
    /// The sentences.
    pub prompts: &'a PromptSet,
}

/// The text features `[embedding width, 2]`: unit columns, normal and abnormal. Kept in
/// `text-features` of the cache folder, and taken from there if checkpoint, tokenizer, activation
/// and sentences are the same.
///
/// A cache that cannot be used costs time, not the result: it is warned of.
///
/// # Errors
/// As for [`compute`].
pub fn text_features(source: TextSource<'_>) -> Result<Array2<f32>> {
    let folder = match rareclip_artifacts::cache_dir() {
        Ok(folder) => Some(folder.join("text-features")),
        Err(error) => {
            tracing::warn!("text features are not kept: {error}");
            None
        }
    };
    text_features_in(folder.as_deref(), source)
}

/// [`text_features`], kept in `folder`, or not at all.
///
/// # Errors
/// As for [`compute`].
pub fn text_features_in(folder: Option<&Path>, source: TextSource<'_>) -> Result<Array2<f32>> {
    source.prompts.check()?;
    let tower = TextTower::new(source.checkpoint, source.overrides)?;
    let file = folder.map(|folder| folder.join(format!("{}.safetensors", key(&tower, source))));
    if let Some(kept) = file
        .as_deref()
        .and_then(|file| read(file, tower.embedding_width()))
    {
        return Ok(kept);
    }
    let features = compute(&tower, source.prompts)?;
    if let Some(file) = file
        && let Err(error) = write(&file, features.view())
    {
        tracing::warn!("text features are not kept: {}: {error}", file.display());
    }
    Ok(features)
}

/// Encodes every sentence and takes the mean direction of either kind: `[embedding width, 2]`, unit
/// columns, normal and abnormal.
///
/// # Errors
/// When a sentence does not fit the tower, or the checkpoint gives NaN or infinite numbers.
pub fn compute(tower: &TextTower<'_>, prompts: &PromptSet) -> Result<Array2<f32>> {
    let mut features = Array2::zeros((tower.embedding_width(), 2));
    for (kind, sentences) in [prompts.normal(), prompts.abnormal()]
        .into_iter()
        .enumerate()
    {
        let ids: Vec<_> = sentences
            .iter()
            .map(|text| tokenizer::encode(text))
            .collect();
        let mean = mean_direction(tower.encode(&ids)?);
        features.column_mut(kind).assign(&ndarray::aview1(&mean));
    }
    if features.iter().all(|value| value.is_finite()) {
        return Ok(features);
    }
    Err(Error::NonFinite {
        what: "the embedding of the prompts".into(),
        advice: "the checkpoint is damaged or not a CLIP model",
    })
}

fn mean_direction(embeddings: Array2<f32>) -> Vec<f32> {
    let mut sum = vec![0.0_f64; embeddings.ncols()];
    for row in embeddings.axis_iter(Axis(0)) {
        let mut row = row.to_vec();
        product::normalise(&mut row);
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += f64::from(value));
    }
    let length = sum
        .iter()
        .map(|value| value * value)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    sum.into_iter()
        .map(|value| (value / length) as f32)
        .collect()
}

/// What the features depend on, as a file name.
fn key(tower: &TextTower<'_>, source: TextSource<'_>) -> String {
    let everything = serde_json::json!({
        "checkpoint": source.checkpoint.sha256(),
        "tokenizer": tokenizer::VERSION,
        "tower": tower.identity(),
        "prompts": source.prompts,
    });
    checksum(everything.to_string().as_bytes())
}

fn checksum(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// What is kept in a file, unless it is missing or not whole.
fn read(file: &Path, width: usize) -> Option<Array2<f32>> {
    let bytes = std::fs::read(file).ok()?;
    let whole = whole(&bytes, width);
    if whole.is_none() {
        tracing::warn!("{}: damaged, computed again", file.display());
    }
    whole
}

fn whole(bytes: &[u8], width: usize) -> Option<Array2<f32>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let tensor = tensors.tensor(TENSOR).ok()?;
    let sum = metadata.metadata().as_ref()?.get(CHECKSUM)?;
    if tensor.dtype() != safetensors::Dtype::F32
        || tensor.shape() != [width, 2]
        || *sum != checksum(tensor.data())
    {
        return None;
    }
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    Array2::from_shape_vec((width, 2), values).ok()
}

/// Written whole or not at all, so that a reader never sees half a file.
fn write(file: &Path, features: ArrayView2<'_, f32>) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let bytes: Vec<u8> = features
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let shape = features.shape().to_vec();
    let view = TensorView::new(safetensors::Dtype::F32, shape, &bytes);
    let view = view.map_err(std::io::Error::other)?;
    let metadata = [(CHECKSUM.to_owned(), checksum(&bytes))].into();
    let content = safetensors::serialize([(TENSOR, view)], Some(metadata));
    write_whole(file, &content.map_err(std::io::Error::other)?)
}
