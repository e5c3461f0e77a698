//! The rareclip index `acme-index`: every query against every vector.

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
use rareclip_core::index::{Hit, IndexError};
use rareclip_core::{BoxError, Neighbours, VectorIndex, VectorIndexFactory, typetag};
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
        Ok(Box::new(Pairs(Array2::zeros((0, width)))))
    }
}

/// The vectors `[len, width]`.
struct Pairs(Array2<f32>);

impl VectorIndex for Pairs {
    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.0.ncols())?;
        IndexError::count(self.0.nrows() + rows.nrows())?;
        Ok(self.0.append(Axis(0), rows)?)
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.0.nrows())?;
        self.0 = self.0.select(Axis(0), positions);
        Ok(())
    }

    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError> {
        IndexError::width(queries.ncols(), self.0.ncols())?;
        let hits = |query| {
            let products = (0..).zip(self.0.dot(&query));
            let hit = |(position, similarity)| Hit {
                position,
                similarity,
            };
            products.map(hit).collect()
        };
        let found = queries.rows().into_iter().map(hits);
        Ok(Neighbours::best(k.min(self.0.nrows()), found))
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        Ok(self.0.view().into())
    }
}
