//! How tensors are stored in a checkpoint.

use bytes::Bytes;

/// How the elements of a tensor are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 16-bit brain float.
    Bf16,
    /// Anything else, by the name the file gives it; cannot be read as numbers here.
    Other(String),
}

impl Dtype {
    /// Bytes of one element; 0 where it is not known.
    pub fn size(&self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_) => 0,
        }
    }
}

/// A range of bytes in a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte, from the start of the file.
    pub offset: usize,
    /// Number of bytes.
    pub length: usize,
}

/// What is known of a tensor without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its shape, linear weights as `[out, in]`.
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Where its bytes lie, if they are one range of the file.
    pub span: Option<Span>,
    /// Whether the two axes are swapped in the file (a linear weight stored as `[in, out]`).
    pub transposed: bool,
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Pieces to be put one after the other.
    pub(crate) parts: Vec<Bytes>,
    pub(crate) transposed: bool,
}
