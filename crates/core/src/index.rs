//! The small fifth slot: how a bank searches its vectors.

use std::fmt::Debug;

use ndarray::{Array1, Array2, ArrayView2};

use crate::BoxError;

/// The most similar vectors of each query, best first; ties go to the vector that arrived earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Inner products `[queries, k]`.
    pub similarity: Array2<f32>,
    /// Positions in the index `[queries, k]`, in arrival order from 0.
    pub position: Array2<u32>,
}

/// A search in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The best vectors of each query.
    pub neighbours: Neighbours,
    /// For each vector of the index its largest inner product with any query, `[len]`.
    pub best_query: Array1<f32>,
}

/// Vectors in arrival order, searched by inner product.
///
/// Exact indexes agree with brute force to the last neighbour; approximate ones say so by [`exact`](Self::exact).
pub trait VectorIndex: Send + Sync {
    /// Whether searches are exact.
    fn exact(&self) -> bool;

    /// Number of vectors.
    fn len(&self) -> usize;

    /// Whether there is no vector yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Width of a vector.
    fn width(&self) -> usize;

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// Adds `rows` `[n, width]` after the present ones.
    ///
    /// # Errors
    /// When the width differs or the engine fails.
    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError>;

    /// Keeps only the vectors at `positions` (ascending), which close ranks.
    ///
    /// # Errors
    /// When a position is out of range or not ascending.
    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError>;

    /// The `k` best vectors of each query `[queries, width]` (fewer where the index holds fewer).
    ///
    /// # Errors
    /// When the width differs or the engine fails.
    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError>;

    /// [`search`](Self::search) and the best query of every vector, in one pass.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError>;

    /// [`search`](Self::search) among the `first` earliest vectors alone.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and when there are fewer than `first` vectors.
    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError>;

    /// For each of `positions` its `k` most similar vectors among those at `floor..position`.
    /// Where there are fewer than `k`, the rest is similarity `-inf` and position `u32::MAX`.
    ///
    /// # Errors
    /// When a position is out of range or the engine fails.
    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError>;

    /// All vectors `[len, width]` in arrival order.
    ///
    /// # Errors
    /// When the engine cannot give its vectors back.
    fn vectors(&self) -> Result<std::borrow::Cow<'_, [f32]>, BoxError>;
}

/// Builds a [`VectorIndex`] from its options; implemented by the options struct of a plugin.
pub trait VectorIndexFactory: Debug + Send + Sync {
    /// Builds an empty index for vectors of `width`, expected to hold up to `capacity` of them.
    ///
    /// # Errors
    /// When the engine or device is not there.
    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError>;
}

/// The open set of index options, told apart by `type`.
#[typetag::serde(tag = "type")]
pub trait VectorIndexConfig: VectorIndexFactory {}
