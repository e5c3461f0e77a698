//! Vectors to test with, and brute force.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rareclip_core::Neighbours;
use rareclip_core::VectorIndex;
use rareclip_core::index::{NONE, VectorIndexFactory};

/// A generator of numbers that need to look random and no more (splitmix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }

    /// Of mean 0 and about normal: the sum of four uniform numbers.
    pub(super) fn bell(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 1.732
    }
}

/// Whole numbers from -2 to 2 `[rows, width]`: exact inner products, many of them equal.
pub(super) fn whole(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut numbers = Numbers(seed);
    Array2::from_shape_simple_fn((rows, width), || numbers.below(5) as f32 - 2.0)
}

/// Unit vectors `[count, width]` that lie as patches of images do: in groups of uneven size around
/// common places, and near few of the directions there are. Uniformly random vectors would all be
/// about as far from each other, which makes any approximate index look useless.
///
/// `groups` centres are drawn in all directions. Each vector takes a centre, the first ones more
/// often (the smaller of two draws), strays from it about as far as a centre is long along 64
/// directions that all share, along the n-th by a share of 1 / n of the variance, adds noise 0.3
/// times as long in all directions, and is scaled to length 1. `seed` fixes the centres and
/// directions, `part` the draw among them: queries are another part of the same seed.
pub fn patches(count: usize, width: usize, groups: usize, seed: u64, part: u64) -> Array2<f32> {
    const DIRECTIONS: usize = 64;
    let mut numbers = Numbers(seed);
    let long = (width as f32).sqrt();
    let mut place =
        |rows: usize| Array2::from_shape_simple_fn((rows.max(1), width), || numbers.bell() / long);
    let (centres, directions) = (place(groups), place(DIRECTIONS));
    let total: f32 = (1..=DIRECTIONS).map(|n| 1.0 / n as f32).sum();
    let mut numbers = Numbers(seed ^ part.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1));
    let mut rows = Array2::zeros((count, width));
    for mut row in rows.rows_mut() {
        let group = numbers.below(groups).min(numbers.below(groups));
        row.assign(&centres.row(group));
        for (n, direction) in (1u8..).zip(directions.rows()) {
            let share = 1.0 / (f32::from(n) * total);
            row.scaled_add(share.sqrt() * numbers.bell(), &direction);
        }
        row.mapv_inplace(|value| value + 0.3 * numbers.bell() / long);
        let length = row.dot(&row).sqrt();
        row.mapv_inplace(|value| value / length);
    }
    rows
}

/// An index that holds `vectors`.
pub(super) fn filled(
    factory: &dyn VectorIndexFactory,
    vectors: &Array2<f32>,
) -> Result<Box<dyn VectorIndex>, String> {
    let mut index = empty(factory, vectors.ncols())?;
    index
        .append(vectors.view())
        .map_err(|error| format!("append fails: {error}"))?;
    Ok(index)
}

pub(super) fn empty(
    factory: &dyn VectorIndexFactory,
    width: usize,
) -> Result<Box<dyn VectorIndex>, String> {
    factory
        .build(width, 100)
        .map_err(|error| format!("build fails: {error}"))
}

/// The inner product, in twice the precision.
pub(super) fn product(vectors: ArrayView2<'_, f32>, at: usize, query: &[f32]) -> f64 {
    let row = vectors.row(at);
    row.iter()
        .zip(query)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Neighbours of one query, best first, filled up to `k` with nobody.
pub(super) fn best(
    vectors: &Array2<f32>,
    query: &[f32],
    among: Range<usize>,
    k: usize,
) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = among
        .map(|at| (product(vectors.view(), at, query) as f32, at as u32))
        .collect();
    all.sort_by(|a, b| (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(a.1.cmp(&b.1)));
    all.resize(k.max(all.len()), (f32::NEG_INFINITY, NONE));
    all.truncate(k);
    all
}

/// The rows of a result.
pub(super) fn rows(found: &Neighbours) -> Vec<Vec<(f32, u32)>> {
    let pairs = found
        .similarity
        .rows()
        .into_iter()
        .zip(found.position.rows());
    pairs
        .map(|(similarity, position)| {
            similarity
                .iter()
                .copied()
                .zip(position.iter().copied())
                .collect()
        })
        .collect()
}
