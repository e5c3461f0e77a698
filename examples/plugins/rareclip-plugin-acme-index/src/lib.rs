//! The rareclip index `acme-index`: every query against every vector.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, ArrayView2};
use rareclip_core::index::{Hit, IndexError};
use rareclip_core::patches::{dot, row_major};
use rareclip_core::{BoxError, Neighbours, Survey, VectorIndex, VectorIndexFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

rareclip_core::register!(index AcmeIndexOptions);

/// Exact search: every query against every vector, one inner product after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeIndexOptions {}

#[typetag::serde(name = "acme-index")]
impl VectorIndexFactory for AcmeIndexOptions {
    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        IndexError::shape(width, capacity)?;
        let vectors = Vec::new();
        Ok(Box::new(Pairs { width, vectors }))
    }
}

/// The vectors, one after the other.
struct Pairs {
    width: usize,
    vectors: Vec<f32>,
}

impl Pairs {
    /// The rows one after the other, if they have the width of the vectors.
    fn rows<'a>(&self, rows: &'a ArrayView2<'_, f32>) -> Result<Cow<'a, [f32]>, BoxError> {
        IndexError::width(rows.ncols(), self.width)?;
        Ok(row_major(rows))
    }

    fn vector(&self, at: usize) -> &[f32] {
        &self.vectors[at * self.width..][..self.width]
    }

    /// The vectors in `range` with their inner products.
    fn hits(&self, query: &[f32], range: Range<usize>) -> Vec<Hit> {
        let hit = |at| Hit {
            position: at as u32,
            similarity: dot(query, self.vector(at)),
        };
        range.map(hit).collect()
    }
}

impl VectorIndex for Pairs {
    fn exact(&self) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.vectors.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        self.vectors.len() * size_of::<f32>()
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::count(self.len() + rows.nrows())?;
        self.vectors.extend_from_slice(&self.rows(&rows)?);
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        let stay = positions.iter().flat_map(|&at| self.vector(at));
        self.vectors = stay.copied().collect();
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        self.search_first(queries, k, self.len())
    }

    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError> {
        let rows = self.rows(&queries)?;
        IndexError::first(first, self.len())?;
        let rows = rows.chunks_exact(self.width);
        let found = rows.map(|query| self.hits(query, 0..first));
        Ok(Neighbours::best(k.min(first), found))
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        let rows = self.rows(&queries)?;
        let best = |at: usize| {
            let queries = rows.chunks_exact(self.width);
            let products = queries.map(|query| dot(query, self.vector(at)));
            products.fold(f32::NEG_INFINITY, f32::max)
        };
        Ok(Survey {
            neighbours: self.search(queries, k)?,
            best_query: (0..self.len()).map(best).collect::<Array1<f32>>(),
        })
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        let rows = positions.iter();
        let found = rows.map(|&at| self.hits(self.vector(at), floor..at));
        Ok(Neighbours::best(k, found))
    }

    fn vectors(&self) -> Result<Cow<'_, [f32]>, BoxError> {
        Ok(Cow::Borrowed(&self.vectors))
    }
}
