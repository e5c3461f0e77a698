//! From a patch map to a pixel map.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Zip, parallel::prelude::*};

use crate::error::{ImagingError, Result, nonzero};

/// Two source indices and the weight of the second, for every target position.
fn linear_taps(source: usize, positions: impl Iterator<Item = f32>) -> Vec<(usize, usize, f32)> {
    let last = source - 1;
    positions
        .map(|position| {
            let low = (position as usize).min(last);
            (
                low,
                (low + 1).min(last),
                (position - low as f32).clamp(0.0, 1.0),
            )
        })
        .collect()
}

fn interpolate(
    map: ArrayView2<'_, f32>,
    rows: &[(usize, usize, f32)],
    columns: &[(usize, usize, f32)],
) -> Array2<f32> {
    let wide = Array2::from_shape_fn((map.nrows(), columns.len()), |(y, x)| {
        let (low, high, weight) = columns[x];
        (1.0 - weight) * map[[y, low]] + weight * map[[y, high]]
    });
    let mut out = Array2::zeros((rows.len(), columns.len()));
    for (mut row, &(low, high, weight)) in out.outer_iter_mut().zip(rows) {
        Zip::from(&mut row)
            .and(wide.row(low))
            .and(wide.row(high))
            .for_each(|v, &a, &b| *v = (1.0 - weight) * a + weight * b);
    }
    out
}

/// Bilinear interpolation to `[out_height, out_width]` with aligned corners: the corner values stay
/// the corner values. As `interpolate(..., align_corners=True)` in PyTorch.
///
/// # Errors
/// [`ImagingError::ZeroSize`] where the map or the target is empty.
pub fn upsample_bilinear(
    map: ArrayView2<'_, f32>,
    out_height: usize,
    out_width: usize,
) -> Result<Array2<f32>> {
    let taps = |source: usize, target: usize| {
        let scale = if target > 1 {
            (source - 1) as f32 / (target - 1) as f32
        } else {
            0.0
        };
        linear_taps(source, (0..target).map(move |i| i as f32 * scale))
    };
    nonzero("map", map.ncols(), map.nrows())?;
    nonzero("target size", out_width, out_height)?;
    Ok(interpolate(
        map,
        &taps(map.nrows(), out_height),
        &taps(map.ncols(), out_width),
    ))
}

/// Bilinear interpolation to `[out_height, out_width]` with aligned pixel edges, which lays a map
/// of the resized picture over the picture at its own size. No antialiasing.
///
/// # Errors
/// [`ImagingError::ZeroSize`] where the map or the target is empty.
pub fn resize_map(
    map: ArrayView2<'_, f32>,
    out_height: usize,
    out_width: usize,
) -> Result<Array2<f32>> {
    let taps = |source: usize, target: usize| {
        let scale = source as f32 / target as f32;
        linear_taps(
            source,
            (0..target).map(move |i| ((i as f32 + 0.5) * scale - 0.5).max(0.0)),
        )
    };
    nonzero("map", map.ncols(), map.nrows())?;
    nonzero("target size", out_width, out_height)?;
    Ok(interpolate(
        map,
        &taps(map.nrows(), out_height),
        &taps(map.ncols(), out_width),
    ))
}

/// The weights of a Gaussian sampled at `kernel` whole pixels around 0, summing to 1.
///
/// # Errors
/// [`ImagingError::BlurKernel`] where `kernel` is even or `sigma` (pixels) is not positive.
pub fn gaussian_kernel(kernel: usize, sigma: f32) -> Result<Vec<f32>> {
    if kernel.is_multiple_of(2) || !(sigma > 0.0 && sigma.is_finite()) {
        return Err(ImagingError::BlurKernel { kernel, sigma });
    }
    let half = (kernel / 2) as f32;
    let bell = |i: usize| (-0.5 * ((i as f32 - half) / sigma).powi(2)).exp();
    let weights: Vec<f32> = (0..kernel).map(bell).collect();
    let sum: f32 = weights.iter().sum();
    Ok(weights.into_iter().map(|w| w / sum).collect())
}

/// Gaussian blur with a separable kernel of `kernel` taps and standard deviation `sigma` in pixels.
///
/// Beyond the border the map is mirrored without repeating the edge pixel. A map smaller than the
/// reach of the kernel is mirrored again and again, so that any size works.
///
/// # Errors
/// [`ImagingError::ZeroSize`] or [`ImagingError::BlurKernel`].
pub fn gaussian_blur(map: ArrayView2<'_, f32>, kernel: usize, sigma: f32) -> Result<Array2<f32>> {
    nonzero("map", map.ncols(), map.nrows())?;
    let weights = gaussian_kernel(kernel, sigma)?;
    let wide = blur_rows(map, &weights);
    Ok(blur_columns(&wide, &weights))
}

/// Index of position `at - half` in an endlessly mirrored line of `len` values.
fn mirrored(at: usize, half: usize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let within = (at + period - half % period) % period;
    within.min(period - within)
}

/// Adds the two taps at equal distance from the middle first: half the products, less rounding.
fn symmetric_pairs(weights: &[f32]) -> impl Iterator<Item = (usize, usize, f32)> {
    let (half, last) = (weights.len() / 2, weights.len() - 1);
    weights[..half]
        .iter()
        .enumerate()
        .map(move |(i, &w)| (i, last - i, w))
}

fn blur_rows(map: ArrayView2<'_, f32>, weights: &[f32]) -> Array2<f32> {
    let (len, half) = (map.ncols(), weights.len() / 2);
    let indices: Vec<usize> = (0..len + 2 * half)
        .map(|at| mirrored(at, half, len))
        .collect();
    let mut out = Array2::zeros(map.dim());
    let blur = |(row, mut target): (ArrayView1<'_, f32>, ArrayViewMut1<'_, f32>)| {
        let padded: Vec<f32> = indices.iter().map(|&index| row[index]).collect();
        for (left, right, weight) in symmetric_pairs(weights) {
            let pairs = padded[left..].iter().zip(&padded[right..]);
            target
                .iter_mut()
                .zip(pairs)
                .for_each(|(sum, (a, b))| *sum += weight * (a + b));
        }
        let middle = &padded[half..];
        target
            .iter_mut()
            .zip(middle)
            .for_each(|(sum, v)| *sum += weights[half] * v);
    };
    map.outer_iter()
        .into_par_iter()
        .zip(out.outer_iter_mut())
        .for_each(blur);
    out
}

fn blur_columns(map: &Array2<f32>, weights: &[f32]) -> Array2<f32> {
    let (len, half) = (map.nrows(), weights.len() / 2);
    let mut out = Array2::zeros(map.dim());
    out.outer_iter_mut()
        .into_par_iter()
        .enumerate()
        .for_each(|(y, mut target)| {
            let row = |shift: usize| map.row(mirrored(y + shift, half, len));
            for (above, below, weight) in symmetric_pairs(weights) {
                Zip::from(&mut target)
                    .and(row(above))
                    .and(row(below))
                    .for_each(|sum, a, b| *sum += weight * (a + b));
            }
            Zip::from(&mut target)
                .and(row(half))
                .for_each(|sum, v| *sum += weights[half] * v);
        });
    out
}
