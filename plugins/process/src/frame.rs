//! A message on the socket: a JSON header, and the arrays it names as raw little-endian numbers.
//!
//! Layout: `RCLP` (4 bytes), length of the header (u32 little-endian), length of the body (u64),
//! header, body. The header is a JSON object; its `arrays` list name, type and shape of what stands
//! in the body, one after the other without gaps. Public for hosts that are written in Rust; the
//! messages themselves are described in `docs/process-plugins.md`.

use std::io::{self, Read, Write};

use bytemuck::{AnyBitPattern, NoUninit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The first bytes of every message.
pub const MAGIC: [u8; 4] = *b"RCLP";
/// The longest header, in bytes.
pub const HEADER_LIMIT: usize = 1 << 20;

const PREFIX: usize = 16;
/// The header's list of arrays.
const ARRAYS: &str = "arrays";

/// What can be wrong with a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The connection could not be read from or written to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The connection ended between two messages.
    #[error("the connection was closed")]
    Closed,
    /// The connection ended within a message.
    #[error("the connection ended within a message")]
    Cut,
    /// The first bytes are not those of a message.
    #[error("bytes that are no message: it begins with {0:02x?} instead of `RCLP`")]
    NotAMessage([u8; 4]),
    /// A message is larger than was agreed.
    #[error("a message of {found} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        found: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// The header is not what it should be.
    #[error("a message whose header is unusable: {0}")]
    Header(String),
    /// An array is missing, or has another type or shape than it should.
    #[error("{0}")]
    Array(String),
}

/// The type of an array's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 32-bit whole numbers from 0.
    U32,
    /// Bytes.
    U8,
}

impl Dtype {
    const fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::U8 => 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Entry {
    /// Bytes of the array; `None` where no machine could hold them.
    fn bytes(&self) -> Option<usize> {
        let each = self.dtype.size();
        self.shape
            .iter()
            .try_fold(each, |size, &length| size.checked_mul(length))
    }
}

/// A message: plain fields, and arrays by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    fields: Map<String, Value>,
    entries: Vec<Entry>,
    body: Vec<u8>,
}

impl Frame {
    /// A message without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request of that name.
    pub fn request(name: &str) -> Self {
        Self::new().with("request", name)
    }

    /// The same message with a field more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// A field; null where it is not there.
    pub fn field(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    /// A field as a `T`.
    ///
    /// # Errors
    /// [`FrameError::Header`] when it is missing or of another kind.
    pub fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T, FrameError> {
        T::deserialize(self.field(name))
            .map_err(|error| FrameError::Header(format!("`{name}`: {error}")))
    }

    /// The names of its fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// The names and types of its arrays.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, Dtype)> {
        let arrays = self.entries.iter();
        arrays.map(|entry| (entry.name.as_str(), entry.dtype))
    }

    /// Bytes it takes in memory, nearly.
    pub fn bytes(&self) -> usize {
        self.body.len() + PREFIX
    }

    /// Adds an array of floats in row-major order.
    pub fn floats(&mut self, name: impl Into<String>, shape: &[usize], data: &[f32]) {
        self.add(name.into(), Dtype::F32, shape, data);
    }

    /// Adds an array of whole numbers in row-major order.
    pub fn ints(&mut self, name: impl Into<String>, shape: &[usize], data: &[u32]) {
        self.add(name.into(), Dtype::U32, shape, data);
    }

    /// Adds bytes.
    pub fn raw(&mut self, name: impl Into<String>, data: &[u8]) {
        self.add(name.into(), Dtype::U8, &[data.len()], data);
    }

    fn add<T: NoUninit>(&mut self, name: String, dtype: Dtype, shape: &[usize], data: &[T]) {
        let start = self.body.len();
        self.body.extend_from_slice(bytemuck::cast_slice(data));
        to_little_endian(&mut self.body[start..], dtype.size());
        let shape = shape.to_vec();
        self.entries.push(Entry { name, dtype, shape });
    }

    /// Adds the arrays of `other` whose names begin with `prefix`, as they are.
    pub fn copy_arrays(&mut self, other: &Self, prefix: &str) {
        let mut start = 0;
        for entry in &other.entries {
            let end = start + entry.bytes().unwrap_or(0);
            if entry.name.starts_with(prefix) {
                self.body.extend_from_slice(&other.body[start..end]);
                self.entries.push(entry.clone());
            }
            start = end;
        }
    }

    /// Whether there is an array of that name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The floats of an array and their shape.
    ///
    /// # Errors
    /// [`FrameError::Array`] when there is none of that name and type.
    pub fn take_floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), FrameError> {
        self.find(name, Dtype::F32)
    }

    /// The whole numbers of an array and their shape.
    ///
    /// # Errors
    /// [`FrameError::Array`] when there is none of that name and type.
    pub fn take_ints(&self, name: &str) -> Result<(Vec<usize>, Vec<u32>), FrameError> {
        self.find(name, Dtype::U32)
    }

    /// The bytes of that name.
    ///
    /// # Errors
    /// [`FrameError::Array`] when there are none.
    pub fn take_raw(&self, name: &str) -> Result<Vec<u8>, FrameError> {
        Ok(self.find(name, Dtype::U8)?.1)
    }

    fn find<T: NoUninit + AnyBitPattern>(
        &self,
        name: &str,
        dtype: Dtype,
    ) -> Result<(Vec<usize>, Vec<T>), FrameError> {
        let mut start = 0;
        for entry in &self.entries {
            let end = start + entry.bytes().unwrap_or(0);
            if entry.name == name {
                if entry.dtype != dtype {
                    let problem =
                        format!("array `{name}` is {:?}, expected {dtype:?}", entry.dtype);
                    return Err(FrameError::Array(problem));
                }
                let mut bytes = self.body[start..end].to_vec();
                to_little_endian(&mut bytes, dtype.size());
                let values = bytemuck::allocation::pod_collect_to_vec(&bytes);
                return Ok((entry.shape.clone(), values));
            }
            start = end;
        }
        Err(FrameError::Array(format!("array `{name}` is missing")))
    }

    /// Its bytes, with the number of the exchange it belongs to.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] when it has more than `limit` bytes.
    pub fn encode(&self, id: u64, limit: u64) -> Result<Vec<u8>, FrameError> {
        let mut header = self.fields.clone();
        header.insert("id".into(), id.into());
        let entries = serde_json::to_value(&self.entries);
        let entries = entries.map_err(|error| FrameError::Header(error.to_string()))?;
        header.insert(ARRAYS.into(), entries);
        let header = Value::Object(header).to_string().into_bytes();
        check_size(header.len() as u64, self.body.len() as u64, limit)?;
        let mut bytes = Vec::with_capacity(PREFIX + header.len() + self.body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// Writes it; see [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] or [`FrameError::Io`].
    pub fn write(&self, to: &mut dyn Write, id: u64, limit: u64) -> Result<(), FrameError> {
        to.write_all(&self.encode(id, limit)?)?;
        Ok(to.flush()?)
    }

    /// Reads one, with the number of its exchange. No more memory is taken than bytes have come.
    ///
    /// # Errors
    /// [`FrameError`], whatever the bytes; after one the connection is of no more use.
    pub fn read(from: &mut dyn Read, limit: u64) -> Result<(Self, u64), FrameError> {
        let mut prefix = [0u8; PREFIX];
        let mut filled = 0;
        while filled < PREFIX {
            match from.read(&mut prefix[filled..]) {
                Ok(0) if filled == 0 => return Err(FrameError::Closed),
                Ok(0) => return Err(FrameError::Cut),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [m0, m1, m2, m3, h0, h1, h2, h3, body @ ..] = prefix;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::NotAMessage([m0, m1, m2, m3]));
        }
        let header = u64::from(u32::from_le_bytes([h0, h1, h2, h3]));
        let body = u64::from_le_bytes(body);
        check_size(header, body, limit)?;
        let header = read_bytes(from, header)?;
        let body = read_bytes(from, body)?;
        Self::decode(&header, body)
    }

    fn decode(header: &[u8], body: Vec<u8>) -> Result<(Self, u64), FrameError> {
        let header_error = |error: serde_json::Error| FrameError::Header(error.to_string());
        let mut fields: Map<String, Value> =
            serde_json::from_slice(header).map_err(header_error)?;
        let id = match fields.remove("id").as_ref().and_then(Value::as_u64) {
            Some(id) => id,
            None => return Err(FrameError::Header("`id` is no whole number".into())),
        };
        let entries: Vec<Entry> = match fields.remove(ARRAYS) {
            Some(entries) => serde_json::from_value(entries).map_err(header_error)?,
            None => Vec::new(),
        };
        let mut total = 0usize;
        for (at, entry) in entries.iter().enumerate() {
            let end = entry.bytes().and_then(|bytes| total.checked_add(bytes));
            total = end.ok_or_else(|| FrameError::Header(format!("{entry:?} is too large")))?;
            if entries[..at].iter().any(|other| other.name == entry.name) {
                let problem = format!("two arrays are called `{}`", entry.name);
                return Err(FrameError::Header(problem));
            }
        }
        if total != body.len() {
            let problem = format!("its arrays take {total} bytes, the body has {}", body.len());
            return Err(FrameError::Header(problem));
        }
        let frame = Self {
            fields,
            entries,
            body,
        };
        Ok((frame, id))
    }
}

fn check_size(header: u64, body: u64, limit: u64) -> Result<(), FrameError> {
    if header > HEADER_LIMIT as u64 {
        let problem = format!("it has {header} bytes, the limit is {HEADER_LIMIT}");
        return Err(FrameError::Header(problem));
    }
    let found = body.saturating_add(header);
    if found > limit {
        return Err(FrameError::TooLarge { found, limit });
    }
    Ok(())
}

fn read_bytes(from: &mut dyn Read, length: u64) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(FrameError::Cut);
    }
    Ok(bytes)
}

/// The byte order of this machine to that of the wire, and back.
fn to_little_endian(bytes: &mut [u8], size: usize) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}
