//! The error of this crate.

use rareclip_core::ComponentError;

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
    /// The scorer reads colours, which other backbones do not give.
    #[error(
        "the scorer `statistic` reads the colours of the backbone `thumbnail`: set [backbone] type = \"thumbnail\""
    )]
    NotAThumbnail,
    /// The size of the image's file is not known.
    #[error(
        "the size of the image's file is not known here, so `statistic = \"file-size\"` cannot score it: give the image as a file, or choose another statistic"
    )]
    UnknownFileSize,
    /// What any component refuses.
    #[error("{0}")]
    Given(#[from] ComponentError),
}
