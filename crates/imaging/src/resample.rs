//! Pillow's 8-bit resampling in exact integer arithmetic.
//!
//! A separable filter in two passes, horizontal first unless the height shrinks much more than the
//! width. The support widens when shrinking (antialiasing), weights sum to 1 and are rounded to 22
//! fractional bits, and each pass rounds and clips to 0..=255, so that the order of the passes
//! shows in the last bits. A side that already fits is not resampled.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::picture::mul_div_255;

/// Interpolation filter for resizing pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The nearest pixel; no averaging.
    Nearest,
    /// Triangle filter of support 1.
    Bilinear,
    /// Cubic convolution with a = -0.5, support 2.
    #[default]
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Filter::Nearest => f64::from(x <= 0.5),
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Filter::Bicubic => 0.0,
        }
    }
}

/// Fractional bits of a weight: 32 minus 8 for the value and 2 for overshoot.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// The taps of every output position along one side.
struct Taps<W> {
    /// First source index and number of taps.
    ranges: Vec<(usize, usize)>,
    /// `stride` weights per output position, zero beyond its number of taps.
    weights: Vec<W>,
    stride: usize,
}

impl Taps<f64> {
    fn new(source: usize, target: usize, filter: Filter) -> Self {
        let scale = source as f64 / target as f64;
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let mut ranges = Vec::with_capacity(target);
        let mut weights = vec![0.0; target * stride];
        for (i, slot) in weights.chunks_exact_mut(stride).enumerate() {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let count = end.saturating_sub(first);
            let inverse = 1.0 / filter_scale;
            let mut sum = 0.0;
            for (x, weight) in slot[..count].iter_mut().enumerate() {
                *weight = filter.at(((x + first) as f64 - center + 0.5) * inverse);
                sum += *weight;
            }
            if sum != 0.0 {
                slot[..count].iter_mut().for_each(|weight| *weight /= sum);
            }
            ranges.push((first, count));
        }
        Self {
            ranges,
            weights,
            stride,
        }
    }

    fn to_fixed(&self) -> Taps<i32> {
        let fixed = |w: &f64| {
            let scaled = w * f64::from(1u32 << PRECISION);
            (scaled + 0.5f64.copysign(*w)) as i32
        };
        Taps {
            ranges: self.ranges.clone(),
            weights: self.weights.iter().map(fixed).collect(),
            stride: self.stride,
        }
    }
}

impl<W> Taps<W> {
    fn of(&self, i: usize) -> (usize, &[W]) {
        let (first, count) = self.ranges[i];
        (
            first,
            &self.weights[i * self.stride..i * self.stride + count],
        )
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resizes interleaved 8-bit pixels of `C` channels from `size` to `target` (width, height).
pub(crate) fn resample<const C: usize>(
    data: Vec<u8>,
    size: (usize, usize),
    target: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    if size == target {
        return data;
    }
    if filter == Filter::Nearest {
        return nearest::<C>(&data, size, target);
    }
    if vertical_first(size, target) {
        let data = vertical(data, size.0 * C, size.1, target.1, filter);
        horizontal::<C>(data, size.0, target.0, filter)
    } else {
        let data = horizontal::<C>(data, size.0, target.0, filter);
        vertical(data, target.0 * C, size.1, target.1, filter)
    }
}

/// Whether Pillow (13 and later) runs the vertical pass first: the height loses more than twice as
/// many pixels as the width.
fn vertical_first(
    (width, height): (usize, usize),
    (out_width, out_height): (usize, usize),
) -> bool {
    out_height < height && height - out_height > 2 * width.saturating_sub(out_width)
}

fn horizontal<const C: usize>(
    data: Vec<u8>,
    width: usize,
    out_width: usize,
    filter: Filter,
) -> Vec<u8> {
    if width == out_width {
        return data;
    }
    let taps = Taps::new(width, out_width, filter).to_fixed();
    let mut out = vec![0u8; data.len() / width * out_width];
    out.par_chunks_exact_mut(out_width * C)
        .zip(data.par_chunks_exact(width * C))
        .for_each(|(out_row, row)| {
            let (row, _) = row.as_chunks::<C>();
            let (out_row, _) = out_row.as_chunks_mut::<C>();
            for (i, pixel) in out_row.iter_mut().enumerate() {
                let (first, weights) = taps.of(i);
                let mut sums = [HALF; C];
                for (source, &weight) in row[first..first + weights.len()].iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(source) {
                        *sum += i32::from(value) * weight;
                    }
                }
                *pixel = sums.map(clip);
            }
        });
    out
}

fn vertical(
    data: Vec<u8>,
    row_len: usize,
    height: usize,
    out_height: usize,
    filter: Filter,
) -> Vec<u8> {
    if height == out_height {
        return data;
    }
    let taps = Taps::new(height, out_height, filter).to_fixed();
    let mut out = vec![0u8; out_height * row_len];
    out.par_chunks_exact_mut(row_len).enumerate().for_each_init(
        || vec![0i32; row_len],
        |sums, (i, out_row)| {
            let (first, weights) = taps.of(i);
            sums.fill(HALF);
            for (row, &weight) in data[first * row_len..].chunks_exact(row_len).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (value, &sum) in out_row.iter_mut().zip(sums.iter()) {
                *value = clip(sum);
            }
        },
    );
    out
}

/// Source indices of the nearest filter. The position is accumulated, not multiplied, because the
/// rounding of that sum decides ties and Pillow accumulates.
fn nearest_indices(source: usize, target: usize) -> Vec<usize> {
    let step = source as f64 / target as f64;
    let mut position = step * 0.5;
    let mut indices = Vec::with_capacity(target);
    for _ in 0..target {
        indices.push((position as usize).min(source - 1));
        position += step;
    }
    indices
}

fn nearest<const C: usize>(
    data: &[u8],
    (width, height): (usize, usize),
    (out_width, out_height): (usize, usize),
) -> Vec<u8> {
    let columns = nearest_indices(width, out_width);
    let mut out = Vec::with_capacity(out_width * out_height * C);
    for y in nearest_indices(height, out_height) {
        let (row, _) = data[y * width * C..(y + 1) * width * C].as_chunks::<C>();
        out.extend(columns.iter().flat_map(|&x| row[x]));
    }
    out
}

/// Resizes colour with alpha: colours are premultiplied, resampled and divided again, so that
/// transparent pixels lend no colour. `C` counts alpha, which is the last channel.
pub(crate) fn resample_alpha<const C: usize>(
    mut data: Vec<u8>,
    size: (usize, usize),
    target: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    if size == target || filter == Filter::Nearest {
        return resample::<C>(data, size, target, filter);
    }
    for pixel in data.as_chunks_mut::<C>().0 {
        let alpha = pixel[C - 1];
        pixel[..C - 1]
            .iter_mut()
            .for_each(|v| *v = mul_div_255(*v, alpha));
    }
    let mut out = resample::<C>(data, size, target, filter);
    for pixel in out.as_chunks_mut::<C>().0 {
        let alpha = u32::from(pixel[C - 1]);
        if alpha != 0 && alpha != 255 {
            let divide = |v: &mut u8| *v = (255 * u32::from(*v) / alpha).min(255) as u8;
            pixel[..C - 1].iter_mut().for_each(divide);
        }
    }
    out
}

/// Resizes 16-bit gray with 64-bit float weights, rounding and clipping after each pass.
pub(crate) fn resample_gray16(
    data: Vec<u16>,
    size: (usize, usize),
    target: (usize, usize),
    filter: Filter,
) -> Vec<u16> {
    if size == target {
        return data;
    }
    let (width, height) = size;
    let (out_width, out_height) = target;
    if filter == Filter::Nearest {
        let columns = nearest_indices(width, out_width);
        return nearest_indices(height, out_height)
            .into_iter()
            .flat_map(|y| columns.iter().map(move |&x| y * width + x))
            .map(|at| data[at])
            .collect();
    }
    if vertical_first(size, target) {
        let data = vertical_gray16(data, width, height, out_height, filter);
        horizontal_gray16(data, width, out_width, filter)
    } else {
        let data = horizontal_gray16(data, width, out_width, filter);
        vertical_gray16(data, out_width, height, out_height, filter)
    }
}

fn round_gray16(sum: f64) -> u16 {
    sum.round().clamp(0.0, 65_535.0) as u16
}

fn horizontal_gray16(data: Vec<u16>, width: usize, out_width: usize, filter: Filter) -> Vec<u16> {
    if width == out_width {
        return data;
    }
    let taps = Taps::new(width, out_width, filter);
    data.par_chunks_exact(width)
        .flat_map_iter(|row| {
            (0..out_width).map(|i| {
                let (first, weights) = taps.of(i);
                let pairs = row[first..].iter().zip(weights);
                round_gray16(pairs.map(|(&v, w)| f64::from(v) * w).sum())
            })
        })
        .collect()
}

fn vertical_gray16(
    data: Vec<u16>,
    width: usize,
    height: usize,
    out_height: usize,
    filter: Filter,
) -> Vec<u16> {
    if height == out_height {
        return data;
    }
    let taps = Taps::new(height, out_height, filter);
    (0..out_height)
        .into_par_iter()
        .flat_map_iter(|i| {
            let (first, weights) = taps.of(i);
            let data = &data;
            (0..width).map(move |x| {
                let column = (first..).map(|y| f64::from(data[y * width + x]));
                round_gray16(weights.iter().zip(column).map(|(w, v)| v * w).sum())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertical_pass_comes_first_where_the_height_loses_more_than_twice_the_width() {
        assert!(vertical_first((60, 75), (70, 70)));
        assert!(vertical_first((61, 21), (60, 18)));
        assert!(!vertical_first((9, 16), (8, 14)));
        assert!(!vertical_first((60, 65), (70, 70)));
        assert!(!vertical_first((780, 620), (518, 518)));
    }

    #[test]
    fn fixed_weights_of_one_position_sum_to_one() {
        for (source, target) in [(780, 518), (100, 70), (48, 518), (7, 3)] {
            let taps = Taps::new(source, target, Filter::Bicubic).to_fixed();
            for i in 0..target {
                let (_, weights) = taps.of(i);
                let off = weights.iter().sum::<i32>() - (1 << PRECISION);
                assert!(
                    off.unsigned_abs() as usize <= weights.len(),
                    "{source} {target} {off}"
                );
            }
        }
    }
}
