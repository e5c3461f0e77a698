//! What is done to one row of activations, in loops that compile to vector instructions.

/// Lanes of a reduction.
const LANES: usize = 16;
/// 1.5 * 2^23: what is added to it is rounded to a whole number, found in its lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// Scales are no smaller, so that a row of zeros divides.
const SMALLEST: f32 = 1e-20;
/// The byte that stands for zero where values have either sign.
pub(crate) const MIDDLE: u8 = 128;

/// Folds a row lane by lane.
#[inline(always)]
fn fold(row: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [start; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, *value);
    }
    lanes
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `to[i]` is `(from[i] - lowest) / scale` rounded, plus `middle`.
#[inline(always)]
fn round(from: &[f32], lowest: f32, scale: f32, middle: u8, to: &mut [u8]) {
    let (inverse, base) = (1.0 / scale, ROUNDER + f32::from(middle));
    for (to, value) in to.iter_mut().zip(from) {
        *to = ((value - lowest) * inverse + base).to_bits() as u8;
    }
}

/// Rounds values of either sign to bytes around [`MIDDLE`]; gives their scale.
#[inline(always)]
pub(super) fn to_bytes(row: &[f32], bytes: &mut [u8]) -> f32 {
    let largest = fold(row, 0.0, |largest, value| larger(largest, value.abs()));
    let largest = largest.into_iter().fold(0.0, larger);
    let scale = larger(SMALLEST, largest / 127.0);
    round(row, 0.0, scale, MIDDLE, bytes);
    scale
}

/// Mean of a row and what layer norm multiplies by: the inverse of its standard deviation.
#[inline(always)]
pub(super) fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let sum = |lanes: [f32; LANES]| lanes.into_iter().sum::<f32>();
    let mean = sum(fold(row, 0.0, |total, value| total + value)) / count;
    let spread = fold(row, 0.0, |total, value| {
        total + (value - mean) * (value - mean)
    });
    (mean, 1.0 / (sum(spread) / count + epsilon).sqrt())
}

/// Layer norm without offset, to bytes around [`MIDDLE`]; gives their scale. `scratch` is as long
/// as the row.
#[inline(always)]
pub(super) fn norm_to_bytes(
    row: &[f32],
    gain: &[f32],
    epsilon: f32,
    scratch: &mut [f32],
    bytes: &mut [u8],
) -> f32 {
    let (mean, factor) = moments(row, epsilon);
    for ((out, value), gain) in scratch.iter_mut().zip(row).zip(gain) {
        *out = (value - mean) * factor * gain;
    }
    to_bytes(scratch, bytes)
}

/// `activation(value * factor + bias)`, to bytes from `lowest` on; gives their scale. `scratch` is
/// as long as the row.
#[inline(always)]
pub(super) fn activate_to_bytes(
    row: &[f32],
    factor: f32,
    bias: &[f32],
    (activation, lowest): (impl Fn(f32) -> f32, f32),
    scratch: &mut [f32],
    bytes: &mut [u8],
) -> f32 {
    for ((out, value), bias) in scratch.iter_mut().zip(row).zip(bias) {
        *out = activation(value * factor + bias);
    }
    let largest = fold(scratch, 0.0, larger).into_iter().fold(0.0, larger);
    let scale = (largest - lowest) / 255.0;
    round(scratch, lowest, scale, 0, bytes);
    scale
}

/// `x + row * factor + bias`.
#[inline(always)]
pub(super) fn add_scaled(x: &[f32], row: &[f32], factor: f32, bias: &[f32], out: &mut [f32]) {
    for (((out, x), value), bias) in out.iter_mut().zip(x).zip(row).zip(bias) {
        *out = x + (value * factor + bias);
    }
}

/// `e^x` for `x` up to 0, to about 2e-7 of itself; below -87 as at -87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = larger(-87.0, x);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let power = shifted - ROUNDER;
    // The rounded ln 2 in two parts, so that nothing of x is lost.
    let rest = x - power * 0.693_359_4 + power * 2.121_944_4e-4;
    let mut sum = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    f32::from_bits(sum.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// GELU with the error function to 3e-7 (Abramowitz and Stegun 7.1.28).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let mut sum = 4.306_38e-5;
    for factor in [
        2.765_672e-4,
        1.520_143e-4,
        9.270_527e-3,
        4.228_201e-2,
        7.052_308e-2,
        1.0,
    ] {
        sum = sum * z + factor;
    }
    // Its 16th power is 1 / (1 - erf(z)), infinite where that is too small for a float.
    let (second, half) = (sum * sum, 0.5);
    let fourth = second * second;
    let eighth = fourth * fourth;
    let tail = half / (eighth * eighth);
    // Half of 1 - erf(z): what is left of x where x is negative, and what is missing where it is
    // positive.
    let part = if x > 0.0 { 1.0 - tail } else { tail };
    x * part
}

/// `x` times the logistic function of `1.702 x`.
#[inline(always)]
pub(super) fn quick_gelu(x: f32) -> f32 {
    let small = exp(-1.702 * x.abs());
    let part = if x > 0.0 { 1.0 } else { small };
    x * part / (1.0 + small)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact_gelu(x: f64) -> f64 {
        0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
    }

    #[test]
    fn both_activations_agree_with_their_definitions() {
        for step in -12_000..12_000 {
            let x = step as f32 * 1e-3;
            let wide = f64::from(x);
            let quick = wide / (1.0 + (-1.702 * wide).exp());
            assert!((f64::from(gelu(x)) - exact_gelu(wide)).abs() < 2e-6, "{x}");
            assert!((f64::from(quick_gelu(x)) - quick).abs() < 2e-6, "{x}");
        }
    }

    #[test]
    fn a_row_of_zeros_becomes_the_middle() {
        let mut bytes = [0; 5];
        assert!(to_bytes(&[0.0; 5], &mut bytes) > 0.0);
        assert_eq!(bytes, [MIDDLE; 5]);
    }

    #[test]
    fn the_largest_magnitude_takes_the_last_byte() {
        let mut bytes = [0; 3];
        let scale = to_bytes(&[-2.0, 1.0, 0.0], &mut bytes);
        assert_eq!(bytes, [1, 192, 128]);
        assert_eq!(scale, 2.0 / 127.0);
    }

    proptest! {
        #[test]
        fn bytes_are_within_half_a_step(row in proptest::collection::vec(-50.0_f32..50.0, 1..70)) {
            let mut bytes = vec![0; row.len()];
            let scale = to_bytes(&row, &mut bytes);
            for (value, byte) in row.iter().zip(bytes) {
                let back = (f32::from(byte) - f32::from(MIDDLE)) * scale;
                prop_assert!((value - back).abs() <= 0.5001 * scale, "{} for {}", back, value);
            }
        }

        #[test]
        fn activated_bytes_are_within_half_a_step(row in proptest::collection::vec(-9.0_f32..9.0, 1..70)) {
            let (mut scratch, mut bytes) = (vec![0.0; row.len()], vec![0; row.len()]);
            let bias = vec![0.25; row.len()];
            let scale = activate_to_bytes(&row, 0.5, &bias, (gelu, -0.17), &mut scratch, &mut bytes);
            for (value, byte) in row.iter().zip(bytes) {
                let expected = exact_gelu(f64::from(value * 0.5 + 0.25)) as f32;
                let back = f32::from(byte) * scale - 0.17;
                prop_assert!((expected - back).abs() <= 0.501 * scale + 1e-5, "{} for {}", back, expected);
            }
        }

        #[test]
        fn normed_bytes_have_mean_zero_and_variance_one(row in proptest::collection::vec(-9.0_f32..9.0, 40..70)) {
            let (mut scratch, mut bytes) = (vec![0.0; row.len()], vec![0; row.len()]);
            norm_to_bytes(&row, &vec![1.0; row.len()], 1e-6, &mut scratch, &mut bytes);
            let count = row.len() as f32;
            let mean = scratch.iter().sum::<f32>() / count;
            let variance = scratch.iter().map(|value| value * value).sum::<f32>() / count;
            prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        }
    }
}
