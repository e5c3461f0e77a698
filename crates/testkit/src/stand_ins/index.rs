use ndarray::{ArrayView1, ArrayView2, Axis, CowArray, Ix2};
use rareclip_core::bank::saturating_bytes;
use rareclip_core::index::{Hit, IndexError};
use rareclip_core::{BoxError, Neighbours, VectorIndex, VectorIndexFactory, typetag};
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

/// The required methods alone, so that the promises hold of the defaults of the others.
impl VectorIndex for StandIn {
    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.width)?;
        IndexError::count(self.len() + rows.nrows())?;
        self.data.extend(rows.iter());
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        let vectors = self.vectors()?.select(Axis(0), positions);
        self.data = vectors.iter().copied().collect();
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        IndexError::width(queries.ncols(), self.width)?;
        let hits = |query: ArrayView1<'_, f32>| {
            let vectors = self.data.chunks_exact(self.width).zip(0..);
            let hit = |(vector, position)| Hit {
                position,
                similarity: dot(query, vector),
            };
            vectors.map(hit).collect()
        };
        let found = queries.rows().into_iter().map(hits);
        Ok(Neighbours::best(k.min(self.len()), found))
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        let shape = (self.data.len() / self.width, self.width);
        Ok(ArrayView2::from_shape(shape, &self.data)?.into())
    }
}
