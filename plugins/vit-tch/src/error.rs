//! The error of this crate.

use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a config and a backbone, or with one image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be found.
    #[error(transparent)]
    Model(#[from] rareclip_artifacts::Error),
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] rareclip_checkpoints::Error),
    /// The transformer cannot be built as it is asked for, or was given images of another shape.
    #[error(transparent)]
    Vit(#[from] rareclip_vit::Error),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] rareclip_vit::torch::NoDevice),
    /// The device does not compute in the precision asked for.
    #[error(
        "precision \"f16\" is for CUDA devices, and `device` is \"cpu\"; \"f32\" and \"bf16\" run everywhere"
    )]
    Precision,
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A tensor of the checkpoint has more or fewer numbers than its shape.
    #[error("{path}: {found} numbers do not fill the shape {shape:?}", path = .path.display())]
    Shape {
        /// The checkpoint.
        path: PathBuf,
        /// Numbers there are.
        found: usize,
        /// Shape they should have.
        shape: Vec<usize>,
    },
    /// libtorch gave an output of another shape than the transformer has.
    #[error("{what} has {found} numbers, which are not rows of {width}")]
    Output {
        /// The output.
        what: String,
        /// Numbers there are.
        found: usize,
        /// Width of a row.
        width: usize,
    },
}
