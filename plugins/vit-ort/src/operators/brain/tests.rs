//! Products of brain floats against arithmetic in 64 bits.

use proptest::prelude::*;
use rareclip_testkit::skipped;

use super::Dots;
use super::panels::{Panels, brain};

/// Relative error of rounding to a brain float: it has 8 significant bits.
const ROUNDING: f64 = 1.0 / 256.0;

fn dots(test: &str) -> Option<Dots> {
    let found = Dots::detect();
    if found.is_none() {
        skipped(test, "a processor with avx512f, avx512bw and avx512bf16");
    }
    found
}

/// `x W^T` by [`Panels`], `[rows, outer]`, for `x` `[rows, inner]` and `weight` `[outer, inner]`.
fn products(dots: Dots, x: &[f32], weight: &[f32], inner: usize) -> Vec<f32> {
    let panels = Panels::new(weight, inner, None);
    let x: Vec<u16> = x.iter().copied().map(brain).collect();
    let outer = weight.len() / inner;
    let mut out = vec![f32::MAX; x.len() / inner * outer];
    panels.multiply(dots, &x, |row, column, sums| {
        let at = row * outer + column;
        out[at..at + sums.len()].copy_from_slice(sums);
    });
    out
}

/// For every output: the exact product, and the sum of the magnitudes of what is added up in it.
fn exact(x: &[f32], weight: &[f32], inner: usize) -> Vec<(f64, f64)> {
    let terms = |x: &[f32], weight: &[f32]| -> Vec<f64> {
        let pairs = x.iter().zip(weight);
        pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).collect()
    };
    x.chunks(inner)
        .flat_map(|x| weight.chunks(inner).map(move |w| terms(x, w)))
        .map(|terms| {
            (
                terms.iter().sum(),
                terms.iter().map(|term| term.abs()).sum(),
            )
        })
        .collect()
}

fn rounded(values: &[f32]) -> Vec<f32> {
    let widened = |value: &f32| f32::from_bits(u32::from(brain(*value)) << 16);
    values.iter().map(widened).collect()
}

/// Rows, weight and their inner length; rows, columns and inner lengths that fill no tile among
/// them.
fn operands(
    value: impl Strategy<Value = f32> + Clone,
) -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
    (1..20_usize, 1..150_usize, 1..70_usize).prop_flat_map(move |(rows, outer, inner)| {
        let values = |count| proptest::collection::vec(value.clone(), count);
        (values(rows * inner), values(outer * inner), Just(inner))
    })
}

#[test]
fn a_panel_of_two_inputs_multiplies_and_adds() {
    let Some(dots) = dots("brain products, by hand") else {
        return;
    };
    let found = products(
        dots,
        &[1.0, 2.0, -3.0, 0.5],
        &[1.0, 0.0, 0.25, -4.0, 2.0, 2.0],
        2,
    );
    assert_eq!(found, [1.0, -7.75, 6.0, -3.0, -2.75, -5.0]);
}

#[test]
fn the_factors_of_the_outputs_are_in_the_weights() {
    let Some(dots) = dots("brain products with factors") else {
        return;
    };
    let panels = Panels::new(&[1.0, 2.0, 3.0, 4.0], 2, Some(&[0.5, -2.0]));
    let mut found = Vec::new();
    panels.multiply(dots, &[brain(1.0), brain(1.0)], |_, _, sums| {
        found.extend_from_slice(sums);
    });
    assert_eq!(found, [1.5, -14.0]);
}

#[test]
fn half_way_between_two_brain_floats_the_even_one_is_taken() {
    let step = 1.0 / 128.0;
    for (value, expected) in [
        (1.0 + 0.5 * step, 1.0),
        (1.0 + 1.5 * step, 1.0 + 2.0 * step),
        (-1.0 - 0.5 * step, -1.0),
        (f32::MAX, f32::INFINITY),
    ] {
        assert_eq!(rounded(&[value]), [expected]);
    }
}

#[test]
fn every_float_is_rounded_as_the_standard_says() {
    proptest!(|(bits in any::<u32>())| {
        let value = f32::from_bits(bits);
        let expected = half::bf16::from_f32(value);
        if value.is_nan() {
            prop_assert!(half::bf16::from_bits(brain(value)).is_nan());
        } else {
            prop_assert_eq!(brain(value), expected.to_bits());
        }
    });
}

#[test]
fn products_are_those_of_the_rounded_operands_up_to_the_rounding_of_sums() {
    let Some(dots) = dots("brain products of rounded operands") else {
        return;
    };
    proptest!(|((x, weight, inner) in operands(-8.0_f32..8.0))| {
        let found = products(dots, &x, &weight, inner);
        let expected = exact(&rounded(&x), &rounded(&weight), inner);
        prop_assert_eq!(found.len(), expected.len());
        let bound = inner as f64 * f64::from(f32::EPSILON);
        for (found, (expected, magnitude)) in found.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            prop_assert!(error <= bound * magnitude, "{found} for {expected}");
        }
    });
}

#[test]
fn products_are_within_the_rounding_of_two_operands() {
    let Some(dots) = dots("brain products within rounding") else {
        return;
    };
    proptest!(|((x, weight, inner) in operands(-8.0_f32..8.0))| {
        let found = products(dots, &x, &weight, inner);
        let sums = inner as f64 * f64::from(f32::EPSILON);
        let bound = (1.0 + ROUNDING) * (1.0 + ROUNDING) * (1.0 + sums) - 1.0;
        for (found, (expected, magnitude)) in found.iter().zip(exact(&x, &weight, inner)) {
            let error = (f64::from(*found) - expected).abs();
            prop_assert!(error <= bound * magnitude, "{found} for {expected}");
        }
    });
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    let Some(dots) = dots("brain products row by row") else {
        return;
    };
    proptest!(|((x, weight, inner) in operands(-8.0_f32..8.0))| {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let alone = x.chunks(inner).flat_map(|x| products(dots, x, &weight, inner)).collect();
        prop_assert_eq!(bits(products(dots, &x, &weight, inner)), bits(alone));
    });
}

#[test]
fn what_is_not_finite_goes_where_it_goes_in_32_bits() {
    let Some(dots) = dots("brain products that are not finite") else {
        return;
    };
    let value = prop_oneof![
        60 => -8.0_f32..8.0,
        2 => Just(0.0),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::NAN),
    ];
    proptest!(|((x, weight, inner) in operands(value))| {
        let found = products(dots, &x, &weight, inner);
        for (found, (expected, _)) in found.iter().zip(exact(&x, &weight, inner)) {
            prop_assert_eq!(found.is_nan(), expected.is_nan(), "{} for {}", found, expected);
            if expected.is_infinite() || found.is_infinite() {
                prop_assert_eq!(f64::from(*found), expected);
            }
        }
    });
}
