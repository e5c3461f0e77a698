//! A state file, checked and read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::SnapshotError;
use super::format::{FORMAT_VERSION, HEADER, MAGIC, MAX_FOREIGN_HEADER, parsed};
use super::migrate;

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

    /// Checks the bytes of a state file and brings those of an older format up to the present one;
    /// `path` is for messages.
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
        // The checksum covers the body alone, so every word of the header has to be right by
        // itself.
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

    /// Checks what can be checked of the bytes of a state that comes from elsewhere before anything
    /// is read: the header of the body, which names the entries and holds the plain values, has at
    /// most 1 MiB. `path` is for messages.
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
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`], also where a number is NaN or
    /// infinite.
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

    /// A matrix `[rows, width]` of any number of rows.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] or [`SnapshotError::Entry`].
    pub fn matrix_of_width(&self, name: &str, width: usize) -> Result<Array2<f32>, SnapshotError> {
        let rows = self.matrix(name)?;
        match rows.ncols() == width {
            true => Ok(rows),
            false => Err(SnapshotError::Entry {
                name: format!("{}{name}", self.prefix),
                problem: format!("has width {}, expected {width}", rows.ncols()),
            }),
        }
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
