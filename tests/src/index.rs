use ndarray::{Array1, ArrayView2, CowArray, Ix2};
use rareclip_core::index::{Hit, IndexError};
use rareclip_core::{BoxError, Neighbours, Survey, VectorIndex, VectorIndexFactory, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every pair, one product after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BruteForceOptions {
    /// Searches overlook every so manieth vector, as an approximate index would; 0 for none.
    /// Default 0.
    #[schemars(range(min = 0))]
    pub overlook: usize,
}

#[typetag::serde(name = "brute-force")]
impl VectorIndexFactory for BruteForceOptions {
    fn build(&self, width: usize, _capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        Ok(Box::new(BruteForce {
            overlook: self.overlook,
            width,
            data: Vec::new(),
        }))
    }
}

struct BruteForce {
    overlook: usize,
    width: usize,
    data: Vec<f32>,
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl BruteForce {
    fn row(&self, at: usize) -> &[f32] {
        &self.data[at * self.width..(at + 1) * self.width]
    }

    /// Those of `candidates` that are not overlooked.
    fn hits(&self, query: &[f32], candidates: std::ops::Range<usize>) -> Vec<Hit> {
        let seen = candidates.filter(|at| self.overlook == 0 || at % self.overlook != 0);
        let hit = |at| Hit {
            position: at as u32,
            similarity: dot(query, self.row(at)),
        };
        seen.map(hit).collect()
    }
}

impl VectorIndex for BruteForce {
    fn exact(&self) -> bool {
        self.overlook == 0
    }

    fn len(&self) -> usize {
        self.data.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        self.data.len() * 4
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.width)?;
        self.data.extend(rows.iter());
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        self.data = positions
            .iter()
            .flat_map(|at| self.row(*at).to_vec())
            .collect();
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
        IndexError::width(queries.ncols(), self.width)?;
        IndexError::first(first, self.len())?;
        let rows = queries.rows().into_iter();
        let found = rows.map(|query| self.hits(&query.to_vec(), 0..first));
        Ok(Neighbours::best(k.min(first), found))
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        let best_query = (0..self.len()).map(|at| {
            let rows = queries.rows();
            let similarities = rows
                .into_iter()
                .map(|query| dot(&query.to_vec(), self.row(at)));
            similarities.fold(f32::NEG_INFINITY, f32::max)
        });
        Ok(Survey {
            neighbours: self.search(queries, k)?,
            best_query: Array1::from_iter(best_query),
        })
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        let found = positions.iter();
        let found = found.map(|&at| self.hits(self.row(at), floor..at));
        Ok(Neighbours::best(k, found))
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        let shape = (self.data.len() / self.width, self.width);
        Ok(ArrayView2::from_shape(shape, &self.data)?.into())
    }
}
