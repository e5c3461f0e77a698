//! The DINOv2 backbone inside a larger ONNX export, written as a checkpoint of its own.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;

use crate::{Checkpoint, Error, Result};

/// Writes the backbone found in `from` (an ONNX export that holds one under Hugging Face's Dinov2 names, with any prefix) to
/// `to` as safetensors, under the names of a plain Dinov2 checkpoint. The same input gives the same bytes.
///
/// # Errors
/// When `from` cannot be read, holds no such backbone, or `to` cannot be written.
pub fn export(from: &Path, to: &Path, metadata: &[(&str, &str)]) -> Result<()> {
    let source = Checkpoint::open(from)?;
    let anchor = "embeddings.cls_token";
    let prefix = source
        .names()
        .find_map(|name| name.strip_suffix(anchor))
        .map(str::to_owned);
    let prefix = prefix.ok_or_else(|| Error::MissingKey {
        path: from.to_owned(),
        key: anchor.into(),
        nearest: None,
    })?;
    let belongs = |name: &&str| {
        name.starts_with("embeddings.")
            || name.starts_with("encoder.")
            || name.starts_with("layernorm.")
    };
    let mut tensors = Vec::new();
    for name in source
        .names()
        .filter_map(|name| name.strip_prefix(&prefix))
        .filter(belongs)
    {
        let key = format!("{prefix}{name}");
        let values = source.f32(&key)?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensors.push((name.to_owned(), source.info(&key)?.shape, bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                .map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::damaged(from, error))?;
    // One entry only: a map of several has no fixed order, and the file must be the same every time.
    let text = serde_json::to_string(
        &metadata
            .iter()
            .copied()
            .collect::<std::collections::BTreeMap<_, _>>(),
    )
    .map_err(|error| Error::damaged(to, error))?;
    let metadata = HashMap::from([("rareclip".to_owned(), text)]);
    let file = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::damaged(from, error))?;
    std::fs::write(to, file).map_err(Error::io(to))
}
