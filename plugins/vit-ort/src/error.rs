//! The error of this crate.

use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a config and a session, or in one run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be found or read.
    #[error(transparent)]
    Model(#[from] rareclip_models::Error),
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
    /// The onnxruntime library was not found or could not be loaded.
    #[error(
        "onnxruntime was not found. Tried:\n{tried}\nGet it with `rareclip models pull onnxruntime`, or name the library in `onnxruntime = \"…\"` or RARECLIP_ORT_DYLIB"
    )]
    NoRuntime {
        /// What was tried and what came of it, a line each.
        tried: String,
    },
    /// onnxruntime refused something.
    #[error("onnxruntime: {what}: {source}")]
    Runtime {
        /// What was being done.
        what: String,
        /// What it said.
        source: ort::Error,
    },
    /// The images have another shape than declared.
    #[error("images have shape {found:?}, expected [batch, 3, {side}, {side}]")]
    Images {
        /// Their shape.
        found: Vec<usize>,
        /// The declared side.
        side: usize,
    },
    /// An output of an ONNX file cannot be used as tokens.
    #[error("{path}: output `{output}`: {detail}", path = .path.display())]
    Output {
        /// The ONNX file.
        path: PathBuf,
        /// The output.
        output: String,
        /// Why not.
        detail: String,
    },
    /// The processor or onnxruntime cannot compute in the precision asked for.
    #[error(
        "precision \"{precision}\" {reason}; \"f32\" runs everywhere, \"int8\" is the fast one"
    )]
    Precision {
        /// The precision, as in the config.
        precision: &'static str,
        /// What is missing.
        reason: String,
    },
    /// An option has a value that makes no sense.
    #[error("option `{key}`: {detail}")]
    Option {
        /// The option.
        key: String,
        /// What is wrong and what to do.
        detail: String,
    },
}

/// For `map_err`: an error of onnxruntime with what was being done.
pub(crate) fn runtime<E>(what: &str) -> impl FnOnce(ort::Error<E>) -> Error {
    let what = what.to_owned();
    move |error| {
        let source = ort::Error::new(error.message().to_owned());
        Error::Runtime { what, source }
    }
}
