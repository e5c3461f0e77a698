//! The error of this crate.

/// What can be wrong with the options or an image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The cells do not fill the image.
    #[error("`image_size` {image_size} is not a multiple of `cell` {cell}, both at least 1")]
    Cells {
        /// Side of the image in pixels.
        image_size: usize,
        /// Side of a cell in pixels.
        cell: usize,
    },
    /// A thumbnail has one block.
    #[error("block {0} is asked for, the backbone `thumbnail` has block 1 alone; change `blocks`")]
    NoSuchBlock(usize),
    /// The scorer reads colours, which other backbones do not give.
    #[error(
        "the scorer `statistic` reads the colours of the backbone `thumbnail`: set [backbone] type = \"thumbnail\""
    )]
    NotAThumbnail,
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
    /// The size of the image's file is not known.
    #[error(
        "the size of the image's file is not known here, so `statistic = \"file-size\"` cannot score it: give the image as a file, or choose another statistic"
    )]
    UnknownFileSize,
    /// A value that should be finite is not.
    #[error("{0} holds NaN or infinite values; the image was not scored")]
    NonFinite(&'static str),
}
