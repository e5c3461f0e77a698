//! Checkpoints of models: named tensors out of files, without running anything that a file says.
//!
//! * [`Checkpoint`] reads `.safetensors` files, PyTorch checkpoints and the weights inside `.onnx`
//!   files through a memory map.
//! * [`Beside`] reads the config that lies beside one.
//! * [`convert`] writes a checkpoint of another format as `.safetensors`, [`dinov2`] the DINOv2
//!   backbone inside a larger ONNX export as a `.safetensors` of its own.

pub mod beside;
mod checkpoint;
pub mod convert;
pub mod dinov2;
mod error;
mod hash;
pub mod onnx;
mod onnx_names;
mod pth;
mod tensor;

pub use beside::{Activation, Beside, Tower};
pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use hash::sha256_of;
pub use tensor::{Dtype, Span, TensorInfo};
