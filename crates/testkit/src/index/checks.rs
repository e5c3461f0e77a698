//! Checks that several promises share.

use ndarray::Array2;
use rareclip_core::BoxError;

use crate::broken::Held;

/// Whether the index holds exactly these vectors.
pub(super) fn same_vectors(index: &dyn rareclip_core::VectorIndex, expected: &Array2<f32>) -> Held {
    if index.len() != expected.nrows() {
        return Err(format!(
            "it holds {} vectors, not {}",
            index.len(),
            expected.nrows()
        ));
    }
    let found = index.vectors().map_err(told("vectors"))?;
    if found.iter().eq(expected.iter()) {
        return Ok(());
    }
    if found.dim() != expected.dim() {
        let (found, expected) = (found.dim(), expected.dim());
        return Err(format!(
            "its vectors have shape {found:?}, not {expected:?}"
        ));
    }
    let first = (0..expected.nrows()).find(|&row| found.row(row) != expected.row(row));
    Err(format!(
        "the vector at {} is another",
        first.unwrap_or_default()
    ))
}

/// For `map_err`: the error of a step that must succeed.
pub(super) fn told(step: &'static str) -> impl Fn(BoxError) -> String {
    move |error| format!("{step} fails: {error}")
}
