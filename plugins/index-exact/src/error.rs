//! The error of this crate.

/// What can be wrong with a request to the index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExactError {
    /// Vectors of no width have no similarities.
    #[error(
        "an index needs vectors of at least one number; check the block widths of the backbone"
    )]
    ZeroWidth,
    /// The vectors are wider or narrower than those of the index.
    #[error(
        "vectors have width {found}, the index holds width {expected}; were they made by another backbone?"
    )]
    Width {
        /// Width of the vectors given.
        found: usize,
        /// Width of the vectors held.
        expected: usize,
    },
    /// A position is not one of the index.
    #[error("position {position} is out of range: the index holds {len} vectors")]
    Position {
        /// The position.
        position: usize,
        /// Vectors held.
        len: usize,
    },
    /// Positions to keep are not in ascending order.
    #[error("positions to keep must ascend, but {next} follows {previous}")]
    NotAscending {
        /// A position.
        previous: usize,
        /// The one after it.
        next: usize,
    },
    /// Positions are stored in 32 bits.
    #[error("{vectors} vectors are more than an index can number; lower the bank's capacity")]
    TooMany {
        /// Vectors there would be.
        vectors: usize,
    },
}
