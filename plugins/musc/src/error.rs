//! The error of this crate.

/// What can be wrong with the options, a set of images or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MutualError {
    /// An option has a value that cannot be worked with.
    #[error("option `{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A side of a neighbourhood does not fit the grid.
    #[error(transparent)]
    SideTooLong(#[from] rareclip_core::patches::SideTooLong),
    /// The backbone does not give a block.
    #[error("block {block} is asked for, the backbone gives {available:?}; change `blocks`")]
    Block {
        /// The block asked for, 1-based.
        block: usize,
        /// The blocks of the backbone.
        available: Vec<usize>,
    },
    /// An array has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The array.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// An image has none to be compared with.
    #[error("{found} images cannot score each other: a set needs at least 2")]
    TooFewImages {
        /// Images of the set.
        found: usize,
    },
    /// One image was shown by itself.
    #[error(
        "the bank `mutual` compares the images of a whole set; score a batch instead of one image"
    )]
    NeedsBatch,
    /// The scorer needs what a bank says.
    #[error("the `mutual` scorer needs a bank: add a [bank] table, e.g. type = \"mutual\"")]
    NoEvidence,
    /// There are not as many scores as images.
    #[error("{scores} scores for {images} images")]
    Scores {
        /// Scores given.
        scores: usize,
        /// Images given.
        images: usize,
    },
    /// A value that should be finite is not.
    #[error("{0} holds NaN or infinite values")]
    NonFinite(&'static str),
}
