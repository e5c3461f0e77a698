//! The error of this crate.

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
    /// A side of a neighbourhood or window does not fit the grid.
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
    /// The bank was asked before it had learnt.
    #[error("the bank has not learnt yet: show known normals and end the training pass")]
    NotFitted,
    /// A known normal came after the training pass.
    #[error("the training pass has ended; start a new stream to learn from other normals")]
    Fitted,
    /// The known normals hold less than the options ask for.
    #[error(
        "the known normals hold {found} {what}, `{option}` asks for {needed}; show more or lower it"
    )]
    TooFewNormals {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The option that asks for more.
        option: &'static str,
        /// How many it asks for.
        needed: usize,
    },
    /// More known normals than the memory is made for.
    #[error("more than {max_normals} known normals; show fewer or raise `max_normals`")]
    TooManyNormals {
        /// The bound.
        max_normals: usize,
    },
    /// The scorer needs what a bank says.
    #[error(
        "the `nearest-neighbour` scorer needs a bank: add a [bank] table, e.g. type = \"patches\""
    )]
    NoEvidence,
    /// A value that should be finite is not.
    #[error("{0} holds NaN or infinite values; the image was left out")]
    NonFinite(&'static str),
}
