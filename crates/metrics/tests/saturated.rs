//! sPRO by hand: Bergmann et al., Beyond Dents and Scratches, IJCV 2022, section 4.2.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use ndarray::{Array2, array};
use proptest::prelude::*;
use rareclip_metrics::MetricsError;
use rareclip_metrics::{
    AUPRO_FPR_LIMIT, PixelAccumulator, SaturatedRegion, SproAccumulator, SproMetrics,
};

fn region(mask: Array2<u8>, share: f64) -> SaturatedRegion {
    let mask = mask.mapv(|value| value > 0);
    SaturatedRegion { mask, share }
}

fn spro(map: Array2<f32>, regions: &[SaturatedRegion]) -> SproMetrics {
    let mut metric = SproAccumulator::default();
    metric.push(map.view(), regions).unwrap();
    metric.finish()
}

/// 20 normal pixels with scores 0.00, 0.01 ... 0.19 in reading order, and a row of four that belong
/// to regions.
fn map(defect: [f32; 4]) -> Array2<f32> {
    Array2::from_shape_fn((6, 4), |(row, column)| match row {
        5 => defect[column],
        _ => (4 * row + column) as f32 / 100.0,
    })
}

fn row(cells: [u8; 4], share: f64) -> SaturatedRegion {
    let mask = Array2::from_shape_fn((6, 4), |(row, column)| match row {
        5 => cells[column],
        _ => 0,
    });
    region(mask, share)
}

fn near(found: Option<f64>, expected: f64) {
    assert!(
        (found.unwrap() - expected).abs() < 1e-12,
        "{found:?}, expected {expected}"
    );
}

#[test]
fn half_of_a_region_found_is_half_an_overlap_without_saturation() {
    // Two pixels of four stand above all normal ones, two below all: 0.5 at every rate below 1. The
    // curve begins with the points (0, 0.25) and (0, 0.5), straight up.
    let found = spro(map([0.9, 0.8, -1.0, -2.0]), &[row([1, 1, 1, 1], 1.0)]);
    near(found.area_005, 0.5);
    near(found.area_03, 0.5);
    assert_eq!(found.regions, 1);
}

#[test]
fn half_of_a_region_found_is_all_of_it_where_half_saturates_it() {
    let found = spro(map([0.9, 0.8, -1.0, -2.0]), &[row([1, 1, 1, 1], 0.5)]);
    near(found.area_005, 1.0);
    near(found.area_03, 1.0);
}

#[test]
fn a_saturation_between_two_pixels_counts_in_part() {
    // Saturated at 3 of 4 pixels, 2 are found: 2 / 3.
    let found = spro(map([0.9, 0.8, -1.0, -2.0]), &[row([1, 1, 1, 1], 0.75)]);
    near(found.area_03, 2.0 / 3.0);
    // Saturated at 2.5 pixels: 0.8.
    let found = spro(map([0.9, 0.8, -1.0, -2.0]), &[row([1, 1, 1, 1], 0.625)]);
    near(found.area_03, 0.8);
}

#[test]
fn the_area_ends_at_the_limit_between_two_thresholds() {
    // One region is found at once. The other saturates with its pixel of 0.175, below two of the
    // twenty normal ones: it adds nothing up to a rate of 0.1, and all from there, which is nothing
    // of 0.05 and two thirds of 0.3.
    let found = spro(
        map([0.175, -1.0, 0.3, 0.3]),
        &[row([1, 1, 0, 0], 0.5), row([0, 0, 1, 1], 1.0)],
    );
    near(found.area_005, 0.5);
    near(found.area_03, (1.0 + 2.0 / 3.0) / 2.0);
}

#[test]
fn equal_scores_share_a_threshold_and_the_curve_is_straight_through_it() {
    // All 24 pixels have one score: from (0, 0) straight to (1, 1); the area to 0.3 is 0.045 of
    // 0.3.
    let found = spro(Array2::zeros((6, 4)), &[row([1, 1, 1, 1], 0.25)]);
    near(found.area_005, 0.025);
    near(found.area_03, 0.15);
}

#[test]
fn regions_of_several_images_weigh_the_same_whatever_their_size() {
    let mut metric = SproAccumulator::default();
    // One pixel, found; four pixels, none found before any normal one; an image without defects.
    let first = row([1, 0, 0, 0], 1.0);
    metric
        .push(map([0.9, 0.0, 0.0, 0.0]).view(), &[first])
        .unwrap();
    metric
        .push(map([-1.0; 4]).view(), &[row([1; 4], 0.5)])
        .unwrap();
    metric.push(map([0.0; 4]).view(), &[]).unwrap();
    let found = metric.finish();
    assert_eq!(found.regions, 2);
    near(found.area_03, 0.5);
}

#[test]
fn pixels_of_two_regions_count_in_both_and_are_not_normal() {
    let both = [row([1, 1, 0, 0], 1.0), row([0, 1, 1, 1], 1.0)];
    // The first region is found whole, of the second one of three pixels.
    let found = spro(map([0.9, 0.8, -1.0, -1.0]), &both);
    near(found.area_005, (1.0 + 1.0 / 3.0) / 2.0);
}

#[test]
fn without_regions_or_normal_pixels_it_is_not_defined() {
    let found = spro(map([0.0; 4]), &[]);
    assert_eq!(
        (found.regions, found.area_005, found.area_03),
        (0, None, None)
    );
    // A region that lost its pixels when the mask was made smaller is left out.
    let found = spro(map([0.0; 4]), &[row([0; 4], 1.0)]);
    assert_eq!((found.regions, found.area_03), (0, None));
    let found = spro(array![[0.5, 0.6]], &[region(array![[1, 1]], 1.0)]);
    assert_eq!((found.regions, found.area_03), (1, None));
}

#[test]
fn wrong_input_is_named_and_adds_nothing() {
    let mut metric = SproAccumulator::default();
    let wrong = [
        metric.push(array![[0.0]].view(), &[region(array![[1, 0]], 1.0)]),
        metric.push(array![[f32::NAN]].view(), &[]),
        metric.push(array![[0.0]].view(), &[region(array![[1]], 0.0)]),
        metric.push(array![[0.0]].view(), &[region(array![[1]], f64::NAN)]),
    ];
    assert!(matches!(
        wrong,
        [
            Err(MetricsError::ShapeMismatch { image: 0, .. }),
            Err(MetricsError::NonFinitePixel { image: 0, .. }),
            Err(MetricsError::Saturation { image: 0, .. }),
            Err(MetricsError::Saturation { image: 0, .. }),
        ]
    ));
    assert_eq!(metric.finish().regions, 0);
}

proptest! {
    #[test]
    fn unsaturated_and_of_one_connected_region_an_image_it_is_the_aupro(
        scores in prop::collection::vec(-3_i8..4, 24),
        width in 1_usize..5,
    ) {
        let map = Array2::from_shape_vec((6, 4), scores.iter().map(|v| f32::from(*v)).collect()).unwrap();
        let cells = std::array::from_fn(|column| u8::from(column < width));
        let region = row(cells, 1.0);
        let mut aupro = PixelAccumulator::default();
        aupro.push(map.view(), Some(region.mask.view())).unwrap();
        let expected = aupro.finish().aupro.unwrap();
        let found = spro(map, &[region]).area_03.unwrap();
        prop_assert_eq!(AUPRO_FPR_LIMIT, 0.3);
        prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
    }

    #[test]
    fn a_smaller_saturation_never_lowers_it(
        scores in prop::collection::vec(-3_i8..4, 24),
        low in 0.05_f64..1.0,
        step in 0.0_f64..0.5,
    ) {
        let map = Array2::from_shape_vec((6, 4), scores.iter().map(|v| f32::from(*v)).collect()).unwrap();
        let area = |share: f64| spro(map.clone(), &[row([1; 4], share.min(1.0))]).area_03.unwrap();
        prop_assert!(area(low) >= area(low + step) - 1e-12);
        prop_assert!((0.0..=1.0).contains(&area(low)));
    }
}
