//! What every component refuses, in the same words.

use crate::grid::Grid;

/// An error of a plugin, carried as it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What is wrong with what a component was given: options, features, known normals, or what another
/// slot should have said.
///
/// A component returns it as it is, or as a variant of an error of its own beside what only its
/// method can say. Every message ends with what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
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
    SideTooLong(#[from] SideTooLong),
    /// The backbone does not give a block.
    #[error(
        "block {block} was asked for, the backbone gave {available:?}; check the `blocks` lists of the config"
    )]
    Block {
        /// The block asked for, 1-based.
        block: usize,
        /// The blocks at hand.
        available: Vec<usize>,
    },
    /// An array has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The array.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// A number is NaN or infinite.
    #[error("{what} holds NaN or infinite values; the image was left out")]
    NonFinite {
        /// What holds it.
        what: String,
    },
    /// A scorer works on the evidence of a bank, and there is none.
    #[error("the scorer needs the evidence of a bank: add a [bank] table to the config")]
    NoEvidence,
    /// A scorer works on a prior, and there is none.
    #[error("the scorer needs a prior: add a [prompt] table to the config, e.g. type = \"tpb\"")]
    NoPrior,
    /// A bank was asked before its training pass had ended.
    #[error("the bank has not learnt yet: show known normals and end the training pass")]
    NotFitted,
    /// The training pass went on, or was ended again, after its end.
    #[error("the training pass has ended; start a new stream to learn from other normals")]
    AlreadyFitted,
    /// The known normals hold less than the method or its options ask for.
    #[error("the known normals hold {found} {what}, {needed} are needed; show more{remedy}")]
    TooFewNormals {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
        /// What else helps, as the end of a sentence: `, or lower \`share\``.
        remedy: &'static str,
    },
    /// More known normals than the memory is made for.
    #[error("more than {most} known normals; show fewer or raise `{option}`")]
    TooManyNormals {
        /// The most there may be.
        most: usize,
        /// The option that says so.
        option: &'static str,
    },
    /// A known normal came after images that were scored.
    #[error("known normals must be shown before any other image; start a new stream")]
    LateNormal,
    /// There is not enough memory for what a component may hold.
    #[error("no memory for {what}: {bytes} bytes; lower {options}, or free memory")]
    Memory {
        /// What the memory is for.
        what: &'static str,
        /// The bytes asked for; `u64::MAX` for more than can be counted.
        bytes: u64,
        /// The options that decide it.
        options: &'static str,
    },
}

impl ComponentError {
    /// An array of another shape than it should have.
    pub fn shape(what: impl Into<String>, found: &[usize], expected: &[usize]) -> Self {
        Self::Shape {
            what: what.into(),
            found: found.to_vec(),
            expected: format!("{expected:?}"),
        }
    }

    /// A number that is NaN or infinite.
    pub fn non_finite(what: impl Into<String>) -> Self {
        Self::NonFinite { what: what.into() }
    }

    /// Whether an option has a value that can be worked with.
    ///
    /// # Errors
    /// [`Option`](Self::Option) unless it `fits`.
    pub fn require(
        fits: bool,
        option: &'static str,
        found: impl std::fmt::Debug,
        expected: &'static str,
    ) -> Result<(), Self> {
        match fits {
            true => Ok(()),
            false => Err(Self::Option {
                option,
                found: format!("{found:?}"),
                expected,
            }),
        }
    }

    /// The error of this kind in an error of a component, if it is one: as it is, or as the source
    /// of the component's own.
    pub fn of(error: &BoxError) -> Option<&Self> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// A side, in patches, that is too long for the grid of the backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "option `{option}` is {found}, but a grid of {} x {} patches allows at most {most}; choose a smaller side", .grid.rows, .grid.columns
)]
pub struct SideTooLong {
    /// The option.
    pub option: &'static str,
    /// The side given, in patches.
    pub found: usize,
    /// The longest allowed, in patches.
    pub most: usize,
    /// The grid of the backbone.
    pub grid: Grid,
}
