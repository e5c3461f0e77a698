//! State to bytes and back: a versioned, checksummed file around a safetensors body.
//!
//! Layout: `RARECLIP` (8 bytes), format version (u32 little-endian), reserved (u32, zero), length of the body (u64),
//! SHA-256 of the body (32 bytes), body. The body is a safetensors file; its metadata holds the plain values as JSON.

mod migrate;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The version of the format that this crate writes. It reads this and every earlier one.
pub const FORMAT_VERSION: u32 = 1;

/// The metadata entry that holds the plain values.
const VALUES: &str = "values";
const MAGIC: &[u8; 8] = b"RARECLIP";
const HEADER: usize = 8 + 4 + 4 + 8 + 32;
/// Largest header of a body, in bytes, in a state that comes from elsewhere. Reading it takes many times its size.
const MAX_FOREIGN_HEADER: u64 = 1 << 20;

/// What can be wrong with saved state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("state {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a state file, is cut short or was changed.
    #[error("state {path}: {problem}; restore an older copy, or name a new file to start afresh", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file was written by a newer version.
    #[error("state {path} has format {found}, rareclip {version} reads formats up to {FORMAT_VERSION}: upgrade rareclip, restore an older copy, or name a new file to start afresh", path = .path.display(), version = env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// An entry is not there.
    #[error("state lacks `{0}`")]
    Missing(String),
    /// An entry has the wrong type or shape.
    #[error("state entry `{name}`: {problem}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
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
    prefix: String,
    tensors: BTreeMap<String, Tensor<'a>>,
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
    fn of_body(body: &[u8]) -> Result<SnapshotWriter<'static>, String> {
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
    fn body(&self) -> Result<Vec<u8>, String> {
        // One entry for all: the order of a map of metadata is not reproducible, the file should be.
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
    /// When the state cannot be laid out, which is a fault of a component (a shape that is not its data's).
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

/// Tensors and plain values of a body.
fn parsed(body: &[u8]) -> Result<(SafeTensors<'_>, BTreeMap<String, String>), String> {
    let told = |error: safetensors::SafeTensorError| error.to_string();
    let tensors = SafeTensors::deserialize(body).map_err(told)?;
    let (_, metadata) = SafeTensors::read_metadata(body).map_err(told)?;
    let values = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(VALUES));
    let values = serde_json::from_str(values.map_or("{}", String::as_str))
        .map_err(|error| format!("its plain values cannot be read: {error}"))?;
    Ok((tensors, values))
}

/// The bytes of a state file, checked and in the present format.
pub struct Snapshot {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
}

impl Snapshot {
    /// Reads and checks a state file.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], [`SnapshotError::Damaged`] or [`SnapshotError::Newer`].
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let bytes = std::fs::read(path).map_err(|source| SnapshotError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(path, bytes)
    }

    /// Checks the bytes of a state file and brings those of an older format up to the present one; `path` is for messages.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] or [`SnapshotError::Newer`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, SnapshotError> {
        let damaged = |problem: String| SnapshotError::Damaged {
            path: path.to_owned(),
            problem,
        };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("not a rareclip state file".into()));
        }
        if bytes.len() < HEADER {
            return Err(damaged(format!(
                "cut short: {} of at least {HEADER} bytes",
                bytes.len()
            )));
        }
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let version = number(8);
        if version > FORMAT_VERSION {
            return Err(SnapshotError::Newer {
                path: path.to_owned(),
                found: version,
            });
        }
        // The checksum covers the body alone, so every word of the header has to be right by itself.
        if version == 0 || number(12) != 0 {
            return Err(damaged(
                "its header is not one that was ever written".into(),
            ));
        }
        let length = u64::from(number(16)) | u64::from(number(20)) << 32;
        let found = (bytes.len() - HEADER) as u64;
        if found != length {
            return Err(damaged(format!(
                "cut short or overlong: {found} of {length} bytes"
            )));
        }
        if Sha256::digest(&bytes[HEADER..]).as_slice() != &bytes[24..HEADER] {
            return Err(damaged("its checksum does not match".into()));
        }
        let migrated = migrate::migrated(&bytes[HEADER..], version, &migrate::STEPS);
        let (bytes, body) = match migrated.map_err(damaged)? {
            Some(body) => (body, 0),
            None => (bytes, HEADER),
        };
        Ok(Self {
            path: path.to_owned(),
            bytes,
            body,
        })
    }

    /// Checks what can be checked of the bytes of a state that comes from elsewhere before anything is read: the header of
    /// the body, which names the entries and holds the plain values, has at most 1 MiB. `path` is for messages.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`].
    pub fn check_foreign(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
        let damaged = |problem: String| SnapshotError::Damaged {
            path: path.to_owned(),
            problem,
        };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("not a rareclip state file".into()));
        }
        let length = bytes
            .get(HEADER..)
            .and_then(|body| body.first_chunk::<8>())
            .map(|length| u64::from_le_bytes(*length))
            .ok_or_else(|| damaged(format!("cut short: {} bytes", bytes.len())))?;
        if length > MAX_FOREIGN_HEADER {
            return Err(damaged(format!(
                "the list of its entries has {length} bytes, at most {MAX_FOREIGN_HEADER} are allowed"
            )));
        }
        Ok(())
    }

    /// A reader of its entries.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when the body is not laid out as it should be.
    pub fn reader(&self) -> Result<SnapshotReader<'_>, SnapshotError> {
        let parsed = parsed(&self.bytes[self.body..]);
        let (tensors, values) = parsed.map_err(|problem| SnapshotError::Damaged {
            path: self.path.clone(),
            problem,
        })?;
        Ok(SnapshotReader {
            prefix: String::new(),
            tensors,
            values,
        })
    }
}

/// Reads the entries of a [`Snapshot`].
pub struct SnapshotReader<'a> {
    prefix: String,
    tensors: SafeTensors<'a>,
    values: BTreeMap<String, String>,
}

impl SnapshotReader<'_> {
    /// Runs `read` with every name looked up under `name.`.
    pub fn scoped<T>(&mut self, name: &str, read: impl FnOnce(&Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        let result = read(self);
        self.prefix.truncate(length);
        result
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<(Vec<usize>, &[u8]), SnapshotError> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self
            .tensors
            .tensor(&name)
            .map_err(|_| SnapshotError::Missing(name.clone()))?;
        if tensor.dtype() != dtype {
            return Err(SnapshotError::Entry {
                name,
                problem: format!("has type {:?}, expected {dtype:?}", tensor.dtype()),
            });
        }
        Ok((tensor.shape().to_vec(), tensor.data()))
    }

    /// Finite numbers and their shape.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`], also where a number is NaN or infinite.
    pub fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), SnapshotError> {
        self.checked_floats(name, f32::is_finite)
    }

    /// Numbers and their shape, where negative infinity stands for a place that is not taken.
    ///
    /// # Errors
    /// As for [`floats`](Self::floats), but for negative infinity.
    pub fn floats_with_gaps(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), SnapshotError> {
        self.checked_floats(name, |value| {
            value.is_finite() || value == f32::NEG_INFINITY
        })
    }

    fn checked_floats(
        &self,
        name: &str,
        allowed: impl Fn(f32) -> bool,
    ) -> Result<(Vec<usize>, Vec<f32>), SnapshotError> {
        let (shape, bytes) = self.tensor(name, Dtype::F32)?;
        let values: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(bytes);
        match values.iter().position(|value| !allowed(*value)) {
            None => Ok((shape, values)),
            Some(at) => Err(SnapshotError::Entry {
                name: format!("{}{name}", self.prefix),
                problem: format!("value {at} is {}, expected a finite number", values[at]),
            }),
        }
    }

    /// Whole numbers and their shape.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`].
    pub fn ints(&self, name: &str) -> Result<(Vec<usize>, Vec<u32>), SnapshotError> {
        let (shape, bytes) = self.tensor(name, Dtype::U32)?;
        Ok((shape, bytemuck::allocation::pod_collect_to_vec(bytes)))
    }

    /// A vector `[n]`.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`].
    pub fn vector(&self, name: &str) -> Result<Array1<f32>, SnapshotError> {
        Ok(Array1::from_vec(self.floats(name)?.1))
    }

    /// A matrix `[rows, columns]`.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`].
    pub fn matrix(&self, name: &str) -> Result<Array2<f32>, SnapshotError> {
        let (shape, data) = self.floats(name)?;
        let entry = |problem: String| SnapshotError::Entry {
            name: format!("{}{name}", self.prefix),
            problem,
        };
        let [rows, columns] = shape[..] else {
            return Err(entry(format!("has shape {shape:?}, expected a matrix")));
        };
        Array2::from_shape_vec((rows, columns), data).map_err(|error| entry(error.to_string()))
    }

    /// A plain value.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`].
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T, SnapshotError> {
        let name = format!("{}{name}", self.prefix);
        let text = self
            .values
            .get(&name)
            .ok_or_else(|| SnapshotError::Missing(name.clone()))?;
        serde_json::from_str(text).map_err(|error| SnapshotError::Entry {
            name,
            problem: error.to_string(),
        })
    }
}
