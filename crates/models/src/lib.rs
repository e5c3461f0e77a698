//! Checkpoints for rareclip: what can be fetched and from where, checksums, the cache folder, and tensor files.
//!
//! * [`catalogue`](fn@catalogue) lists the pinned artefacts, [`fetch`](fn@fetch) installs one into the [`cache`], [`locate`] finds it,
//!   [`verify`] hashes it again, [`resolve_model`] turns a name or a path into a file.
//! * [`Checkpoint`] reads `.safetensors` files, PyTorch checkpoints and the weights inside `.onnx` files through a memory map.
//! * [`convert`] writes a checkpoint of another format as `.safetensors`, [`dinov2`] the DINOv2 backbone inside a larger ONNX export as a `.safetensors` of its own.

mod beside;
pub mod cache;
pub mod catalogue;
mod checkpoint;
pub mod convert;
pub mod dinov2;
mod error;
pub mod fetch;
mod install;
pub mod onnx;
mod onnx_names;
mod pth;

pub use beside::{Activation, Beside, Tower};
pub use cache::{cache_dir, locate, resolve_model, sha256_of as file_sha256, verify};
pub use catalogue::{Artefact, Kind, catalogue};
pub use checkpoint::{Checkpoint, Dtype, Span, TensorInfo};
pub use error::{Error, Result};
pub use fetch::{Step, fetch};
