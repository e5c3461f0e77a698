//! The error of this crate.

/// What can be wrong with the options, an image or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
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
    /// There is not enough memory for the statistics.
    #[error("no memory for the statistics: {bytes} bytes; lower `dimensions`, or free memory")]
    Memory {
        /// The bytes asked for; `u64::MAX` for more than can be counted.
        bytes: u64,
    },
    /// The backbone does not give a block.
    #[error("block {block} is asked for, the backbone gives {available:?}; change `blocks`")]
    Block {
        /// The block asked for, 1-based.
        block: usize,
        /// The blocks of the backbone.
        available: Vec<usize>,
    },
    /// Blocks that are to be averaged differ in width.
    #[error("blocks of widths {widths:?} cannot be averaged; choose `blocks` of one width")]
    Widths {
        /// The widths, in the order of `blocks`.
        widths: Vec<usize>,
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
    /// A spread cannot be told from so few.
    #[error(
        "{found} known normals are too few for a covariance, {needed} are the least; show more"
    )]
    TooFewNormals {
        /// Known normals shown.
        found: u64,
        /// How many it takes.
        needed: u64,
    },
    /// An image was compared before the training pass had ended.
    #[error(
        "the training pass has not ended: show known normals and end it before the first image to be scored"
    )]
    NotFitted,
    /// The training pass went on, or was ended again, after its end.
    #[error("the training pass has ended; start a new stream to learn from other normals")]
    AlreadyFitted,
    /// The spread of the normals cannot be factored.
    #[error(
        "the covariance of the known normals cannot be factored; look for broken images among them, or raise `regularisation`"
    )]
    Covariance,
    /// A value that should be finite is not.
    #[error("{0} holds NaN or infinite values; the image was not absorbed")]
    NonFinite(&'static str),
}
