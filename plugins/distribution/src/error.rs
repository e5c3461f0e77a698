//! The error of this crate.

use rareclip_core::ComponentError;

/// What can be wrong with the options, an image or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// Blocks that are to be averaged differ in width.
    #[error("blocks of widths {widths:?} cannot be averaged; choose `blocks` of one width")]
    Widths {
        /// The widths, in the order of `blocks`.
        widths: Vec<usize>,
    },
    /// The spread of the normals cannot be factored.
    #[error(
        "the covariance of the known normals cannot be factored; look for broken images among them, or raise `regularisation`"
    )]
    Covariance,
    /// What any component refuses.
    #[error("{0}")]
    Given(#[from] ComponentError),
}
