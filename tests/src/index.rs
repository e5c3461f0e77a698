use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView2};
use rareclip_core::index::{IndexError, NONE};
use rareclip_core::{BoxError, Neighbours, Survey, VectorIndex, VectorIndexFactory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every pair, one product after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BruteForceOptions {
    /// Searches overlook every so manieth vector, as an approximate index would; 0 for none. Default 0.
    #[schemars(range(min = 0))]
    pub overlook: usize,
}

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

    /// The `k` best of `candidates`, filled up with nothing.
    fn best(&self, query: &[f32], candidates: std::ops::Range<usize>, k: usize) -> Vec<(f32, u32)> {
        let mut all: Vec<(f32, u32)> = candidates
            .filter(|at| self.overlook == 0 || at % self.overlook != 0)
            .map(|at| (dot(query, self.row(at)), u32::try_from(at).unwrap_or(NONE)))
            .collect();
        all.retain(|hit| !hit.0.is_nan());
        // The two zeros are one number.
        all.sort_by(|a, b| (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(a.1.cmp(&b.1)));
        all.resize(k.max(all.len()), (f32::NEG_INFINITY, NONE));
        all.truncate(k);
        all
    }
}

fn collect(k: usize, rows: impl Iterator<Item = Vec<(f32, u32)>>) -> Result<Neighbours, BoxError> {
    let rows: Vec<_> = rows.collect();
    let flat: Vec<(f32, u32)> = rows.concat();
    Ok(Neighbours {
        similarity: Array2::from_shape_vec(
            (rows.len(), k),
            flat.iter().map(|hit| hit.0).collect(),
        )?,
        position: Array2::from_shape_vec((rows.len(), k), flat.iter().map(|hit| hit.1).collect())?,
    })
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
        let k = k.min(first);
        let rows = queries.rows();
        collect(
            k,
            rows.into_iter()
                .map(|query| self.best(&query.to_vec(), 0..first, k)),
        )
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
        collect(
            k,
            positions
                .iter()
                .map(|at| self.best(self.row(*at), floor..*at, k)),
        )
    }

    fn vectors(&self) -> Result<Cow<'_, [f32]>, BoxError> {
        Ok(Cow::Borrowed(&self.data))
    }
}
