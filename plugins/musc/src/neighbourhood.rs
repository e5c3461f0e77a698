//! Tokens to patch features of several neighbourhood sizes (paper: LNAMD).

use ndarray::ArrayView2;
use rareclip_core::Grid;
use rareclip_core::patches::normalise;

/// Patch features of unit length from raw `tokens`, both `[patches, width]`; says whether all are
/// finite.
///
/// The mean of all values of the image is taken off (the published code normalises the whole image
/// to mean 0 and variance 1, and the variance goes with the unit length), then a patch is the sum
/// over the `side` x `side` square around it. What lies beyond the border counts as zeros, as
/// published.
pub(crate) fn aggregate(
    tokens: ArrayView2<'_, f32>,
    grid: Grid,
    side: usize,
    out: &mut [f32],
) -> bool {
    let width = tokens.ncols();
    let sum: f64 = tokens.iter().map(|&value| f64::from(value)).sum();
    let mean = (sum / tokens.len().max(1) as f64) as f32;
    let line = grid.columns * width;
    let mut columns = vec![0.0f32; line];
    for (row, out) in out.chunks_exact_mut(line).enumerate() {
        columns.fill(0.0);
        for other in around(row, side / 2, grid.rows) {
            for column in 0..grid.columns {
                let sum = &mut columns[column * width..(column + 1) * width];
                let token = tokens.row(other * grid.columns + column);
                for (sum, value) in sum.iter_mut().zip(token) {
                    *sum += value - mean;
                }
            }
        }
        for (column, out) in out.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for other in around(column, side / 2, grid.columns) {
                for (sum, value) in out
                    .iter_mut()
                    .zip(&columns[other * width..(other + 1) * width])
                {
                    *sum += value;
                }
            }
        }
    }
    out.chunks_exact_mut(width).all(normalise)
}

/// The indices below `len` that are no farther than `reach` from `centre`.
fn around(centre: usize, reach: usize, len: usize) -> std::ops::Range<usize> {
    centre.saturating_sub(reach)..(centre + reach + 1).min(len)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    const GRID: Grid = Grid {
        rows: 1,
        columns: 3,
    };

    fn features(tokens: &Array2<f32>, grid: Grid, side: usize) -> Vec<f32> {
        let mut out = vec![0.0; tokens.len()];
        assert!(aggregate(tokens.view(), grid, side, &mut out));
        out
    }

    #[test]
    fn the_mean_of_the_image_is_taken_off() {
        // The mean is 2.
        let tokens = arr2(&[[5.0, 6.0], [2.0, 1.0], [-1.0, -1.0]]);
        let expected = [0.6, 0.8, 0.0, -1.0, -(0.5f32.sqrt()), -(0.5f32.sqrt())];
        for (found, expected) in features(&tokens, GRID, 1).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn beyond_the_border_there_are_zeros() {
        // Of mean 0: the first patch is the sum of tokens 0 and 1, the second of all.
        let tokens = arr2(&[[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]]);
        let found = features(&tokens, GRID, 3);
        assert!((found[0] - 0.6).abs() < 1e-6 && (found[1] - 0.8).abs() < 1e-6);
        assert_eq!(found[2..4], [0.0, 0.0]);
    }

    #[test]
    fn squares_reach_up_and_down_too() {
        let grid = Grid {
            rows: 3,
            columns: 1,
        };
        let tokens = arr2(&[[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]]);
        assert_eq!(features(&tokens, grid, 3), features(&tokens, GRID, 3));
    }

    #[test]
    fn nan_shows() {
        let tokens = Array2::from_elem((3, 2), f32::NAN);
        assert!(!aggregate(tokens.view(), GRID, 1, &mut [0.0; 6]));
    }
}
