//! The error of this crate.

use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a config and a prior.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be found.
    #[error(transparent)]
    Model(#[from] rareclip_artifacts::Error),
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] rareclip_checkpoints::Error),
    /// The checkpoint holds no text tower.
    #[error("{path}: no CLIP text tower: looked for {looked_for}; give a checkpoint with both towers, in OpenCLIP's or Hugging Face's names", path = .path.display())]
    NoTextTower {
        /// The checkpoint.
        path: PathBuf,
        /// The tensors that tell the layouts.
        looked_for: String,
    },
    /// The checkpoint has no projection for patches.
    #[error("{path}: no projection of image tokens: {source}; set `block = 0` to give patches the probability of their image", path = .path.display())]
    NoProjection {
        /// The checkpoint.
        path: PathBuf,
        /// What is missing.
        source: rareclip_checkpoints::Error,
    },
    /// The width does not divide into the heads.
    #[error(
        "text width {width} does not divide into {heads} heads; set `text.heads`, or put the model's config.json beside the checkpoint"
    )]
    Heads {
        /// Token width.
        width: usize,
        /// Number of heads.
        heads: usize,
    },
    /// A sentence has more tokens than the tower has positions, or a token that it does not know.
    #[error(
        "a text of {tokens} tokens with highest id {highest} does not fit a text tower of {context} positions and {vocabulary} ids; the checkpoint belongs to another tokenizer"
    )]
    Tokens {
        /// Tokens of the text.
        tokens: usize,
        /// Its highest id.
        highest: u32,
        /// Positions of the tower.
        context: usize,
        /// Ids of the tower.
        vocabulary: usize,
    },
    /// Text and image side belong to different models.
    #[error(
        "the backbone gives embeddings of width {backbone}, the text tower of {model} gives {text}; `model` must be the checkpoint of the backbone"
    )]
    Width {
        /// Width of the image embedding.
        backbone: usize,
        /// Width of the text embedding.
        text: usize,
        /// The `model` option.
        model: String,
    },
    /// The backbone does not give a block that is read.
    #[error("block {block} is read, the backbone gives {available:?}; check `blocks`")]
    Block {
        /// The block, 1-based.
        block: usize,
        /// What the backbone gives.
        available: Vec<usize>,
    },
    /// The backbone does not give windows that are read.
    #[error(
        "windows of side {side} are read, the backbone gives {available:?}; add `windows` to the [backbone] table"
    )]
    Windows {
        /// Side in patches.
        side: usize,
        /// What the backbone gives.
        available: Vec<usize>,
    },
    /// The scorer has nothing to work with.
    #[error("the `prior` scorer needs a prior: add a [prompt] table, e.g. type = \"tpb\"")]
    NoPrior,
    /// The weights have another number of layers than blocks are read.
    #[error(
        "{path}: {layers} linear layers (fc.0, fc.1, ...) for {blocks} blocks; `blocks` must list one per layer, in their order", path = .path.display()
    )]
    Layers {
        /// The file.
        path: PathBuf,
        /// Layers in it.
        layers: usize,
        /// Blocks in the options.
        blocks: usize,
    },
    /// Learned directions are asked for, and the weights have none.
    #[error("{path}: no tensor `directions`: these layers were trained for text; set `directions = \"text\"`, or train with learned directions", path = .path.display())]
    NoDirections {
        /// The file.
        path: PathBuf,
    },
    /// An array of the features has another shape than declared.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// Numbers that are NaN or infinite.
    #[error("{what} holds NaN or infinite numbers; {advice}")]
    NonFinite {
        /// Where.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// An option has a value that makes no sense.
    #[error("option `{key}`: {detail}")]
    Option {
        /// The option.
        key: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
}

impl Error {
    pub(crate) fn option(key: &'static str, detail: impl Into<String>) -> Self {
        Self::Option {
            key,
            detail: detail.into(),
        }
    }
}
