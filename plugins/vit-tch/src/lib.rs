//! Vision transformers as rareclip backbones on libtorch: `type = "vit-tch"` ([`VitTchOptions`]).
//!
//! The same checkpoints, the same description of the model and the same tokens as `type = "vit"` on
//! onnxruntime gives, on the CPU and on CUDA devices. libtorch is a C++ library: `LIBTORCH` names
//! its folder when this crate is built.

mod backbone;
mod error;
mod options;
mod tower;
mod weights;

pub use backbone::VitTchBackbone;
pub use error::{Error, Result};
pub use options::{Precision, VitTchOptions};

rareclip_core::register!(backbone VitTchOptions, reaches [files, weights]);
