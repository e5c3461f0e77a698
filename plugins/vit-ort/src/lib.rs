//! Vision transformers and ONNX files as rareclip backbones, on onnxruntime.
//!
//! * `type = "vit"` ([`VitOptions`]): DINOv2 and CLIP vision towers from a checkpoint; the graph is
//!   written in memory from the tensor names and shapes found there, at any image size.
//! * `type = "onnx"` ([`OnnxOptions`]): any ONNX file whose outputs are feature maps or patch
//!   tokens.

mod error;
mod graph;
mod onnx;
mod operators;
mod runtime;
mod vit;

pub use error::{Error, Result};
pub use onnx::{OnnxOptions, OnnxOutput};
pub use rareclip_vit::Tokens;
pub use vit::{Precision, VitBackbone, VitOptions};

rareclip_core::register! {
    backbone VitOptions, reaches [files, weights];
    backbone OnnxOptions, reaches [files, weights];
}
