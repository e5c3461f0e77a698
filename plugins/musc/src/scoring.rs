//! Mutual scoring of the patches of a set (paper: MSM).

use std::cell::RefCell;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Patches of the one image in a tile of similarities.
const ROWS: usize = 512;
/// Patches of the other: a tile of 512 KB stays in a core's cache until it has been read.
const COLUMNS: usize = 256;

thread_local! {
    /// The tile under work, kept between calls.
    static TILE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Features of unit length of the images of a set, `[images, patches, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) patches: usize,
    pub(crate) width: usize,
}

impl Patches<'_> {
    fn images(&self) -> usize {
        self.values.len() / (self.patches * self.width)
    }

    fn image(&self, at: usize) -> &[f32] {
        let size = self.patches * self.width;
        &self.values[at * size..(at + 1) * size]
    }

    /// The largest inner product of each patch of image `a` with any of `b`, and the other way
    /// round, `[2, patches]`.
    ///
    /// One product serves both directions; it is made tile by tile and never as a whole.
    fn closest(&self, a: usize, b: usize) -> Vec<f32> {
        let (a, b, width) = (self.image(a), self.image(b), self.width);
        let mut best = vec![f32::NEG_INFINITY; 2 * self.patches];
        let (of_a, of_b) = best.split_at_mut(self.patches);
        for (a, of_a) in a.chunks(ROWS * width).zip(of_a.chunks_mut(ROWS)) {
            for (b, of_b) in b.chunks(COLUMNS * width).zip(of_b.chunks_mut(COLUMNS)) {
                let (rows, columns) = (of_a.len(), of_b.len());
                TILE.with_borrow_mut(|tile| {
                    tile.resize(ROWS * COLUMNS, 0.0);
                    let tile = &mut tile[..rows * columns];
                    matmul(
                        MatMut::from_row_major_slice_mut(tile, rows, columns),
                        Accum::Replace,
                        MatRef::from_row_major_slice(a, rows, width),
                        MatRef::from_row_major_slice(b, columns, width).transpose(),
                        1.0,
                        Par::Seq,
                    );
                    read(tile, of_a, of_b);
                });
            }
        }
        best
    }

    /// Per image the score of its patches `[patches]`: the mean distance to the nearest patch of
    /// each of the nearest other images (paper: equations 3 and 4), `floor(share x others)` of them
    /// and at least one. There are at least 2 images.
    pub(crate) fn scores(&self, share: f64) -> Vec<Vec<f32>> {
        let images = self.images();
        let pairs: Vec<(usize, usize)> = (1..images)
            .flat_map(|b| (0..b).map(move |a| (a, b)))
            .collect();
        // Pair (a, b) stands at b (b - 1) / 2 + a.
        let closest: Vec<Vec<f32>> = pairs.par_iter().map(|&(a, b)| self.closest(a, b)).collect();
        let towards = |image: usize, other: usize| {
            let (a, b) = (image.min(other), image.max(other));
            let pair = &closest[b * (b - 1) / 2 + a];
            let (of_a, of_b) = pair.split_at(self.patches);
            if image == a { of_a } else { of_b }
        };
        let nearest = nearest(images - 1, share);
        let score = |image: usize| {
            let others: Vec<&[f32]> = (0..images)
                .filter(|&other| other != image)
                .map(|other| towards(image, other))
                .collect();
            let mut similarity = vec![0.0f32; others.len()];
            let patch = |patch: usize| {
                for (similarity, other) in similarity.iter_mut().zip(&others) {
                    *similarity = other[patch];
                }
                mean_distance(&mut similarity, nearest)
            };
            (0..self.patches).map(patch).collect()
        };
        (0..images).into_par_iter().map(score).collect()
    }
}

/// Takes the largest value of each row and column of a tile into account.
fn read(tile: &[f32], of_a: &mut [f32], of_b: &mut [f32]) {
    for (row, of_a) in tile.chunks_exact(of_b.len()).zip(of_a) {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let (parts, rest) = row.as_chunks::<16>();
        for part in parts {
            for (lane, &value) in lanes.iter_mut().zip(part) {
                *lane = if value > *lane { value } else { *lane };
            }
        }
        *of_a = lanes
            .iter()
            .chain(rest)
            .fold(*of_a, |best, &value| best.max(value));
        for (best, &value) in of_b.iter_mut().zip(row) {
            *best = if value > *best { value } else { *best };
        }
    }
}

/// How many of the `others` are averaged.
fn nearest(others: usize, share: f64) -> usize {
    ((others as f64 * share) as usize).clamp(1, others.max(1))
}

/// The mean of the Euclidean distances of the `nearest` largest similarities of unit vectors, which
/// are reordered.
fn mean_distance(similarity: &mut [f32], nearest: usize) -> f32 {
    if nearest < similarity.len() {
        similarity.select_nth_unstable_by(nearest - 1, |a, b| b.total_cmp(a));
    }
    let chosen = &mut similarity[..nearest];
    // One order of summing, whatever the order of the images.
    chosen.sort_unstable_by(f32::total_cmp);
    let sum: f32 = chosen.iter().map(|s| (2.0 - 2.0 * s).max(0.0).sqrt()).sum();
    sum / nearest as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_share_rounds_down_and_is_never_none() {
        let found = [
            nearest(59, 0.3),
            nearest(3, 0.3),
            nearest(1, 0.3),
            nearest(4, 1.0),
        ];
        assert_eq!(found, [17, 1, 1, 4]);
    }

    #[test]
    fn the_nearest_images_are_averaged() {
        // Distances 0, sqrt 2 and 2.
        let mut similarity = [0.0, -1.0, 1.0];
        let expected = 2.0f32.sqrt() / 2.0;
        assert!((mean_distance(&mut similarity, 2) - expected).abs() < 1e-6);
    }

    #[test]
    fn each_image_is_scored_by_the_others_alone() {
        // Three images of two patches in the plane.
        let (right, up, left) = ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]);
        let values = [right, up, right, right, left, up].concat();
        let set = Patches {
            values: &values,
            patches: 2,
            width: 2,
        };
        let root = 2.0f32.sqrt();
        // Both others count: the mean over them of the distance to their nearest patch.
        let expected = [
            [(0.0 + root) / 2.0, (root + 0.0) / 2.0],
            [(0.0 + root) / 2.0, (0.0 + root) / 2.0],
            [(root + 2.0) / 2.0, (0.0 + root) / 2.0],
        ];
        assert_eq!(set.scores(1.0), expected);
        // The nearest alone.
        assert_eq!(set.scores(0.3), [[0.0, 0.0], [0.0, 0.0], [root, 0.0]]);
    }

    #[test]
    fn tiles_meet_at_their_borders() {
        // More patches than a tile is wide or high, all different.
        let patches = ROWS + 17;
        let angle = |image: usize, patch: usize| (patch * 2 + image) as f32 * 0.001;
        let values: Vec<f32> = (0..2)
            .flat_map(|image| (0..patches).map(move |patch| angle(image, patch)))
            .flat_map(|angle| [angle.cos(), angle.sin()])
            .collect();
        let set = Patches {
            values: &values,
            patches,
            width: 2,
        };
        let best = set.closest(0, 1);
        for patch in 0..patches {
            for (image, found) in [(0, best[patch]), (1, best[patches + patch])] {
                let gaps = (0..patches).map(|other| angle(image, patch) - angle(1 - image, other));
                let expected = gaps
                    .fold(f32::INFINITY, |best, gap| best.min(gap.abs()))
                    .cos();
                assert!((found - expected).abs() < 1e-6, "{image} {patch}");
            }
        }
    }
}
