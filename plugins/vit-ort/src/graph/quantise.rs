//! 8-bit weights: scales, rounding, and the balance between a norm and what reads it.

/// Largest magnitude of a rounded weight: -128 is not used, so that a weight and its negative round
/// alike.
const LARGEST: f32 = 127.0;
/// Share of a channel's range that goes from the activations into the weights, between 0 and 1.
///
/// Measured on DINOv2-S with magnetic-tile images: token errors fall up to about 0.7 and rise after
/// it.
const BALANCE: f32 = 0.7;
/// Ranges below this count as this much.
const TINY: f32 = 1e-6;

/// A weight matrix of 8-bit integers with one scale per output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantised {
    /// `[inner, outer]`: turned, as onnxruntime's integer product takes it.
    pub(crate) values: Vec<i8>,
    /// `[outer]`; a weight is about its integer times the scale of its output.
    pub(crate) scales: Vec<f32>,
}

impl Quantised {
    /// Rounds a weight `[outer, inner]` whose input channel `c` is multiplied by `balance[c]`
    /// first.
    pub(crate) fn new(weight: &[f32], balance: &[f32]) -> Self {
        let inner = balance.len();
        let outer = weight.len() / inner.max(1);
        let mut values = vec![0; weight.len()];
        let mut scales = Vec::with_capacity(outer);
        for (output, row) in weight.chunks_exact(inner.max(1)).enumerate() {
            let row = || {
                row.iter()
                    .zip(balance)
                    .map(|(weight, factor)| weight * factor)
            };
            let largest = row().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let scale = if largest > 0.0 {
                largest / LARGEST
            } else {
                1.0
            };
            for (input, value) in row().enumerate() {
                let rounded = (value / scale).round().clamp(-LARGEST, LARGEST);
                values[input * outer + output] = rounded as i8;
            }
            scales.push(scale);
        }
        Self { values, scales }
    }

    /// The product with an input of ones, `[outer]`.
    pub(crate) fn of_ones(&self) -> Vec<f32> {
        let outer = self.scales.len();
        let mut sums = vec![0_i32; outer];
        for row in self.values.chunks_exact(outer.max(1)) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value);
            }
        }
        sums.iter()
            .zip(&self.scales)
            .map(|(sum, scale)| *sum as f32 * scale)
            .collect()
    }
}

/// The largest magnitude of every input channel of weights `[outer, inner]`, raised to those of
/// `largest` `[inner]`.
pub(crate) fn raise_to_columns(largest: &mut [f32], weight: &[f32]) {
    for row in weight.chunks_exact(largest.len().max(1)) {
        for (largest, value) in largest.iter_mut().zip(row) {
            *largest = largest.max(value.abs());
        }
    }
}

/// What every channel of a norm's output is divided by, and the weights that read it multiplied by,
/// so that neither side has a few channels far larger than the others.
///
/// The idea of SmoothQuant (Xiao et al. 2023), with the norm's gain in the place of measured
/// activations: what leaves the norm before its gain has unit variance.
pub(crate) fn balance(gain: &[f32], columns: &[f32]) -> Vec<f32> {
    gain.iter()
        .zip(columns)
        .map(|(gain, column)| {
            gain.abs().max(TINY).powf(BALANCE) / column.max(TINY).powf(1.0 - BALANCE)
        })
        .collect()
}

/// `weight` `[outer, inner]` times `x` `[inner]`.
pub(crate) fn apply(weight: &[f32], x: &[f32]) -> Vec<f32> {
    weight
        .chunks_exact(x.len().max(1))
        .map(|row| row.iter().zip(x).map(|(weight, x)| weight * x).sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Quantised, apply, balance, raise_to_columns};

    fn ones(count: usize) -> Vec<f32> {
        vec![1.0; count]
    }

    #[test]
    fn integers_are_turned_and_scaled_by_the_largest_of_their_output() {
        let found = Quantised::new(&[1.0, -0.5, 0.0, 0.25, 0.125, -2.54], &ones(3));
        assert_eq!(found.values, [127, 13, -64, 6, 0, -127]);
        assert_eq!(found.scales, [1.0 / 127.0, 2.54 / 127.0]);
    }

    #[test]
    fn an_output_of_zeros_stays_zero() {
        let found = Quantised::new(&[0.0, 0.0, 1.0, 1.0], &ones(2));
        assert_eq!(found.values, [0, 127, 0, 127]);
        assert_eq!(found.of_ones()[0], 0.0);
        assert!(found.scales.iter().all(|scale| scale.is_finite()));
    }

    #[test]
    fn a_channel_that_the_norm_makes_large_is_moved_into_the_weights() {
        let mut columns = vec![0.0; 2];
        raise_to_columns(&mut columns, &[0.1, -0.2, 0.2, 0.1]);
        assert_eq!(columns, [0.2, 0.2]);
        let factors = balance(&[1.0, 100.0], &columns);
        let (before, after) = (100.0, (100.0 / factors[1]) / (1.0 / factors[0]));
        assert!(after < before / 20.0, "{after}");
    }

    proptest! {
        #[test]
        fn no_weight_moves_by_more_than_half_a_step(
            weight in proptest::collection::vec(-3.0_f32..3.0, 12),
            factors in proptest::collection::vec(0.1_f32..10.0, 4),
        ) {
            let found = Quantised::new(&weight, &factors);
            for (index, weight) in weight.iter().enumerate() {
                let (output, input) = (index / 4, index % 4);
                let value = f32::from(found.values[input * 3 + output]) * found.scales[output];
                let expected = weight * factors[input];
                let half = found.scales[output] * 0.5001;
                prop_assert!((value - expected).abs() <= half, "{value} for {expected}");
            }
        }

        #[test]
        fn the_product_with_ones_is_that_of_the_rounded_weights(
            weight in proptest::collection::vec(-3.0_f32..3.0, 12),
        ) {
            let found = Quantised::new(&weight, &ones(4));
            let exact = apply(&weight, &ones(4));
            for ((rounded, exact), scale) in found.of_ones().iter().zip(exact).zip(&found.scales) {
                prop_assert!((rounded - exact).abs() <= 4.0 * 0.5001 * scale + 1e-5);
            }
        }
    }
}
