//! PyTorch checkpoints (`.pth`, `.pt`, `.bin`) as named tensors, without running anything in them.
//!
//! `torch.save` writes a zip archive: a pickle that describes nested dictionaries of tensors, and
//! one member with the raw bytes of every storage. A pickle is a program that may call any
//! function, so only the few opcodes and names that dictionaries of tensors need are understood,
//! see [`pickle`]; whatever else it asks for is refused by name. Files from before PyTorch 1.6 are
//! no zip archives and are refused as well.

mod pickle;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, Result};
use crate::tensor::{Dtype, Stored};
use pickle::{Storage, Tensor};

/// First bytes of every zip archive that holds a file.
const ZIP: &[u8] = b"PK\x03\x04";

/// A pickle describes tensors, it does not hold them: no honest one comes near this many bytes.
const MAX_PICKLE: usize = 16 << 20;

/// The tensors of a checkpoint; keys of nested dictionaries are joined by `.`.
pub(crate) fn tensors(path: &Path, bytes: &Bytes) -> Result<BTreeMap<String, Stored>> {
    if !bytes.starts_with(ZIP) {
        return Err(if bytes.first() == Some(&0x80) {
            Error::refused(path, "the format from before PyTorch 1.6 (no zip archive)")
        } else {
            Error::damaged(
                path,
                "no PyTorch checkpoint: it does not begin as a zip archive",
            )
        });
    }
    let mut archive = Archive::open(path, bytes)?;
    let order = format!("{}byteorder", archive.folder);
    if archive.has(&order) && archive.member(&order)?.as_ref() != b"little" {
        return Err(Error::refused(path, "numbers stored in big-endian order"));
    }
    let program = archive.member(&format!("{}data.pkl", archive.folder))?;
    if program.len() > MAX_PICKLE {
        let what = format!("a pickle of {} bytes", program.len());
        return Err(Error::refused(path, &what));
    }
    let mut found = BTreeMap::new();
    for (name, tensor) in pickle::tensors(path, &program)? {
        let stored = archive.stored(&name, &tensor)?;
        if found.insert(name.clone(), stored).is_some() {
            return Err(Error::damaged(
                path,
                format!("two tensors are called `{name}`"),
            ));
        }
    }
    Ok(found)
}

/// The zip archive and where its members lie.
struct Archive<'f> {
    path: &'f Path,
    bytes: &'f Bytes,
    zip: ZipArchive<Cursor<&'f [u8]>>,
    /// The one folder that every member lies in, with its slash.
    folder: String,
    /// Storages read so far, so that tensors that share one are read once.
    storages: BTreeMap<String, Bytes>,
    /// Bytes that were put into another order, which are copies; views of one storage can ask for
    /// it many times.
    gathered: usize,
}

impl<'f> Archive<'f> {
    fn open(path: &'f Path, bytes: &'f Bytes) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes.as_ref()))
            .map_err(|error| Error::damaged(path, error))?;
        let folder = zip
            .file_names()
            .flatten()
            .find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned))
            .filter(|folder| folder.is_empty() || folder.ends_with('/'));
        let folder = folder.ok_or_else(|| {
            Error::damaged(
                path,
                "no PyTorch checkpoint: the archive has no member data.pkl",
            )
        })?;
        if zip
            .index_for_name(&format!("{folder}constants.pkl"))
            .is_some()
        {
            let what = "a compiled TorchScript module; save its state_dict() instead";
            return Err(Error::refused(path, what));
        }
        Ok(Self {
            path,
            bytes,
            zip,
            folder,
            storages: BTreeMap::new(),
            gathered: 0,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// The bytes of a member, borrowed from the file: `torch.save` compresses none.
    fn member(&mut self, name: &str) -> Result<Bytes> {
        let path = self.path;
        let damaged = |detail: String| Error::damaged(path, format!("member `{name}`: {detail}"));
        let file = self
            .zip
            .by_name(name)
            .map_err(|error| damaged(error.to_string()))?;
        if file.compression() != CompressionMethod::Stored {
            return Err(Error::refused(
                path,
                &format!("the compressed member `{name}`"),
            ));
        }
        let size = file.size();
        let range = file
            .data_start()
            .and_then(|start| Some((start, start.checked_add(size)?)))
            .and_then(|(start, end)| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?))
            .filter(|range| range.end <= self.bytes.len());
        range
            .map(|range| self.bytes.slice(range))
            .ok_or_else(|| damaged("ends beyond the file".into()))
    }

    fn storage(&mut self, storage: &Storage) -> Result<Bytes> {
        if let Some(bytes) = self.storages.get(&*storage.key) {
            return Ok(bytes.clone());
        }
        let bytes = self.member(&format!("{}data/{}", self.folder, storage.key))?;
        self.storages.insert(storage.key.to_string(), bytes.clone());
        Ok(bytes)
    }

    /// A tensor with its elements in row-major order.
    fn stored(&mut self, name: &str, tensor: &Tensor) -> Result<Stored> {
        let bytes = self.storage(&tensor.storage)?;
        let (dtype, width) = dtype_of(tensor.storage.class);
        let beyond = || {
            let detail = format!(
                "`{name}` of shape {:?} does not fit into its storage of {} bytes",
                tensor.shape,
                bytes.len()
            );
            Error::damaged(self.path, detail)
        };
        let layout = Layout::new(tensor, bytes.len() / width).ok_or_else(beyond)?;
        let start = tensor.offset * width;
        let part = |count: usize| bytes.slice(start..start + count * width);
        let (part, transposed) = match layout {
            Layout::Empty => (Bytes::new(), false),
            Layout::RowMajor(count) => (part(count), false),
            Layout::Transposed(count) => (part(count), true),
            Layout::Strided(count) => {
                self.gathered += count * width;
                if self.gathered > self.bytes.len() {
                    let what = "views that overlap in more bytes than the file has";
                    return Err(Error::refused(self.path, what));
                }
                (gather(&bytes, tensor, width), false)
            }
        };
        Ok(Stored {
            dtype,
            shape: tensor.shape.clone(),
            parts: vec![part],
            transposed,
        })
    }
}

/// The number format of a storage class and the bytes of one element.
fn dtype_of(class: &str) -> (Dtype, usize) {
    let other = |width| (Dtype::Other(format!("torch.{class}")), width);
    match class {
        "FloatStorage" => (Dtype::F32, 4),
        "HalfStorage" => (Dtype::F16, 2),
        "BFloat16Storage" => (Dtype::Bf16, 2),
        "DoubleStorage" | "LongStorage" => other(8),
        "IntStorage" => other(4),
        "ShortStorage" => other(2),
        _ => other(1),
    }
}

/// How the elements of a tensor lie in its storage.
enum Layout {
    Empty,
    /// One after the other, so many.
    RowMajor(usize),
    /// A matrix, column by column, so many.
    Transposed(usize),
    /// In any other order, so many.
    Strided(usize),
}

impl Layout {
    /// `None` where the tensor reaches beyond the `available` elements or repeats more of them than
    /// there are.
    fn new(tensor: &Tensor, available: usize) -> Option<Self> {
        let (shape, strides) = (&tensor.shape, &tensor.strides);
        if shape.len() != strides.len() {
            return None;
        }
        let count = product(shape)?;
        if count == 0 {
            return Some(Self::Empty);
        }
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(tensor.offset, |last, (size, stride)| {
                last.checked_add((size - 1).checked_mul(*stride)?)
            })?;
        if last >= available || count > available {
            return None;
        }
        // The stride of an axis of length 1 means nothing.
        let dense = |axes: &mut dyn Iterator<Item = (&usize, &usize)>| {
            let mut expected = 1;
            for (&size, &stride) in axes {
                if size != 1 && stride != expected {
                    return false;
                }
                expected *= size;
            }
            true
        };
        Some(if dense(&mut shape.iter().zip(strides).rev()) {
            Self::RowMajor(count)
        } else if shape.len() == 2 && dense(&mut shape.iter().zip(strides)) {
            Self::Transposed(count)
        } else {
            Self::Strided(count)
        })
    }
}

fn product(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
}

/// Copies the elements of a tensor that [`Layout::new`] accepted into row-major order.
fn gather(bytes: &Bytes, tensor: &Tensor, width: usize) -> Bytes {
    let mut out = Vec::with_capacity(tensor.shape.iter().product::<usize>() * width);
    let mut index = vec![0; tensor.shape.len()];
    let mut at = tensor.offset;
    loop {
        out.extend_from_slice(&bytes[at * width..(at + 1) * width]);
        let Some(axis) = (0..index.len())
            .rev()
            .find(|&axis| index[axis] + 1 < tensor.shape[axis])
        else {
            return out.into();
        };
        index[axis] += 1;
        at += tensor.strides[axis];
        for (index, stride) in index.iter_mut().zip(&tensor.strides).skip(axis + 1) {
            at -= *stride * std::mem::take(index);
        }
    }
}
