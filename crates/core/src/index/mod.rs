//! The small fifth slot: how a bank searches its vectors.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2};

use crate::BoxError;
use crate::snapshot::{SnapshotReader, SnapshotWriter};

mod default;
mod error;
mod position;
mod recall;

pub use default::named;
pub use error::IndexError;
pub use position::NONE;
pub use recall::Recall;

/// The most similar vectors of each query, best first; ties go to the vector that arrived earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Inner products `[queries, k]`.
    pub similarity: Array2<f32>,
    /// Positions in the index `[queries, k]`, in arrival order from 0.
    pub position: Array2<u32>,
}

impl Neighbours {
    /// A result `[queries, k]` with no entries yet: similarity `-inf` and position [`NONE`].
    pub fn empty(queries: usize, k: usize) -> Self {
        Self {
            similarity: Array2::from_elem((queries, k), f32::NEG_INFINITY),
            position: Array2::from_elem((queries, k), NONE),
        }
    }

    /// The `k` best of what was found for each query, in whatever order: where there are fewer,
    /// nothing; NaN is nobody's.
    pub fn best(k: usize, found: impl IntoIterator<Item = Vec<Hit>>) -> Self {
        let found: Vec<Vec<Hit>> = found.into_iter().collect();
        let mut all = Self::empty(found.len(), k);
        for (query, mut hits) in found.into_iter().enumerate() {
            hits.retain(|hit| !hit.similarity.is_nan());
            hits.sort_unstable_by(Hit::best_first);
            all.put(query, &hits);
        }
        all
    }

    /// Writes the vectors found for one query, best first; those beyond the `k`-th are left out.
    pub fn put(&mut self, query: usize, hits: &[Hit]) {
        for (place, hit) in hits.iter().take(self.position.ncols()).enumerate() {
            self.similarity[[query, place]] = hit.similarity;
            self.position[[query, place]] = hit.position;
        }
    }
}

/// A search in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The best vectors of each query.
    pub neighbours: Neighbours,
    /// For each vector of the index its largest inner product with any query, `[len]`.
    pub best_query: Array1<f32>,
}

/// One vector found for a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Position in the index, in arrival order from 0.
    pub position: u32,
    /// Inner product with the query.
    pub similarity: f32,
}

impl Hit {
    /// The order of neighbours: the larger similarity first, and of equals the vector that arrived
    /// earlier. The two zeros are equal.
    pub fn best_first(&self, other: &Self) -> Ordering {
        // Adding 0 makes -0 a 0.
        let by_similarity = (other.similarity + 0.0).total_cmp(&(self.similarity + 0.0));
        by_similarity.then(self.position.cmp(&other.position))
    }
}

/// Vectors in arrival order, searched by inner product.
///
/// Four methods are required: [`append`](Self::append), [`retain`](Self::retain),
/// [`search`](Self::search) and [`vectors`](Self::vectors). The others have a default that works on
/// the vectors, which an engine replaces where it is faster. Exact indexes agree with brute force
/// to the last neighbour; approximate ones say so by [`exact`](Self::exact).
pub trait VectorIndex: Send + Sync {
    /// Adds `rows` `[n, width]` after the present ones.
    ///
    /// # Errors
    /// When the width differs or the engine fails; nothing is added then.
    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError>;

    /// Keeps only the vectors at `positions` (ascending), which close ranks.
    ///
    /// # Errors
    /// When a position is out of range or not ascending; all are kept then.
    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError>;

    /// The `k` best vectors of each query `[queries, width]` (fewer where the index holds fewer).
    ///
    /// # Errors
    /// When the width differs or the engine fails.
    fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours, BoxError>;

    /// All vectors `[len, width]` in arrival order, the width also where there is none.
    ///
    /// # Errors
    /// When the engine cannot give its vectors back; [`len`](Self::len) and [`width`](Self::width)
    /// do not have their defaults then.
    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError>;

    /// Whether searches are exact.
    fn exact(&self) -> bool {
        true
    }

    /// Number of vectors.
    fn len(&self) -> usize {
        self.vectors().map_or(0, |vectors| vectors.nrows())
    }

    /// Whether there is no vector yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Width of a vector.
    fn width(&self) -> usize {
        self.vectors().map_or(0, |vectors| vectors.ncols())
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        self.len() * self.width() * size_of::<f32>()
    }

    /// The most that [`bytes`](Self::bytes) will be while an index that was built for `vectors`
    /// never holds more.
    fn capacity_bytes(&self, vectors: usize) -> usize {
        vectors
            .saturating_mul(self.width())
            .saturating_mul(size_of::<f32>())
    }

    /// [`search`](Self::search) and the best query of every vector, in one pass.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        let neighbours = self.search(queries, k)?;
        let mut best_query = Array1::from_elem(self.len(), f32::NEG_INFINITY);
        products(self, queries, &mut |row| {
            for (best, &similarity) in best_query.iter_mut().zip(row) {
                *best = best.max(similarity);
            }
        })?;
        Ok(Survey {
            neighbours,
            best_query,
        })
    }

    /// [`search`](Self::search) among the `first` earliest vectors alone.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and when there are fewer than `first` vectors.
    fn search_first(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        first: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::first(first, self.len())?;
        let mut found = Vec::with_capacity(queries.nrows());
        products(self, queries, &mut |row| found.push(hits(row, 0..first)))?;
        Ok(Neighbours::best(k.min(first), found))
    }

    /// For each of `positions` its `k` most similar vectors among those at `floor..position`.
    /// Where there are fewer than `k`, the rest is similarity `-inf` and position [`NONE`].
    ///
    /// # Errors
    /// When a position is out of range or the engine fails.
    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        let queries = self.vectors()?.select(Axis(0), positions);
        let mut ends = positions.iter();
        let mut found = Vec::with_capacity(positions.len());
        products(self, queries.view(), &mut |row| {
            let end = ends.next().copied().unwrap_or(floor);
            found.push(hits(row, floor.min(end)..end));
        })?;
        Ok(Neighbours::best(k, found))
    }

    /// [`search`](Self::search) that misses nothing, whatever [`exact`](Self::exact) says: what the
    /// recall of an approximate index is measured against.
    ///
    /// # Errors
    /// As for [`search`](Self::search) and [`vectors`](Self::vectors).
    fn search_exactly(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        if self.exact() {
            return self.search(queries, k);
        }
        let k = k.min(self.len());
        let mut found = Neighbours::empty(queries.nrows(), k);
        let mut at = 0;
        products(self, queries, &mut |row| {
            let best = best_first(row, |_| true);
            found.put(at, &best[..k.min(best.len())]);
            at += 1;
        })?;
        Ok(found)
    }

    /// For each query all vectors whose inner product with it is at least `least`, best first. None
    /// is missed, whatever [`exact`](Self::exact) says.
    ///
    /// # Errors
    /// As for [`search`](Self::search) and [`vectors`](Self::vectors).
    fn within(&self, queries: ArrayView2<'_, f32>, least: f32) -> Result<Vec<Vec<Hit>>, BoxError> {
        let mut found = Vec::with_capacity(queries.nrows());
        products(self, queries, &mut |row| {
            found.push(best_first(row, |similarity| similarity >= least));
        })?;
        Ok(found)
    }

    /// Writes the whole state under `name` and names that begin with it. An index that cannot give
    /// its state writes none; loading then says which entry is missing.
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        if let Ok(vectors) = self.vectors() {
            let shape = [vectors.nrows(), vectors.ncols()];
            let values: Vec<f32> = vectors.iter().copied().collect();
            writer.floats(name, &shape, values);
        }
    }

    /// Replaces the state by the one saved under `name`; going on equals never having stopped, to
    /// the bit.
    ///
    /// # Errors
    /// When an entry is missing, damaged or of another width. The index then holds what it held, or
    /// nothing.
    fn load(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        let rows = reader.matrix_of_width(name, self.width())?;
        self.retain(&[])?;
        self.append(rows.view())
    }
}

/// Queries multiplied with all vectors at a time.
const BLOCK: usize = 64;

/// Hands `row` the inner products of each query with every vector.
fn products<I: VectorIndex + ?Sized>(
    index: &I,
    queries: ArrayView2<'_, f32>,
    row: &mut dyn FnMut(&[f32]),
) -> Result<(), BoxError> {
    let vectors = index.vectors()?;
    IndexError::width(queries.ncols(), vectors.ncols())?;
    for queries in queries.axis_chunks_iter(Axis(0), BLOCK) {
        let products = queries.dot(&vectors.t()).as_standard_layout().into_owned();
        products
            .rows()
            .into_iter()
            .filter_map(|products| products.to_slice())
            .for_each(&mut *row);
    }
    Ok(())
}

/// The vectors in `range` of a row of inner products with every vector.
fn hits(row: &[f32], range: Range<usize>) -> Vec<Hit> {
    let products = row.iter().enumerate().take(range.end).skip(range.start);
    let hit = |(at, &similarity)| Hit {
        position: at as u32,
        similarity,
    };
    products.map(hit).collect()
}

/// The vectors whose inner product is `wanted`, best first; ties go to the earlier, NaN to nobody.
fn best_first(products: &[f32], wanted: impl Fn(f32) -> bool) -> Vec<Hit> {
    let hits = (0u32..).zip(products).map(|(position, &similarity)| Hit {
        position,
        similarity,
    });
    let mut hits: Vec<Hit> = hits
        .filter(|hit| !hit.similarity.is_nan() && wanted(hit.similarity))
        .collect();
    hits.sort_unstable_by(Hit::best_first);
    hits
}

/// Builds a [`VectorIndex`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait VectorIndexFactory: Debug + Send + Sync {
    /// The most bytes that an index of these options holds for up to `vectors` vectors of `width`
    /// numbers, as [`VectorIndex::capacity_bytes`] or more, computed without building one and
    /// without reserving memory. Use saturating arithmetic. `None` if it cannot be computed.
    fn capacity_bytes(&self, width: usize, vectors: usize) -> Option<u64> {
        let _ = (width, vectors);
        None
    }

    /// Builds an empty index for vectors of `width`, expected to hold up to `capacity` of them.
    ///
    /// # Errors
    /// When the engine or device is not there.
    fn build(&self, width: usize, capacity: usize) -> Result<Box<dyn VectorIndex>, BoxError>;
}
