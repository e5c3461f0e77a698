//! Tokens to patch features: the mean of a square of neighbours, of unit length.

use ndarray::ArrayView2;
use rareclip_core::Grid;

use crate::error::RarityError;

/// The inner product of two vectors of equal length, summed in a fixed order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
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
pub(crate) fn normalise(vector: &mut [f32]) -> bool {
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

fn add(sum: &mut [f32], term: &[f32]) {
    for (sum, &term) in sum.iter_mut().zip(term) {
        *sum += term;
    }
}

/// Patch features `[patches, width]` of unit length into `out`, from the raw `tokens` `[patches, width]`.
///
/// A patch is the mean over the `side` x `side` square around it, with coordinates clamped to the grid (paper: patch
/// aggregation). `side` is odd.
///
/// # Errors
/// [`RarityError::NonFinite`] when a token holds NaN or infinity.
pub(crate) fn aggregate(
    tokens: ArrayView2<'_, f32>,
    grid: Grid,
    side: usize,
    out: &mut Vec<f32>,
) -> Result<(), RarityError> {
    let width = tokens.ncols();
    let values = tokens.to_slice().map_or_else(
        || std::borrow::Cow::Owned(tokens.iter().copied().collect::<Vec<_>>()),
        std::borrow::Cow::Borrowed,
    );
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
        Err(RarityError::NonFinite("a token"))
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
