//! The computation graph of a vision transformer, written as an ONNX model in memory.
//!
//! Weights stay in the checkpoint file, which onnxruntime maps itself; only small or resized ones
//! are written into the model. Attention, products with turned weights and activations are
//! onnxruntime's fused operators (domain `com.microsoft`).

mod builder;
mod linear;
mod quantise;
mod tower;

pub(crate) use tower::build;

/// Name of the graph's input, `[images, 3, side, side]`.
pub(crate) const INPUT: &str = "pixels";
/// Name of the embedding output, `[images, embedding width]`.
pub(crate) const EMBEDDING: &str = "embedding";

/// Name of the output of a block (1-based), `[images, prefix + patches, width]`.
pub(crate) fn output_of(block: usize) -> String {
    format!("block_{block}")
}

/// Name of the output with the embeddings of windows of `side` x `side` patches,
/// `[images * windows, embedding width]`.
pub(crate) fn windows_of(side: usize) -> String {
    format!("windows_{side}")
}
