//! The error of this crate.

use rareclip_core::bank::saturating_bytes;
use rareclip_core::patches::SideTooLong;

/// What can be wrong with the options, an image or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RarityError {
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
    /// The scorer needs what a bank says.
    #[error("the `rarity` scorer needs a bank: add a [bank] table, e.g. type = \"prototype\"")]
    NoEvidence,
    /// A detector either has a prior or it does not.
    #[error("this stream was {} a prior so far, this image is {}; start a new stream", with(*.before), with(!*.before))]
    PriorChanged {
        /// Whether the images before had one.
        before: bool,
    },
    /// The assessment was made by another component, or another image was absorbed since.
    #[error(
        "the assessment is not the latest of this {0}; absorb an image before the next is assessed"
    )]
    ForeignAssessment(&'static str),
    /// Known normals fill the whole bank, which never forgets them.
    #[error("{keep_images} known normals fill the bank; show fewer or raise `keep_images`")]
    TooManyNormals {
        /// Images the bank keeps.
        keep_images: usize,
    },
    /// A known normal came after images that were scored.
    #[error("known normals must be shown before any other image; start a new stream")]
    LateNormal,
    /// A side of a neighbourhood does not fit the grid.
    #[error(transparent)]
    SideTooLong(#[from] SideTooLong),
    /// There is not enough memory for what the bank may hold.
    #[error(
        "no memory for {what}: {bytes} bytes; lower `capacity` or `keep_images`, or free memory"
    )]
    Memory {
        /// What the memory is for.
        what: &'static str,
        /// The bytes asked for; `u64::MAX` for more than can be counted.
        bytes: u64,
    },
    /// A value that should be finite is not.
    #[error("{0} holds NaN or infinite values; the image was not absorbed")]
    NonFinite(&'static str),
}

fn with(prior: bool) -> &'static str {
    if prior { "with" } else { "without" }
}

/// An error unless all `values` are finite.
pub(crate) fn finite<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = &'a f32>,
) -> Result<(), RarityError> {
    if values.into_iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(RarityError::NonFinite(what))
}

/// An empty list with memory for the product of `factors` entries.
pub(crate) fn reserved<T>(what: &'static str, factors: &[usize]) -> Result<Vec<T>, RarityError> {
    let count = factors
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor));
    let mut list = Vec::new();
    match count.map(|count| list.try_reserve_exact(count)) {
        Some(Ok(())) => Ok(list),
        _ => Err(RarityError::Memory {
            what,
            bytes: saturating_bytes(factors.iter().copied().chain([size_of::<T>()])),
        }),
    }
}
