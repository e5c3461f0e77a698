//! State to bytes and back: a versioned, checksummed file around a safetensors body.
//!
//! Layout: `RARECLIP` (8 bytes), format version (u32 little-endian), reserved (u32, zero), length
//! of the body (u64), SHA-256 of the body (32 bytes), body. The body is a safetensors file; its
//! metadata holds the plain values as JSON.

mod error;
mod format;
mod migrate;
mod read;
mod write;

pub use error::SnapshotError;
pub use format::FORMAT_VERSION;
pub use read::{Snapshot, SnapshotReader};
pub use write::SnapshotWriter;
