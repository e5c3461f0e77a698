//! The contract of a [`VectorIndex`], as one call: [`check`] runs all of it on the indexes that a
//! factory builds.
//!
//! An index that says it is exact is held to brute force: on vectors of small whole numbers, whose
//! inner products are exact and often equal, to the last neighbour; on others closely. One that
//! says it is approximate is held to everything but completeness, for which there is [`recall`].

mod checks;
mod data;
mod life;
mod promise;
mod promises;
mod searches;

use ndarray::ArrayView2;
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::{BoxError, VectorIndex};

use crate::broken::kept;

pub use crate::broken::Broken;
pub use data::patches;

/// Holds the indexes of `factory` to the whole contract.
///
/// # Errors
/// The first promise that is broken; a panic breaks the promise under which it happened.
pub fn examine(factory: &dyn VectorIndexFactory) -> Result<(), Broken> {
    promises::ALL
        .iter()
        .chain(searches::ALL)
        .chain(life::ALL)
        .try_for_each(|promise| kept("index", promise.says, || (promise.holds)(factory)))
}

/// [`examine`] for a test.
///
/// # Panics
/// When a promise is broken, with the promise.
pub fn check(factory: &dyn VectorIndexFactory) {
    if let Err(broken) = examine(factory) {
        panic!("{broken} ({factory:?})");
    }
}

/// The share of the `k` best of `vectors` `[n, width]` that the index finds, over all `queries`
/// `[m, width]`: 1 misses none.
///
/// # Errors
/// What the index says.
pub fn recall(
    factory: &dyn VectorIndexFactory,
    vectors: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    k: usize,
) -> Result<f64, BoxError> {
    let mut index = factory.build(vectors.ncols(), vectors.nrows())?;
    index.append(vectors)?;
    recall_of(&*index, queries, k)
}

/// [`recall`] of an index that is there.
///
/// # Errors
/// What the index says.
pub fn recall_of(
    index: &dyn VectorIndex,
    queries: ArrayView2<'_, f32>,
    k: usize,
) -> Result<f64, BoxError> {
    Ok(Recall::measure(index, queries, k)?.share())
}
