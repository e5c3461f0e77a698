//! The DINOv2 backbone inside a larger ONNX export, written as a checkpoint of its own.

use std::path::Path;

use crate::{Checkpoint, Error, Result};

/// Writes the backbone found in `from` (an ONNX export that holds one under Hugging Face's Dinov2
/// names, with any prefix) to `to` as safetensors, under the names of a plain Dinov2 checkpoint.
/// The same input gives the same bytes.
///
/// # Errors
/// When `from` cannot be read, holds no such backbone, or `to` cannot be written.
pub fn export(from: &Path, to: &Path, metadata: &[(&str, &str)]) -> Result<()> {
    let source = Checkpoint::open(from)?;
    let anchor = "embeddings.cls_token";
    let prefix = source.prefix_of(anchor).ok_or_else(|| Error::MissingKey {
        path: from.to_owned(),
        key: anchor.into(),
        nearest: None,
    })?;
    let belongs = |name: &&str| {
        name.starts_with("embeddings.")
            || name.starts_with("encoder.")
            || name.starts_with("layernorm.")
    };
    let names: Vec<(&str, &str)> = source
        .names()
        .filter_map(|key| Some((key, key.strip_prefix(prefix)?)))
        .filter(|(_, name)| belongs(name))
        .collect();
    crate::convert::write(&source, names.into_iter(), to, metadata)
}
