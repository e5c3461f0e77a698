//! Checkpoints of other formats written as safetensors.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;

use crate::{Checkpoint, Error, Result};

/// Writes every tensor of a checkpoint (.pth, .pt, .bin, .onnx, .safetensors) to `to` as 32-bit
/// safetensors, under the same names. The same input gives the same bytes; `to` is replaced as a
/// whole or not at all.
///
/// # Errors
/// When `from` cannot be read, holds a tensor that is not of floats, or `to` cannot be written.
pub fn to_safetensors(from: &Path, to: &Path) -> Result<()> {
    let source = Checkpoint::open(from)?;
    let origin = from
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let metadata = [
        ("source", origin.as_deref().unwrap_or_default()),
        ("source_sha256", source.sha256()),
    ];
    write(
        &source,
        source.names().map(|name| (name, name)),
        to,
        &metadata,
    )
}

/// Writes tensors of `source`, each `(name there, name in the new file)`.
pub(crate) fn write<'a>(
    source: &Checkpoint,
    names: impl Iterator<Item = (&'a str, &'a str)>,
    to: &Path,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let damaged = |error: safetensors::SafeTensorError| Error::damaged(source.path(), error);
    let mut tensors = Vec::new();
    for (key, name) in names {
        let values = source.f32(key)?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensors.push((name, source.info(key)?.shape, bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)?;
            Ok((*name, view))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(damaged)?;
    // One entry only: a map of several has no fixed order, and the file must be the same every
    // time.
    let metadata: BTreeMap<_, _> = metadata.iter().copied().collect();
    let text = serde_json::to_string(&metadata).map_err(|error| Error::damaged(to, error))?;
    let metadata = HashMap::from([("rareclip".to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(damaged)?;
    let folder = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file, not as a secret one: a cache folder may be shared.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(Error::io(folder))?;
    file.write_all(&bytes).map_err(Error::io(to))?;
    file.persist(to)
        .map_err(|error| Error::io(to)(error.error))?;
    Ok(())
}
