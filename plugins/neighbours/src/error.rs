//! The error of this crate.

use rareclip_core::ComponentError;

/// What can be wrong with the options, an image, the known normals or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NeighbourError {
    /// The backbone does not give the windows that are read.
    #[error(
        "windows of side {side} are read, the backbone gives {available:?}; add `windows` to the [backbone] table"
    )]
    Windows {
        /// Side in patches.
        side: usize,
        /// What the backbone gives.
        available: Vec<usize>,
    },
    /// What any component refuses.
    #[error("{0}")]
    Given(#[from] ComponentError),
}

/// More known normals than the option `max_normals` allows.
pub(crate) fn too_many_normals(max_normals: usize) -> ComponentError {
    ComponentError::TooManyNormals {
        most: max_normals,
        option: "max_normals",
    }
}
