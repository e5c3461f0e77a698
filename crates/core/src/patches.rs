//! Tokens to patch features: means over squares of neighbours, unit length. What banks of all kinds
//! begin with.

use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1};

use crate::{ComponentError, Grid};

pub use crate::component_error::SideTooLong;
pub use crate::median::median;

/// The inner product of two vectors of equal length, summed in a fixed order.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_parts, a_rest) = a.as_chunks::<16>();
    let (b_parts, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..16 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Scales a vector to unit length; a vector of zeros stays one. Says whether the result is finite.
pub fn normalise(vector: &mut [f32]) -> bool {
    let mut norm = dot(vector, vector).sqrt();
    if norm == f32::INFINITY {
        // Only the squares are too large.
        let largest = vector
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        vector.iter_mut().for_each(|value| *value /= largest);
        norm = dot(vector, vector).sqrt();
    }
    if norm > 0.0 {
        vector.iter_mut().for_each(|value| *value /= norm);
    }
    norm.is_finite()
}

/// The longest side of a neighbourhood, in patches, that every grid allows.
const ANY_GRID: usize = 15;

/// Checks the sides of neighbourhoods of patches, given by `option`: each at most 15, or twice the
/// longer side of the grid less one, from which on every patch sees all others. The work per image
/// grows with the side.
///
/// # Errors
/// [`SideTooLong`] for the first that is longer.
pub fn check_neighbourhoods(
    option: &'static str,
    sides: &[usize],
    grid: Grid,
) -> Result<(), SideTooLong> {
    let longest = grid.rows.max(grid.columns);
    let most = longest.saturating_mul(2).saturating_sub(1).max(ANY_GRID);
    check_sides(option, sides, grid, most)
}

/// Checks the sides of windows, in patches, which lie inside the grid.
///
/// # Errors
/// [`SideTooLong`] for the first that is longer than the grid.
pub fn check_windows(option: &'static str, sides: &[usize], grid: Grid) -> Result<(), SideTooLong> {
    check_sides(option, sides, grid, grid.rows.min(grid.columns))
}

fn check_sides(
    option: &'static str,
    sides: &[usize],
    grid: Grid,
    most: usize,
) -> Result<(), SideTooLong> {
    match sides.iter().find(|&&side| side > most) {
        None => Ok(()),
        Some(&found) => Err(SideTooLong {
            option,
            found,
            most,
            grid,
        }),
    }
}

fn add(sum: &mut [f32], term: &[f32]) {
    for (sum, &term) in sum.iter_mut().zip(term) {
        *sum += term;
    }
}

/// Patch features `[patches, width]` of unit length into `out`, from the raw `tokens`
/// `[patches, width]`.
///
/// A patch is the mean over the `side` x `side` square around it, with coordinates clamped to the
/// grid (paper: patch aggregation). `side` is odd.
///
/// # Errors
/// [`ComponentError::NonFinite`] when a token holds NaN or infinity.
pub fn aggregate(
    tokens: ArrayView2<'_, f32>,
    grid: Grid,
    side: usize,
    out: &mut Vec<f32>,
) -> Result<(), ComponentError> {
    let width = tokens.ncols();
    let values = row_major(&tokens);
    out.clear();
    if side == 1 || width == 0 {
        out.extend_from_slice(&values);
    } else {
        squares(&values, grid, side / 2, width, out);
    }
    let finite = out.chunks_exact_mut(width.max(1)).all(normalise);
    if finite {
        Ok(())
    } else {
        Err(ComponentError::NonFinite {
            what: "a token".into(),
        })
    }
}

/// The mean of the tokens `[patches, width]` over the `side` x `side` square around each patch,
/// with coordinates clamped to the grid; `side` is odd.
pub fn neighbourhood_mean(tokens: ArrayView2<'_, f32>, grid: Grid, side: usize) -> Array2<f32> {
    if side <= 1 || tokens.ncols() == 0 {
        return tokens.to_owned();
    }
    let mut out = Vec::new();
    squares(
        &row_major(&tokens),
        grid,
        side / 2,
        tokens.ncols(),
        &mut out,
    );
    let share = 1.0 / (side * side) as f32;
    out.iter_mut().for_each(|value| *value *= share);
    Array2::from_shape_vec(tokens.raw_dim(), out).unwrap_or_else(|_| tokens.to_owned())
}

/// The values of `rows` in row-major order, copied only where they do not lie so.
pub fn row_major<'a>(rows: &ArrayView2<'a, f32>) -> Cow<'a, [f32]> {
    rows.to_slice()
        .map_or_else(|| Cow::Owned(rows.iter().copied().collect()), Cow::Borrowed)
}

/// Each row of `tokens` `[patches, width]` with unit length; a row of zeros stays one.
///
/// # Errors
/// [`ComponentError::NonFinite`] when a token holds NaN or infinity.
pub fn unit_rows(tokens: ArrayView2<'_, f32>) -> Result<Array2<f32>, ComponentError> {
    let mut rows = tokens.as_standard_layout().into_owned();
    let finite = |mut row: ArrayViewMut1<'_, f32>| row.as_slice_mut().is_some_and(normalise);
    match rows.rows_mut().into_iter().all(finite) {
        true => Ok(rows),
        false => Err(ComponentError::NonFinite {
            what: "a token".into(),
        }),
    }
}

/// Sums over squares; dividing by their size is left to the scaling to unit length.
fn squares(values: &[f32], grid: Grid, reach: usize, width: usize, out: &mut Vec<f32>) {
    let line = grid.columns * width;
    out.resize(values.len(), 0.0);
    let mut columns = vec![0.0f32; line];
    let around = |centre: usize, len: usize| {
        (0..=2 * reach).map(move |step| (centre + step).saturating_sub(reach).min(len - 1))
    };
    for (row, out) in out.chunks_exact_mut(line).enumerate() {
        columns.fill(0.0);
        for other in around(row, grid.rows) {
            add(&mut columns, &values[other * line..(other + 1) * line]);
        }
        for (column, out) in out.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for other in around(column, grid.columns) {
                add(out, &columns[other * width..(other + 1) * width]);
            }
        }
    }
}

/// Per patch `[patches]` the harmonic mean of the values of all windows that hold it; 0 where one
/// of them is 0. `values` are those of the windows of `side` x `side` patches in the order of
/// [`Features::windows`](crate::Features::windows) (WinCLIP, CVPR 2023, section 4.2).
pub fn windows_to_patches(values: ArrayView1<'_, f32>, side: usize, grid: Grid) -> Array1<f64> {
    let columns = (grid.columns + 1).saturating_sub(side);
    let mut inverse = vec![0.0f64; grid.patches()];
    let mut count = vec![0.0f64; grid.patches()];
    for (window, &value) in values.iter().enumerate() {
        let (top, left) = (window / columns.max(1), window % columns.max(1));
        for row in top..top + side {
            for column in left..left + side {
                let patch = row * grid.columns + column;
                inverse[patch] += f64::from(value).recip();
                count[patch] += 1.0;
            }
        }
    }
    inverse
        .into_iter()
        .zip(count)
        .map(|(inverse, count)| count / inverse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_bounded_by_the_grid_and_the_error_names_the_bound() {
        let grid = Grid {
            rows: 1,
            columns: 20,
        };
        assert_eq!(check_neighbourhoods("sides", &[1, 39], grid), Ok(()));
        let error = check_neighbourhoods("sides", &[3, 41], grid).unwrap_err();
        assert_eq!((error.found, error.most), (41, 39));
        let message = error.to_string();
        for part in ["`sides` is 41", "1 x 20", "at most 39"] {
            assert!(message.contains(part), "{part} is missing: {message}");
        }
        assert!(check_neighbourhoods("sides", &[usize::MAX], grid).is_err());
        // Windows lie inside the grid.
        assert_eq!(
            check_windows("sides", &[1], grid).map_err(|e| e.most),
            Ok(())
        );
        assert_eq!(
            check_windows("sides", &[2], grid).map_err(|e| e.most),
            Err(1)
        );
    }
    use ndarray::Array2;

    #[test]
    fn a_square_repeats_the_border() {
        let grid = Grid {
            rows: 1,
            columns: 3,
        };
        let tokens = Array2::from_shape_vec((3, 2), vec![1.0, 0.0, 0.0, 1.0, 0.0, 4.0]).unwrap();
        let mut out = Vec::new();
        aggregate(tokens.view(), grid, 3, &mut out).unwrap();
        // The first patch is the mean of tokens 0, 0, 1.
        let length = 5.0f32.sqrt();
        assert!((out[0] - 2.0 / length).abs() < 1e-6 && (out[1] - 1.0 / length).abs() < 1e-6);
    }

    #[test]
    fn the_mean_of_a_square_keeps_its_length() {
        let grid = Grid {
            rows: 1,
            columns: 3,
        };
        let tokens = Array2::from_shape_vec((3, 1), vec![3.0, 0.0, 6.0]).unwrap();
        let mean = neighbourhood_mean(tokens.view(), grid, 3);
        assert_eq!(mean.into_raw_vec_and_offset().0, [2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_token_of_zeros_stays_zero() {
        let mut out = Vec::new();
        aggregate(
            Array2::zeros((4, 3)).view(),
            Grid {
                rows: 2,
                columns: 2,
            },
            3,
            &mut out,
        )
        .unwrap();
        assert_eq!(out, vec![0.0; 12]);
    }

    #[test]
    fn tokens_too_large_to_square_still_get_unit_length() {
        let mut vector = [3e30, 4e30];
        assert!(normalise(&mut vector));
        assert!((vector[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn nan_is_refused() {
        let grid = Grid {
            rows: 1,
            columns: 1,
        };
        let tokens = Array2::from_elem((1, 2), f32::NAN);
        assert!(aggregate(tokens.view(), grid, 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_patch_gets_the_harmonic_mean_of_the_windows_that_hold_it() {
        let grid = Grid {
            rows: 2,
            columns: 3,
        };
        // Two windows of 2 x 2: the middle column lies in both.
        let map = windows_to_patches(ndarray::array![0.2f32, 0.6].view(), 2, grid);
        let mean = 2.0 / (1.0 / 0.2 + 1.0 / 0.6);
        for row in 0..2 {
            assert!((map[row * 3] - 0.2).abs() < 1e-6);
            assert!((map[row * 3 + 1] - mean).abs() < 1e-6);
            assert!((map[row * 3 + 2] - 0.6).abs() < 1e-6);
        }
    }

    #[test]
    fn a_window_that_is_surely_normal_makes_its_patches_so() {
        let grid = Grid {
            rows: 1,
            columns: 2,
        };
        let map = windows_to_patches(ndarray::array![0.0f32, 0.6].view(), 1, grid);
        assert_eq!(map[0], 0.0);
    }
}
