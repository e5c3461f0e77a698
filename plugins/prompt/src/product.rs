//! Matrix products and the small numerics around them, in 32-bit floats.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// `x w^T + b`: rows of `x` `[rows, inner]`, weight `[outer, inner]`, bias `[outer]`, all
/// row-major; gives `[rows, outer]`. One thread does it all.
pub(crate) fn linear(x: &[f32], inner: usize, weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, outer) = (x.len() / inner, weight.len() / inner);
    let mut out = vec![0.0; rows * outer];
    matmul(
        MatMut::from_row_major_slice_mut(&mut out, rows, outer),
        Accum::Replace,
        MatRef::from_row_major_slice(x, rows, inner),
        MatRef::from_row_major_slice(weight, outer, inner).transpose(),
        1.0,
        Par::Seq,
    );
    if let Some(bias) = bias {
        for row in out.chunks_exact_mut(outer) {
            row.iter_mut()
                .zip(bias)
                .for_each(|(value, bias)| *value += bias);
        }
    }
    out
}

/// Inner product, summed in 64-bit floats.
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f64 {
    // Independent sums, so that one addition need not wait for the last.
    const LANES: usize = 8;
    let product = |left: &f32, right: &f32| f64::from(*left) * f64::from(*right);
    let mut lanes = [0.0; LANES];
    let (heads, rests) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = heads.remainder().iter().zip(rests.remainder());
    let rest: f64 = rest.map(|(left, right)| product(left, right)).sum();
    for (left, right) in heads.zip(rests) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += product(left, right);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Layer norm of every row of `x` `[rows, width]`.
pub(crate) fn layer_norm(x: &[f32], gain: &[f32], offset: &[f32], epsilon: f32) -> Vec<f32> {
    let width = gain.len();
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / width as f64;
        let spread = row
            .iter()
            .map(|&value| (f64::from(value) - mean).powi(2))
            .sum::<f64>();
        let scale = 1.0 / (spread / width as f64 + f64::from(epsilon)).sqrt();
        let scaled = |value: f32| ((f64::from(value) - mean) * scale) as f32;
        let affine = gain.iter().zip(offset);
        out.extend(
            row.iter()
                .zip(affine)
                .map(|(&value, (gain, offset))| scaled(value) * gain + offset),
        );
    }
    out
}

/// Scales to unit length; zero stays zero.
pub(crate) fn normalise(values: &mut [f32]) {
    let length = dot(values, values).sqrt();
    if length > 0.0 {
        values
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}
