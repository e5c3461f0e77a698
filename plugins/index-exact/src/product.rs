//! Tiles of similarities.

use std::cell::RefCell;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

thread_local! {
    /// The tile under work. Kept between calls: fresh pages for every tile would cost more than
    /// searching it.
    static TILE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Computes the inner products of `queries` `[rows, width]` with `vectors` `[columns, width]`, both
/// row-major, and hands the tile `[rows, columns]` to `read`. One thread does it all.
pub(crate) fn with_tile<T>(
    queries: &[f32],
    vectors: &[f32],
    width: usize,
    read: impl FnOnce(&[f32]) -> T,
) -> T {
    let (rows, columns) = (queries.len() / width, vectors.len() / width);
    TILE.with_borrow_mut(|tile| {
        if tile.len() < rows * columns {
            tile.resize(rows * columns, 0.0);
        }
        let tile = &mut tile[..rows * columns];
        matmul(
            MatMut::from_row_major_slice_mut(tile, rows, columns),
            Accum::Replace,
            MatRef::from_row_major_slice(queries, rows, width),
            MatRef::from_row_major_slice(vectors, columns, width).transpose(),
            1.0,
            Par::Seq,
        );
        read(tile)
    })
}
