//! The error of this crate.

use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a checkpoint, with what is asked of it, or with images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be found.
    #[error(transparent)]
    Model(#[from] rareclip_artifacts::Error),
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] rareclip_checkpoints::Error),
    /// The checkpoint is of no known family.
    #[error("{path}: no vision transformer known here: looked for {looked_for}; supported are DINOv2 (Hugging Face or Meta names) and CLIP vision towers (Hugging Face or OpenCLIP names)", path = .path.display())]
    UnknownFamily {
        /// The checkpoint.
        path: PathBuf,
        /// The tensors that tell the families.
        looked_for: String,
    },
    /// The checkpoint belongs to a variant that is not built here.
    #[error("{path}: {what} is not supported", path = .path.display())]
    Unsupported {
        /// The checkpoint.
        path: PathBuf,
        /// The variant.
        what: String,
    },
    /// The width does not divide into the heads.
    #[error(
        "width {width} does not divide into {heads} heads; set `heads`, or put the model's config.json beside the checkpoint"
    )]
    Heads {
        /// Token width.
        width: usize,
        /// Number of heads.
        heads: usize,
    },
    /// The image size does not divide into patches.
    #[error(
        "image_size {size} is not a multiple of the patch size {patch}; the nearest are {below} and {above}"
    )]
    ImageSize {
        /// The size asked for.
        size: usize,
        /// The patch size.
        patch: usize,
        /// The nearest multiple below.
        below: usize,
        /// The nearest multiple above.
        above: usize,
    },
    /// A window does not fit into the image.
    #[error(
        "a window of {window} patches was asked for, the image has {grid} x {grid}; change `windows` or `image_size`"
    )]
    Window {
        /// Side of the window in patches.
        window: usize,
        /// Side of the grid in patches.
        grid: usize,
    },
    /// A block was asked for that the model does not have.
    #[error("block {block} was asked for, the model has blocks 1 to {blocks}")]
    NoSuchBlock {
        /// The block, 1-based.
        block: usize,
        /// Number of blocks.
        blocks: usize,
    },
    /// The images have another shape than declared.
    #[error("images have shape {found:?}, expected [batch, 3, {side}, {side}]")]
    Images {
        /// Their shape.
        found: Vec<usize>,
        /// The declared side.
        side: usize,
    },
}
