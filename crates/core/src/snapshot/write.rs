//! The entries of a state, collected and written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, View};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::SnapshotError;
use super::format::{FORMAT_VERSION, HEADER, MAGIC, VALUES, parsed};

pub(super) struct Tensor<'a> {
    dtype: Dtype,
    pub(super) shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl View for &Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Collects the state of a stream, borrowing large arrays.
#[derive(Default)]
pub struct SnapshotWriter<'a> {
    pub(super) prefix: String,
    pub(super) tensors: BTreeMap<String, Tensor<'a>>,
    values: BTreeMap<String, String>,
}

impl<'a> SnapshotWriter<'a> {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `write` with every name put under `name.`.
    pub fn scoped(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let length = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        write(self);
        self.prefix.truncate(length);
    }

    /// Adds numbers of the given shape, in row-major order.
    pub fn floats(&mut self, name: &str, shape: &[usize], data: impl Into<Cow<'a, [f32]>>) {
        let bytes = match data.into() {
            Cow::Borrowed(data) => Cow::Borrowed(bytemuck::cast_slice(data)),
            Cow::Owned(data) => Cow::Owned(bytemuck::cast_slice(&data).to_vec()),
        };
        self.tensor(name, Dtype::F32, shape, bytes);
    }

    /// Adds whole numbers of the given shape, in row-major order.
    pub fn ints(&mut self, name: &str, shape: &[usize], data: impl Into<Cow<'a, [u32]>>) {
        let bytes = match data.into() {
            Cow::Borrowed(data) => Cow::Borrowed(bytemuck::cast_slice(data)),
            Cow::Owned(data) => Cow::Owned(bytemuck::cast_slice(&data).to_vec()),
        };
        self.tensor(name, Dtype::U32, shape, bytes);
    }

    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Cow<'a, [u8]>) {
        let tensor = Tensor {
            dtype,
            shape: shape.to_vec(),
            bytes,
        };
        self.tensors
            .insert(format!("{}{name}", self.prefix), tensor);
    }

    /// Adds a plain value. Floats survive exactly.
    pub fn value<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let text = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
        self.values.insert(format!("{}{name}", self.prefix), text);
    }

    /// What [`body`](Self::body) wrote.
    pub(super) fn of_body(body: &[u8]) -> Result<SnapshotWriter<'static>, String> {
        let (tensors, values) = parsed(body)?;
        let owned = |(name, tensor): (String, TensorView<'_>)| {
            let tensor = Tensor {
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                bytes: Cow::Owned(tensor.data().to_vec()),
            };
            (name, tensor)
        };
        Ok(SnapshotWriter {
            prefix: String::new(),
            tensors: tensors.tensors().into_iter().map(owned).collect(),
            values,
        })
    }

    /// The body: a safetensors file.
    pub(super) fn body(&self) -> Result<Vec<u8>, String> {
        // One entry for all: the order of a map of metadata is not reproducible, the file should
        // be.
        let values = serde_json::to_string(&self.values).map_err(|error| error.to_string())?;
        let metadata = HashMap::from([(VALUES.to_owned(), values)]);
        safetensors::serialize(
            self.tensors
                .iter()
                .map(|(name, tensor)| (name.as_str(), tensor)),
            Some(metadata),
        )
        .map_err(|error| error.to_string())
    }

    /// The whole file's bytes.
    ///
    /// # Errors
    /// When the state cannot be laid out, which is a fault of a component (a shape that is not its
    /// data's).
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let body = self.body().map_err(|problem| SnapshotError::Entry {
            name: "(all)".into(),
            problem,
        })?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Writes the file so that at any moment either the old or the new one is whole on disk.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the old file is untouched then.
    pub fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        let io = |source| SnapshotError::Io {
            path: path.to_owned(),
            source,
        };
        crate::write_whole(path, &self.to_bytes()?).map_err(io)
    }
}
