//! The error of this crate.

use rareclip_core::ComponentError;
use rareclip_core::bank::saturating_bytes;

/// What can be wrong with the options, an image or an assessment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RarityError {
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
    /// What any component refuses.
    #[error("{0}")]
    Given(#[from] ComponentError),
}

fn with(prior: bool) -> &'static str {
    if prior { "with" } else { "without" }
}

/// An error unless all `values` are finite.
pub(crate) fn finite<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = &'a f32>,
) -> Result<(), ComponentError> {
    if values.into_iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(ComponentError::non_finite(what))
}

/// An empty list with memory for the product of `factors` entries.
pub(crate) fn reserved<T>(what: &'static str, factors: &[usize]) -> Result<Vec<T>, ComponentError> {
    let count = factors
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor));
    let mut list = Vec::new();
    match count.map(|count| list.try_reserve_exact(count)) {
        Some(Ok(())) => Ok(list),
        _ => Err(ComponentError::Memory {
            what,
            options: "`capacity` or `keep_images`",
            bytes: saturating_bytes(factors.iter().copied().chain([size_of::<T>()])),
        }),
    }
}
