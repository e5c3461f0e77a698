//! What holds for any images.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

mod common;

use common::{WIDTH, fitted, from_values, gaussian, image, rarity, subspace};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;

const VALUES: usize = 2 * 4 * WIDTH;

fn images(count: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    vec(vec(-4.0f32..4.0, VALUES), count)
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.iter()
        .zip(b)
        .all(|(a, b)| (a - b).abs() <= tolerance * a.abs().max(1.0))
}

proptest! {
    #[test]
    fn adding_a_constant_to_all_images_changes_no_distance(
        all in images(6),
        offset in vec(-8.0f32..8.0, VALUES),
    ) {
        let moved: Vec<_> = all
            .iter()
            .map(|values| values.iter().zip(&offset).map(|(value, offset)| value + offset).collect())
            .collect::<Vec<Vec<f32>>>();
        let distances = |all: &[Vec<f32>]| {
            let normals: Vec<_> = all[1..].iter().map(|values| from_values(values)).collect();
            rarity(&*fitted(&gaussian(), &normals), &from_values(&all[0]))
        };
        let (here, there) = (distances(&all), distances(&moved));
        prop_assert!(close(&here, &there, 1e-3), "{here:?} {there:?}");
    }

    #[test]
    fn the_order_of_the_normals_changes_no_distance(all in images(6)) {
        let distances = |order: [usize; 5]| {
            let normals: Vec<_> = order.iter().map(|&at| from_values(&all[at])).collect();
            let query = from_values(&all[5]);
            let gaussian = rarity(&*fitted(&gaussian(), &normals), &query);
            (gaussian, rarity(&*fitted(&subspace(0.8), &normals), &query))
        };
        let (here, there) = (distances([0, 1, 2, 3, 4]), distances([3, 0, 4, 2, 1]));
        prop_assert!(close(&here.0, &there.0, 1e-3), "{here:?} {there:?}");
        prop_assert!(close(&here.1, &there.1, 1e-3), "{here:?} {there:?}");
    }

    #[test]
    fn what_lies_in_the_subspace_of_the_normals_has_no_residual(
        weights in vec(vec(-3.0f32..3.0, 2), 12),
        asked in vec(vec(-3.0f32..3.0, 2), 4),
        axes in vec(vec(-1.0f32..1.0, WIDTH), 2),
        origin in vec(-2.0f32..2.0, WIDTH),
    ) {
        // All patches lie in the plane of two axes through an origin.
        let plane = |weights: &[Vec<f32>]| {
            let tokens = Array2::from_shape_fn((4, WIDTH), |(patch, at)| {
                origin[at] + weights[patch][0] * axes[0][at] + weights[patch][1] * axes[1][at]
            });
            image(tokens.clone(), tokens)
        };
        let normals: Vec<_> = weights.chunks(4).map(plane).collect();
        let bank = fitted(&subspace(0.999_999_9), &normals);
        let scale: f32 = weights.iter().flatten().map(|weight| weight * weight).sum();
        let residual = rarity(&*bank, &plane(&asked));
        // A plane that the normals fill so thinly that its second axis does not count is none.
        let thin = bank.status().prototypes < 2;
        prop_assert!(thin || residual.iter().all(|&value| value < 1e-4 * scale.max(1.0)), "{residual:?}");
    }

    #[test]
    fn no_residual_is_longer_than_the_way_from_the_mean(all in images(4)) {
        let normals: Vec<_> = all[1..].iter().map(|values| from_values(values)).collect();
        let query = from_values(&all[0]);
        let loose = rarity(&*fitted(&subspace(0.3), &normals), &query);
        let tight = rarity(&*fitted(&subspace(0.95), &normals), &query);
        prop_assert!(tight.iter().zip(&loose).all(|(tight, loose)| *tight <= loose + 1e-4));
        prop_assert!(tight.iter().all(|value| *value >= 0.0));
    }
}
