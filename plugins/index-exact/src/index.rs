//! Vectors in one block of memory, searched in tiles.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, ArrayView2, Axis, CowArray, Ix2};
use pulp::Arch;
use rareclip_core::BoxError;
use rareclip_core::index::{IndexError, Neighbours, Survey, VectorIndex};
use rareclip_core::patches::row_major;
use rareclip_core::snapshot::SnapshotWriter;
use rayon::prelude::*;

use crate::product::with_tile;
use crate::top::{Top, raise, scan};

/// Queries of a tile: many, to repay packing the vectors, and few enough to share out among
/// threads; half of the 37 x 37 patches of a ViT at 518 pixels.
const QUERIES: usize = 685;
/// Vectors of a tile: with [`QUERIES`] a tile of 700 KB, which stays in a core's cache until it is
/// searched.
const VECTORS: usize = 256;
/// Both sides of a tile of [`VectorIndex::nearest_earlier`]: what lies beyond the diagonal is
/// computed in vain.
const EARLIER: usize = 256;

/// Vectors in arrival order, row-major in one block of memory.
#[derive(Debug)]
pub struct ExactIndex {
    width: usize,
    data: Vec<f32>,
}

impl ExactIndex {
    /// An empty index for vectors of `width` with memory for `capacity` of them.
    ///
    /// # Errors
    /// [`IndexError::ZeroWidth`]; [`IndexError::TooMany`] for a capacity beyond 32 bits;
    /// [`IndexError::Memory`].
    pub fn new(width: usize, capacity: usize) -> Result<Self, IndexError> {
        IndexError::shape(width, capacity)?;
        let mut data = Vec::new();
        data.try_reserve_exact(capacity * width)
            .map_err(|_| IndexError::Memory {
                vectors: capacity,
                width,
            })?;
        Ok(Self { width, data })
    }

    /// The vectors at `range`.
    fn rows(&self, range: Range<usize>) -> &[f32] {
        &self.data[range.start * self.width..range.end * self.width]
    }

    /// The `k` best of the vectors at `range` for each query and, if asked for, the best query of
    /// each of them.
    fn top(
        &self,
        queries: &[f32],
        range: Range<usize>,
        k: usize,
        best_query: bool,
    ) -> (Neighbours, Vec<f32>) {
        let queries_count = queries.len() / self.width;
        let mut found = Neighbours::empty(queries_count, k.min(range.len()));
        let span = if best_query { range.len() } else { 0 };
        let blocks = queries
            .par_chunks(QUERIES * self.width)
            .zip(row_blocks(&mut found, QUERIES));
        let best = blocks
            .map(|(queries, (similarity, position))| {
                let mut best = vec![f32::NEG_INFINITY; span];
                self.search_block(queries, range.clone(), similarity, position, &mut best);
                best
            })
            .reduce_with(|mut one, other| {
                raise(&mut one, &other);
                one
            });
        let best = best.unwrap_or_else(|| vec![f32::NEG_INFINITY; span]);
        (found, best)
    }

    /// [`top`](Self::top) for one block of queries on one thread; `best` is empty where it is not
    /// asked for.
    fn search_block(
        &self,
        queries: &[f32],
        range: Range<usize>,
        mut similarity: ndarray::ArrayViewMut2<'_, f32>,
        mut position: ndarray::ArrayViewMut2<'_, u32>,
        best: &mut [f32],
    ) {
        let arch = Arch::new();
        for start in range.clone().step_by(VECTORS) {
            let end = range.end.min(start + VECTORS);
            with_tile(queries, self.rows(start..end), self.width, |tile| {
                let rows = tile.chunks_exact(end - start);
                let tops = similarity.rows_mut().into_iter().zip(position.rows_mut());
                for (row, (mut similarity, mut position)) in rows.zip(tops) {
                    let (Some(similarity), Some(position)) =
                        (similarity.as_slice_mut(), position.as_slice_mut())
                    else {
                        continue;
                    };
                    let part = start - range.start..end - range.start;
                    let best = best.get_mut(part);
                    scan(
                        arch,
                        row,
                        start as u32,
                        best,
                        &mut Top {
                            similarity,
                            position,
                        },
                    );
                }
            });
        }
    }
}

type RowBlock<'a> = (
    ndarray::ArrayViewMut2<'a, f32>,
    ndarray::ArrayViewMut2<'a, u32>,
);

/// The rows of a result in blocks.
fn row_blocks(
    found: &mut Neighbours,
    rows: usize,
) -> impl IndexedParallelIterator<Item = RowBlock<'_>> {
    let similarity = found.similarity.axis_chunks_iter_mut(Axis(0), rows);
    let position = found.position.axis_chunks_iter_mut(Axis(0), rows);
    similarity.into_par_iter().zip(position.into_par_iter())
}

impl VectorIndex for ExactIndex {
    fn len(&self) -> usize {
        self.data.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn bytes(&self) -> usize {
        self.data.capacity() * size_of::<f32>()
    }

    fn append(&mut self, rows: ArrayView2<'_, f32>) -> Result<(), BoxError> {
        IndexError::width(rows.ncols(), self.width)?;
        IndexError::count(self.len() + rows.nrows())?;
        match rows.as_slice() {
            Some(values) => self.data.extend_from_slice(values),
            None => self.data.extend(rows.iter()),
        }
        Ok(())
    }

    fn retain(&mut self, positions: &[usize]) -> Result<(), BoxError> {
        IndexError::kept(positions, self.len())?;
        let mut kept = 0;
        // Runs of neighbours move in one go.
        for run in positions.chunk_by(|a, b| a + 1 == *b) {
            let from = run[0] * self.width..(run[0] + run.len()) * self.width;
            if run[0] > kept {
                self.data.copy_within(from, kept * self.width);
            }
            kept += run.len();
        }
        self.data.truncate(kept * self.width);
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
        let queries = row_major(&queries);
        Ok(self.top(&queries, 0..first, k, false).0)
    }

    fn survey(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Survey, BoxError> {
        IndexError::width(queries.ncols(), self.width)?;
        let queries = row_major(&queries);
        let (neighbours, best_query) = self.top(&queries, 0..self.len(), k, true);
        Ok(Survey {
            neighbours,
            best_query: Array1::from_vec(best_query),
        })
    }

    fn nearest_earlier(
        &self,
        positions: &[usize],
        floor: usize,
        k: usize,
    ) -> Result<Neighbours, BoxError> {
        IndexError::positions(positions, self.len())?;
        let mut found = Neighbours::empty(positions.len(), k);
        positions
            .par_chunks(EARLIER)
            .zip(row_blocks(&mut found, EARLIER))
            .for_each(|(positions, (similarity, position))| {
                self.earlier_block(positions, floor, similarity, position);
            });
        Ok(found)
    }

    fn vectors(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        let shape = (self.len(), self.width);
        Ok(ArrayView2::from_shape(shape, &self.data)?.into())
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        writer.floats(name, &[self.len(), self.width], self.data.as_slice());
    }
}

impl ExactIndex {
    /// [`nearest_earlier`](VectorIndex::nearest_earlier) for one block of positions on one thread.
    fn earlier_block(
        &self,
        positions: &[usize],
        floor: usize,
        mut similarity: ndarray::ArrayViewMut2<'_, f32>,
        mut position: ndarray::ArrayViewMut2<'_, u32>,
    ) {
        let arch = Arch::new();
        let run = positions.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let queries: Cow<'_, [f32]> = match positions {
            [first, ..] if run => Cow::Borrowed(self.rows(*first..first + positions.len())),
            _ => positions
                .iter()
                .flat_map(|&p| self.rows(p..p + 1))
                .copied()
                .collect(),
        };
        let end_of_all = positions.iter().copied().max().unwrap_or(0);
        for start in (floor..end_of_all).step_by(EARLIER) {
            let end = end_of_all.min(start + EARLIER);
            with_tile(&queries, self.rows(start..end), self.width, |tile| {
                let rows = tile.chunks_exact(end - start).zip(positions);
                let tops = similarity.rows_mut().into_iter().zip(position.rows_mut());
                for ((row, &own), (mut similarity, mut position)) in rows.zip(tops) {
                    let (Some(similarity), Some(position)) =
                        (similarity.as_slice_mut(), position.as_slice_mut())
                    else {
                        continue;
                    };
                    let earlier = &row[..row.len().min(own.saturating_sub(start))];
                    scan(
                        arch,
                        earlier,
                        start as u32,
                        None,
                        &mut Top {
                            similarity,
                            position,
                        },
                    );
                }
            });
        }
    }
}
