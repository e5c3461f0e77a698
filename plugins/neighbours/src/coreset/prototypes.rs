//! The kept patches, searched by Euclidean distance.

use ndarray::{Array2, ArrayView2, Axis, s};
use rareclip_core::index::{NONE, Recall, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, VectorIndex};
use rayon::prelude::*;

use super::half::HalfRows;

/// Rows that enter the index at a time.
const BLOCK: usize = 1024;

/// The nearest prototypes of each query, nearest first.
pub(crate) struct Nearest {
    /// Euclidean distances `[queries, k]`.
    pub(crate) distance: Array2<f32>,
    /// Prototypes `[queries, k]`.
    pub(crate) position: Array2<u32>,
}

/// The kept patches.
///
/// The index searches by inner product. With two more coordinates it finds the least distance: of
/// p' = \[p, h, -|p|^2 / 2\] and q' = \[q, 0, 1\] the product is (|q|^2 - |p - q|^2) / 2. h makes
/// p' a unit vector, so that of two prototypes the product falls with their distance as well:
/// graphs and lists are built by it, and would be by length without h. Rows are taken from their
/// mean and scaled to [`RADIUS`] first, which leaves the order of distances as it is; and the
/// distance that is given comes from the vectors themselves, not from the product.
pub(crate) struct Prototypes {
    rows: HalfRows,
    width: usize,
    frame: Frame,
    index: Box<dyn VectorIndex>,
}

/// Where the rows lie and how large they are made.
struct Frame {
    /// Their mean `[width]`.
    centre: Vec<f32>,
    /// Makes the longest [`RADIUS`] long.
    scale: f32,
}

/// The length of the longest row in the index: far enough from 1 that h varies little, and from 0
/// that products differ.
const RADIUS: f32 = 0.5;
/// Coordinates beside those of the rows.
pub(super) const LIFT: usize = 2;

impl Prototypes {
    pub(crate) fn new(
        rows: HalfRows,
        width: usize,
        factory: &dyn VectorIndexFactory,
    ) -> Result<Self, BoxError> {
        let mut kept = Self {
            index: factory.build(width + LIFT, rows.len())?,
            frame: Frame::of(&rows, width),
            rows,
            width,
        };
        kept.fill()?;
        Ok(kept)
    }

    /// Gives all rows to the empty index.
    fn fill(&mut self) -> Result<(), BoxError> {
        let Self {
            rows,
            width,
            frame,
            index,
        } = self;
        let width = *width;
        let mut row = vec![0.0; width];
        for start in (0..rows.len()).step_by(BLOCK) {
            let end = rows.len().min(start + BLOCK);
            let mut block = Array2::zeros((end - start, width + LIFT));
            for (at, mut out) in (start..end).zip(block.rows_mut()) {
                rows.read(at, &mut row);
                let mut square = 0.0f64;
                for ((out, value), centre) in out.iter_mut().zip(&row).zip(&frame.centre) {
                    *out = frame.scale * (value - centre);
                    square += f64::from(*out) * f64::from(*out);
                }
                let fall = -0.5 * square;
                out[width] = (1.0 - square - fall * fall).sqrt() as f32;
                out[width + 1] = fall as f32;
            }
            index.append(block.view())?;
        }
        Ok(())
    }

    /// Writes the rows under `name`, and an approximate index besides: built anew it might find
    /// others.
    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        self.rows.save(writer, name);
        if !self.index.exact() {
            self.index.save(writer, &format!("{name}.index"));
        }
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(
        reader: &SnapshotReader<'_>,
        name: &str,
        width: usize,
        factory: &dyn VectorIndexFactory,
    ) -> Result<Self, BoxError> {
        let rows = HalfRows::load(reader, name, width)?;
        let mut kept = Self {
            index: factory.build(width + LIFT, rows.len())?,
            frame: Frame::of(&rows, width),
            rows,
            width,
        };
        if kept.index.exact() {
            kept.fill()?;
            return Ok(kept);
        }
        let name = format!("{name}.index");
        kept.index.load(reader, &name)?;
        let (found, expected) = (kept.index.len(), kept.len());
        if found == expected {
            return Ok(kept);
        }
        let problem = format!("holds {found} vectors, expected {expected}");
        Err(SnapshotError::Entry { name, problem }.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes() + self.index.bytes() + self.frame.centre.len() * size_of::<f32>()
    }

    /// Prototype `at` `[1, width]`.
    pub(crate) fn row(&self, at: usize) -> Array2<f32> {
        let mut row = vec![0.0; self.width];
        self.rows.read(at, &mut row);
        ndarray::Array1::from_vec(row).insert_axis(Axis(0))
    }

    /// What the index is asked for a query.
    fn lifted(&self, queries: ArrayView2<'_, f32>) -> Result<Array2<f32>, BoxError> {
        let mut lifted = Array2::zeros((queries.nrows(), self.width + LIFT));
        let centre = ArrayView2::from_shape((1, self.width), &self.frame.centre)?;
        lifted
            .slice_mut(s![.., ..self.width])
            .assign(&((&queries - &centre) * self.frame.scale));
        lifted.column_mut(self.width + 1).fill(1.0);
        Ok(lifted)
    }

    /// What of the nearest prototypes the index finds; `None` where it misses none by nature.
    pub(crate) fn recall(&self, queries: ArrayView2<'_, f32>) -> Result<Option<Recall>, BoxError> {
        if self.index.exact() {
            return Ok(None);
        }
        Recall::measure(&*self.index, self.lifted(queries)?.view(), 1).map(Some)
    }

    /// The `k` nearest prototypes of each query `[queries, width]`, fewer where there are fewer.
    pub(crate) fn nearest(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Nearest, BoxError> {
        let lifted = self.lifted(queries)?;
        let mut position = self.index.search(lifted.view(), k)?.position;
        // An approximate index may find nobody, but every patch has a distance.
        let unknown: Vec<usize> = (0..position.nrows())
            .filter(|&query| k > 0 && position[[query, 0]] == NONE)
            .collect();
        if !unknown.is_empty() && !self.index.exact() {
            let exact = self
                .index
                .search_exactly(lifted.select(Axis(0), &unknown).view(), k)?;
            for (&query, found) in unknown.iter().zip(exact.position.rows()) {
                position.row_mut(query).assign(&found);
            }
        }
        let mut distance = Array2::zeros(position.dim());
        distance
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(position.axis_iter_mut(Axis(0)))
            .zip(queries.axis_iter(Axis(0)))
            .for_each(|((mut distance, mut position), query)| {
                let mut row = vec![0.0; self.width];
                let mut pairs: Vec<(f32, u32)> = position
                    .iter()
                    .map(|&at| (self.distance(query, at, &mut row), at))
                    .collect();
                pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (at, pair) in pairs.into_iter().enumerate() {
                    (distance[at], position[at]) = pair;
                }
            });
        Ok(Nearest { distance, position })
    }

    /// The distance of a query to prototype `at`; infinite where an approximate index found none.
    fn distance(&self, query: ndarray::ArrayView1<'_, f32>, at: u32, row: &mut [f32]) -> f32 {
        let at = at as usize;
        if at >= self.len() {
            return f32::INFINITY;
        }
        self.rows.read(at, row);
        let square = |(a, b): (&f32, &f32)| {
            let difference = f64::from(*a) - f64::from(*b);
            difference * difference
        };
        query.iter().zip(&*row).map(square).sum::<f64>().sqrt() as f32
    }
}

impl Frame {
    fn of(rows: &HalfRows, width: usize) -> Self {
        let mut sums = vec![0.0f64; width];
        let mut row = vec![0.0; width];
        for at in 0..rows.len() {
            rows.read(at, &mut row);
            for (sum, value) in sums.iter_mut().zip(&row) {
                *sum += f64::from(*value);
            }
        }
        let count = rows.len().max(1) as f64;
        let centre: Vec<f32> = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        let mut longest = 0.0f64;
        for at in 0..rows.len() {
            rows.read(at, &mut row);
            let offsets = row
                .iter()
                .zip(&centre)
                .map(|(value, centre)| value - centre);
            longest = longest.max(offsets.map(|offset| f64::from(offset).powi(2)).sum());
        }
        // Rows that are all alike need no scale.
        let scale = match longest.sqrt() {
            0.0 => 1.0,
            length => (f64::from(RADIUS) / length) as f32,
        };
        Self { centre, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;
    use rareclip_index_exact::ExactOptions;

    fn prototypes(rows: &Array2<f32>) -> Prototypes {
        let halves = HalfRows::of(rows.view()).unwrap();
        Prototypes::new(halves, rows.ncols(), &ExactOptions::default()).unwrap()
    }

    #[test]
    fn the_nearest_is_not_the_longest() {
        // By inner product alone the last would win.
        let kept = prototypes(&array![[0.0, 1.0], [3.0, 4.0], [30.0, 40.0]]);
        let found = kept.nearest(array![[3.0, 1.0]].view(), 3).unwrap();
        assert_eq!(found.position, array![[0, 1, 2]]);
        let far = (27f32 * 27.0 + 39.0 * 39.0).sqrt();
        assert_eq!(found.distance, array![[3.0, 3.0, far]]);
    }

    #[test]
    fn distances_far_from_the_origin_do_not_cancel() {
        let kept = prototypes(&array![[10_000.0, 10_000.0], [10_008.0, 10_000.0]]);
        let found = kept
            .nearest(array![[10_001.0, 10_000.0]].view(), 1)
            .unwrap();
        assert_eq!((found.position[[0, 0]], found.distance[[0, 0]]), (0, 1.0));
    }

    fn vectors(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<i16>>> {
        prop::collection::vec(prop::collection::vec(-200i16..200, 5), count)
    }

    fn array_of(rows: &[Vec<i16>]) -> Array2<f32> {
        Array2::from_shape_fn((rows.len(), 5), |(at, dim)| f32::from(rows[at][dim]) / 8.0)
    }

    proptest! {
        #[test]
        fn the_lifted_product_finds_the_least_distance(
            kept in vectors(1..60),
            queries in vectors(1..10),
            k in 1usize..4,
        ) {
            let (kept, queries) = (array_of(&kept), array_of(&queries));
            let found = prototypes(&kept).nearest(queries.view(), k).unwrap();
            for (query, found) in queries.rows().into_iter().zip(found.distance.rows()) {
                let distance = |row: ndarray::ArrayView1<'_, f32>| {
                    (&row - &query).mapv(|d| d * d).sum().sqrt()
                };
                let mut plain: Vec<f32> = kept.rows().into_iter().map(distance).collect();
                plain.sort_by(f32::total_cmp);
                plain.truncate(k);
                prop_assert_eq!(found.len(), plain.len());
                for (found, plain) in found.iter().zip(plain) {
                    prop_assert!((found - plain).abs() <= 1e-4 * plain.max(1.0), "{found} {plain}");
                }
            }
        }
    }
}
