//! Checkpoint files as named tensors, through a memory map.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result, nearest};
use crate::tensor::{Dtype, Span, Stored, TensorInfo};
use crate::{onnx_names, pth};

/// A `.safetensors` file, a PyTorch checkpoint, or the weights of an `.onnx` file, read on demand.
///
/// In ONNX files the nameless weights of linear layers appear under the name of their bias
/// (`…weight`) and turned back to `[out, in]`, and a position table that the exporter split in two
/// appears joined, as `…position_embeddings`.
///
/// Of a PyTorch checkpoint only dictionaries of tensors are read and nothing in it is run; keys of
/// nested dictionaries are joined by `.`.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
    metadata: HashMap<String, String>,
    sha256: OnceLock<String>,
}

impl Checkpoint {
    /// Opens a file by its ending.
    ///
    /// # Errors
    /// When the file is missing, truncated or damaged, its ending is none of `.safetensors`,
    /// `.onnx`, `.pth`, `.pt` and `.bin`, or a PyTorch checkpoint holds more than a dictionary of
    /// tensors ([`Error::Refused`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let format = match ending.to_ascii_lowercase().as_str() {
            "safetensors" => Format::Safetensors,
            "onnx" => Format::Onnx,
            "pth" | "pt" | "bin" => Format::PyTorch,
            _ if !path.exists() => {
                return Err(Error::missing(path));
            }
            _ => {
                return Err(Error::UnknownFormat {
                    path: path.to_owned(),
                });
            }
        };
        let bytes = map(path)?;
        let (tensors, metadata) = match format {
            Format::Safetensors => read_safetensors(path, &bytes)?,
            Format::Onnx => (onnx_names::tensors(path, &bytes)?, HashMap::new()),
            Format::PyTorch => (pth::tensors(path, &bytes)?, HashMap::new()),
        };
        Ok(Self {
            path: path.to_owned(),
            bytes,
            tensors,
            metadata,
            sha256: OnceLock::new(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The free-text metadata of a safetensors file.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// All tensor names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What stands before `anchor` in the first tensor name that ends in it.
    pub fn prefix_of(&self, anchor: &str) -> Option<&str> {
        self.names().find_map(|name| name.strip_suffix(anchor))
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// Shape and storage of a tensor.
    ///
    /// # Errors
    /// [`Error::MissingKey`].
    pub fn info(&self, key: &str) -> Result<TensorInfo> {
        let stored = self.stored(key)?;
        let span = match stored.parts.as_slice() {
            [part] => Some(Span {
                offset: part.as_ptr() as usize - self.bytes.as_ptr() as usize,
                length: part.len(),
            })
            .filter(|span| span.offset <= self.bytes.len()),
            _ => None,
        };
        Ok(TensorInfo {
            shape: stored.shape.clone(),
            dtype: stored.dtype.clone(),
            span,
            transposed: stored.transposed,
        })
    }

    /// The elements of a tensor, row-major; borrowed from the file where it stores aligned 32-bit
    /// floats.
    ///
    /// # Errors
    /// [`Error::MissingKey`] or [`Error::Dtype`].
    pub fn f32(&self, key: &str) -> Result<Cow<'_, [f32]>> {
        let stored = self.stored(key)?;
        let unreadable = |dtype: &str| Error::Dtype {
            path: self.path.clone(),
            key: key.to_owned(),
            dtype: dtype.to_owned(),
        };
        if let Dtype::Other(name) = &stored.dtype {
            return Err(unreadable(name));
        }
        let values = match stored.parts.as_slice() {
            [part] => floats(part, &stored.dtype),
            parts => parts
                .iter()
                .flat_map(|part| floats(part, &stored.dtype).into_owned())
                .collect::<Vec<_>>()
                .into(),
        };
        match stored.shape.as_slice() {
            &[rows, columns] if stored.transposed => Ok(transpose(&values, columns, rows).into()),
            _ => Ok(values),
        }
    }

    /// The elements of a tensor that must have the given shape.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::Dtype`] or [`Error::Shape`].
    pub fn f32_shaped(&self, key: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        self.expect_shape(key, shape)?;
        self.f32(key)
    }

    /// Checks the shape of a tensor without reading it.
    ///
    /// # Errors
    /// [`Error::MissingKey`] or [`Error::Shape`].
    pub fn expect_shape(&self, key: &str, shape: &[usize]) -> Result<()> {
        let stored = self.stored(key)?;
        if stored.shape == shape {
            return Ok(());
        }
        Err(Error::Shape {
            path: self.path.clone(),
            key: key.to_owned(),
            found: stored.shape.clone(),
            expected: shape.to_vec(),
        })
    }

    /// The sha256 of the whole file, in hexadecimal: what identifies these weights. Hashed once:
    /// checkpoints are large.
    pub fn sha256(&self) -> &str {
        // Read, not mapped: pages of the map would count as this process's memory, twice the
        // model's size while it loads.
        let mapped = || HEXLOWER.encode(&Sha256::digest(&self.bytes));
        self.sha256
            .get_or_init(|| crate::hash::sha256_of(&self.path).unwrap_or_else(|_| mapped()))
    }

    pub(crate) fn stored(&self, key: &str) -> Result<&Stored> {
        self.tensors.get(key).ok_or_else(|| Error::MissingKey {
            path: self.path.clone(),
            key: key.to_owned(),
            nearest: nearest(key, self.names()),
        })
    }
}

/// What a checkpoint file is, by its ending.
enum Format {
    Safetensors,
    Onnx,
    PyTorch,
}

#[allow(unsafe_code, reason = "a file is mapped")]
fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(Error::io(path))?;
    if file.metadata().map_err(Error::io(path))?.len() == 0 {
        return Err(Error::damaged(path, "the file is empty"));
    }
    // SAFETY: the map is read-only and private to this process. Cutting the file short while it is
    // mapped would fault, which the cache rules out: files are installed by renaming and never
    // changed in place.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
    Ok(Bytes::from_owner(map))
}

type Tables = (BTreeMap<String, Stored>, HashMap<String, String>);

fn read_safetensors(path: &Path, bytes: &Bytes) -> Result<Tables> {
    let (header, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(|error| {
        Error::damaged(path, cut_short(bytes).unwrap_or_else(|| error.to_string()))
    })?;
    let start = header + 8;
    let stored = |info: &safetensors::tensor::TensorInfo| {
        let (from, to) = info.data_offsets;
        let part = (from <= to && start + to <= bytes.len())
            .then(|| bytes.slice(start + from..start + to))?;
        let dtype = match info.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => Dtype::Other(format!("{other:?}")),
        };
        Some(Stored {
            dtype,
            shape: info.shape.clone(),
            parts: vec![part],
            transposed: false,
        })
    };
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let entry = stored(info)
            .ok_or_else(|| Error::damaged(path, format!("`{name}` lies beyond the file")))?;
        tensors.insert(name, entry);
    }
    Ok((tensors, metadata.metadata().clone().unwrap_or_default()))
}

/// Which tensor of a safetensors file is the first that is not all there, if that is what is wrong
/// with it.
fn cut_short(bytes: &[u8]) -> Option<String> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let start = usize::try_from(length).ok()?.checked_add(8)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(bytes.get(8..start)?).ok()?;
    let (end, name) = header
        .iter()
        .filter_map(|(name, info)| {
            let end = usize::try_from(info.pointer("/data_offsets/1")?.as_u64()?).ok()?;
            Some((start.checked_add(end)?, name))
        })
        .filter(|(end, _)| *end > bytes.len())
        .min()?;
    let length = bytes.len();
    Some(format!("`{name}` ends at byte {end}, the file at {length}"))
}

fn floats<'b>(bytes: &'b [u8], dtype: &Dtype) -> Cow<'b, [f32]> {
    let halves = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match dtype {
        Dtype::F16 => halves()
            .map(|pair| half::f16::from_le_bytes(pair).to_f32())
            .collect(),
        Dtype::Bf16 => halves()
            .map(|pair| half::bf16::from_le_bytes(pair).to_f32())
            .collect(),
        _ => match bytemuck::try_cast_slice(bytes) {
            Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
            _ => bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect(),
        },
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, line) in values.chunks_exact(columns.max(1)).enumerate().take(rows) {
        for (column, value) in line.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}
