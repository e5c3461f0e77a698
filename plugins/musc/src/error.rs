//! The error of this crate.

use rareclip_core::ComponentError;

/// What can be wrong with the options, a set of images or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MutualError {
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
    /// There are not as many scores as images.
    #[error("{scores} scores for {images} images")]
    Scores {
        /// Scores given.
        scores: usize,
        /// Images given.
        images: usize,
    },
    /// What any component refuses.
    #[error("{0}")]
    Given(#[from] ComponentError),
}
