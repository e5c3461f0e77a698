//! Checkpoints for rareclip: what can be fetched and from where, checksums, the cache folder, and tensor files.
//!
//! * [`catalogue`](fn@catalogue) lists the artefacts and their sources, [`fetch`](fn@fetch) installs one into the [`cache`] as the
//!   environment says, [`pull`] from a given source with given [`Settings`], [`locate`] finds it, [`verify`] hashes it again,
//!   [`resolve_model`] turns a name or a path into a file.
//! * [`Checkpoint`] reads `.safetensors` files, PyTorch checkpoints and the weights inside `.onnx` files through a memory map.
//! * [`convert`] writes a checkpoint of another format as `.safetensors`, [`dinov2`] the DINOv2 backbone inside a larger ONNX export as a `.safetensors` of its own.

mod archive;
mod beside;
pub mod cache;
pub mod catalogue;
mod checkpoint;
pub mod convert;
pub mod dinov2;
mod download;
mod error;
pub mod fetch;
mod hub;
mod install;
mod installed;
mod local;
mod mirror;
pub mod onnx;
mod onnx_names;
mod pins;
mod pip;
mod progress;
mod pth;
mod settings;
mod tensor;
mod web;
mod wheel;

pub use beside::{Activation, Beside, Tower};
pub use cache::{cache_dir, locate, provenance, resolve_model, sha256_of as file_sha256, verify};
pub use catalogue::{Artefact, Kind, Source, catalogue};
pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use fetch::{Choice, fetch, pull};
pub use pins::Provenance;
pub use progress::{Proof, Step};
pub use settings::{HUB, Proxy, Settings};
pub use tensor::{Dtype, Span, TensorInfo};
pub use web::tls;
