use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, ArrayView2};
use rareclip_core::bank::saturating_bytes;
use rareclip_core::index::{Hit, IndexError};
use rareclip_core::{BoxError, Neighbours, Survey, VectorIndex, VectorIndexFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every pair, one product after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IndexOptions {}

#[typetag::serde(name = "testkit")]
impl VectorIndexFactory for IndexOptions {
    fn capacity_bytes(&self, width: usize, vectors: usize) -> Option<u64> {
        Some(saturating_bytes([vectors, width, size_of::<f32>()]))
    }

    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        IndexError::shape(width, capacity)?;
        let data = Vec::new();
        Ok(Box::new(StandIn { width, data }))
    }
}

struct StandIn {
    width: usize,
    data: Vec<f32>,
}

/// The inner product.
fn dot<'a>(a: impl IntoIterator<Item = &'a f32>, b: &[f32]) -> f32 {
    a.into_iter().zip(b).map(|(a, b)| a * b).sum()
}

impl StandIn {
    fn row(&self, at: usize) -> &[f32] {
        &self.data[at * self.width..(at + 1) * self.width]
    }

    /// Those `among` the vectors.
    fn hits<'a>(
        &self,
        query: impl IntoIterator<Item = &'a f32> + Copy,
        among: Range<usize>,
    ) -> Vec<Hit> {
        let hit = |at| Hit {
            position: at as u32,
            similarity: dot(query, self.row(at)),
        };
        among.map(hit).collect()
    }
}

impl VectorIndex for StandIn {
    fn exact(&self) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.data.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.data)
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.width)?;
        IndexError::count(self.len() + rows.nrows())?;
        self.data.extend(rows.iter());
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        let kept = positions.iter().flat_map(|&at| self.row(at));
        self.data = kept.copied().collect();
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        self.search_first(queries, k, self.len())
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        let neighbours = self.search(queries, k)?;
        let best = |at: usize| {
            let rows = queries.rows().into_iter();
            let products = rows.map(|query| dot(query, self.row(at)));
            products.fold(f32::NEG_INFINITY, f32::max)
        };
        Ok(Survey {
            neighbours,
            best_query: (0..self.len()).map(best).collect::<Array1<f32>>(),
        })
    }

    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::width(queries.ncols(), self.width)?;
        IndexError::first(first, self.len())?;
        let rows = queries.rows().into_iter();
        let found = rows.map(|query| self.hits(query, 0..first));
        Ok(Neighbours::best(k.min(first), found))
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        let rows = positions.iter();
        let found = rows.map(|&at| self.hits(self.row(at), floor..at));
        Ok(Neighbours::best(k, found))
    }

    fn vectors(&self) -> Result<Cow<'_, [f32]>, BoxError> {
        Ok(Cow::Borrowed(&self.data))
    }
}
