//! What the metrics promise beyond the golden files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use ndarray::{Array2, Array3, Axis, array};
use proptest::prelude::*;
use rareclip_metrics::MetricsError;
use rareclip_metrics::{
    Bootstrap, PixelAccumulator, PixelMetrics, bootstrap_auroc, delong, delong_paired_test,
    image_metrics,
};

fn accumulate(budget: usize, maps: &Array3<f32>, masks: &Array3<bool>) -> PixelMetrics {
    let mut accumulator = PixelAccumulator::new(budget);
    for (map, mask) in maps.axis_iter(Axis(0)).zip(masks.axis_iter(Axis(0))) {
        accumulator.push(map, Some(mask)).unwrap();
    }
    accumulator.finish()
}

/// AUPRO by its definition: every distinct score is a threshold, regions given by their numbers.
fn aupro_by_definition(maps: &Array3<f32>, regions: &Array3<u32>) -> f64 {
    let mut thresholds: Vec<f32> = maps.iter().copied().collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let count = regions.iter().copied().max().unwrap();
    let share = |region: u32, threshold: f32| {
        let of_region = || maps.iter().zip(regions).filter(|(_, r)| **r == region);
        of_region()
            .filter(|(score, _)| **score >= threshold)
            .count() as f64
            / of_region().count() as f64
    };
    let mut points = vec![(0.0, 0.0)];
    for threshold in thresholds {
        let overlap = (1..=count).map(|r| share(r, threshold)).sum::<f64>() / f64::from(count);
        points.push((share(0, threshold), overlap));
    }
    let mut area = 0.0;
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if x0 < 0.3 && x1 > x0 {
            let end = x1.min(0.3);
            let y = y0 + (y1 - y0) * (end - x0) / (x1 - x0);
            area += (end - x0) * (y0 + y) / 2.0;
        }
    }
    area / 0.3
}

/// Two images with three regions of different size, scores with ties.
fn small_set(levels: f32) -> (Array3<f32>, Array3<bool>, Array3<u32>) {
    let mut regions = Array3::zeros((2, 12, 12));
    regions.slice_mut(ndarray::s![0, 1..4, 1..4]).fill(1);
    regions.slice_mut(ndarray::s![0, 8, 2..9]).fill(2);
    regions.slice_mut(ndarray::s![1, 5..7, 5..7]).fill(3);
    let maps = Array3::from_shape_fn((2, 12, 12), |(i, r, c)| {
        let noise = ((i * 7919 + r * 104_729 + c * 1_299_709) % 1009) as f32 / 1009.0;
        let lift = if regions[(i, r, c)] > 0 { 0.35 } else { 0.0 };
        ((noise + lift) * levels).round() / levels
    });
    let masks = regions.mapv(|r: u32| r > 0);
    (maps, masks, regions)
}

#[test]
fn aupro_equals_its_definition() {
    for levels in [5.0, 50.0, 1e6] {
        let (maps, masks, regions) = small_set(levels);
        let aupro = accumulate(usize::MAX, &maps, &masks).aupro.unwrap();
        let expected = aupro_by_definition(&maps, &regions);
        assert!(
            (aupro - expected).abs() < 1e-13,
            "{levels}: {aupro} instead of {expected}"
        );
    }
}

#[test]
fn perfect_map_has_aupro_one() {
    let (_, masks, _) = small_set(1.0);
    let maps = masks.mapv(|defect| if defect { 1.0 } else { 0.0 });
    assert_eq!(accumulate(usize::MAX, &maps, &masks).aupro, Some(1.0));
}

#[test]
fn constant_map_has_the_aupro_of_chance() {
    let (maps, masks, _) = small_set(1.0);
    let metrics = accumulate(usize::MAX, &(maps * 0.0), &masks);
    assert!((metrics.aupro.unwrap() - 0.15).abs() < 1e-15);
    assert_eq!(metrics.auroc, Some(0.5));
}

#[test]
fn no_pixels_give_no_value_and_no_note() {
    let metrics = PixelAccumulator::default().finish();
    assert_eq!(
        (metrics.auroc, metrics.ap, metrics.f1_max),
        (None, None, None)
    );
    assert_eq!((metrics.aupro, metrics.aupro_reference), (None, None));
    assert!(metrics.notes.is_empty());
}

#[test]
fn a_missing_mask_means_no_defect() {
    let map = array![[0.1, 0.2], [0.3, 0.4]];
    let (mut without, mut with) = (PixelAccumulator::default(), PixelAccumulator::default());
    without.push(map.view(), None).unwrap();
    with.push(map.view(), Some(Array2::from_elem((2, 2), false).view()))
        .unwrap();
    assert_eq!(without.finish(), with.finish());
}

#[test]
fn pixels_beyond_the_budget_are_folded_and_the_bounds_hold() {
    let (maps, masks, _) = small_set(1e6);
    let exact = accumulate(usize::MAX, &maps, &masks);
    let folded = accumulate(maps.len() * 2 + 300, &maps, &masks);
    assert!(exact.error_bounds.is_none());
    let bounds = folded.error_bounds.unwrap();
    assert!((exact.auroc.unwrap() - folded.auroc.unwrap()).abs() <= bounds.auroc);
    assert!((exact.aupro.unwrap() - folded.aupro.unwrap()).abs() <= bounds.aupro);
    assert_eq!(folded.aupro_reference, None);
    assert!(
        folded.notes[0].contains("memory budget"),
        "{:?}",
        folded.notes
    );
}

#[test]
fn scores_with_few_distinct_values_lose_nothing_in_the_histogram() {
    let (maps, masks, _) = small_set(64.0);
    let (exact, folded) = (
        accumulate(usize::MAX, &maps, &masks),
        accumulate(0, &maps, &masks),
    );
    assert_eq!(exact.auroc, folded.auroc);
    assert_eq!(exact.f1_max, folded.f1_max);
    assert_eq!(exact.f1_threshold, folded.f1_threshold);
}

#[test]
fn negative_zero_ties_with_zero() {
    let mask = array![[true, false]];
    for budget in [0, usize::MAX] {
        for map in [array![[0.0, -0.0]], array![[-0.0, 0.0]]] {
            let mut accumulator = PixelAccumulator::new(budget);
            accumulator.push(map.view(), Some(mask.view())).unwrap();
            assert_eq!(accumulator.finish().auroc, Some(0.5));
        }
    }
    assert_eq!(
        image_metrics(&[0.0, -0.0], &[true, false]).unwrap().auroc,
        Some(0.5)
    );
}

#[test]
fn a_refused_map_leaves_the_accumulator_unchanged() {
    let mut accumulator = PixelAccumulator::default();
    accumulator.push(array![[0.5]].view(), None).unwrap();
    let error = accumulator
        .push(array![[0.0, 0.0], [0.0, f32::NAN]].view(), None)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("anomaly map 1, row 1, column 1 is NaN"),
        "{error}"
    );
    let error = accumulator
        .push(array![[0.0, 0.0]].view(), Some(array![[true]].view()))
        .unwrap_err();
    assert!(matches!(
        error,
        MetricsError::ShapeMismatch {
            map: (1, 2),
            mask: (1, 1),
            ..
        }
    ));
    assert_eq!((accumulator.images(), accumulator.finish().pixels), (1, 1));
}

#[test]
fn image_scores_must_be_finite_and_labelled() {
    assert!(matches!(
        image_metrics(&[0.1, f64::INFINITY], &[true, false]),
        Err(MetricsError::NonFiniteScore { index: 1, .. })
    ));
    assert!(matches!(
        image_metrics(&[0.1], &[true, false]),
        Err(MetricsError::LengthMismatch {
            left: 1,
            right: 2,
            ..
        })
    ));
}

#[test]
fn one_class_alone_has_no_metrics() {
    for label in [false, true] {
        let metrics = image_metrics(&[0.1, 0.6, 0.5], &[label; 3]).unwrap();
        assert_eq!(
            (metrics.images, metrics.anomalous),
            (3, 3 * usize::from(label))
        );
        assert_eq!(
            (
                metrics.auroc,
                metrics.ap,
                metrics.f1_max,
                metrics.f1_threshold
            ),
            (None, None, None, None)
        );
        // Exact, and folded into a histogram.
        for budget in [usize::MAX, 0] {
            let mut pixels = PixelAccumulator::new(budget);
            let map = array![[0.1, 0.2], [0.3, 0.4]];
            let mask = Array2::from_elem((2, 2), label);
            pixels.push(map.view(), Some(mask.view())).unwrap();
            let metrics = pixels.finish();
            assert_eq!(
                (
                    metrics.auroc,
                    metrics.ap,
                    metrics.f1_max,
                    metrics.f1_threshold
                ),
                (None, None, None, None)
            );
            assert_eq!(metrics.aupro, None);
            if let Some(bounds) = metrics.error_bounds {
                assert_eq!((bounds.auroc, bounds.ap, bounds.f1_max), (0.0, 0.0, 0.0));
            }
        }
    }
}

#[test]
fn no_images_have_no_metrics() {
    let metrics = image_metrics(&[], &[]).unwrap();
    assert_eq!(
        (metrics.auroc, metrics.ap, metrics.f1_max),
        (None, None, None)
    );
}

#[test]
fn best_threshold_reaches_the_best_f1() {
    let metrics = image_metrics(&[0.1, 0.6, 0.5, 0.9], &[false, false, true, true]).unwrap();
    assert_eq!(
        (metrics.f1_max, metrics.f1_threshold),
        (Some(0.8), Some(0.5))
    );
}

/// 60 normal and 40 anomalous scores in steps of 0.01, overlapping.
fn scored_set() -> (Vec<f64>, Vec<f64>, Vec<bool>) {
    let labels: Vec<bool> = (0..100).map(|i| i % 5 < 2).collect();
    let noise = |i: usize, prime: usize| ((i * prime) % 101) as f64 / 100.0;
    let lifted = |prime: usize, lift: f64| {
        let score = |i: usize| noise(i, prime) + if labels[i] { lift } else { 0.0 };
        (0..100).map(score).collect::<Vec<_>>()
    };
    (lifted(37, 0.4), lifted(53, 0.0), labels)
}

#[test]
fn bootstrap_interval_surrounds_the_auroc_and_agrees_with_delong() {
    let (scores, _, labels) = scored_set();
    let interval = bootstrap_auroc(&scores, &labels, &Bootstrap::default())
        .unwrap()
        .unwrap();
    let estimate = delong(&scores, &labels).unwrap().unwrap();
    assert!(interval.low < estimate.auroc && estimate.auroc < interval.high);
    let half_width = 0.5 * (interval.high - interval.low);
    assert!(
        (half_width / (1.96 * estimate.standard_error) - 1.0).abs() < 0.1,
        "{half_width}"
    );
}

#[test]
fn bootstrap_repeats_with_its_seed_only() {
    let (scores, _, labels) = scored_set();
    let run = |seed| {
        let settings = Bootstrap {
            resamples: 200,
            seed,
            ..Bootstrap::default()
        };
        bootstrap_auroc(&scores, &labels, &settings)
            .unwrap()
            .unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn bootstrap_needs_both_classes_and_sensible_settings() {
    let settings = Bootstrap::default();
    assert_eq!(
        bootstrap_auroc(&[0.1, 0.2], &[true, true], &settings).unwrap(),
        None
    );
    for settings in [
        Bootstrap {
            resamples: 0,
            ..settings
        },
        Bootstrap {
            confidence: 1.0,
            ..settings
        },
        Bootstrap {
            confidence: f64::NAN,
            ..settings
        },
    ] {
        let result = bootstrap_auroc(&[0.1, 0.2], &[true, false], &settings);
        assert!(matches!(result, Err(MetricsError::InvalidParameter { .. })));
    }
}

/// DeLong's estimator from the matrix of all pairs.
fn delong_by_definition(differences: impl Fn(usize, usize) -> f64, labels: &[bool]) -> f64 {
    let of = |class| {
        (0..labels.len())
            .filter(|&i| labels[i] == class)
            .collect::<Vec<_>>()
    };
    let (normal, anomalous) = (of(false), of(true));
    let variance = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        squares / (values.len() - 1) as f64 / values.len() as f64
    };
    let mean_over = |other: &[usize], f: &dyn Fn(usize) -> f64| {
        other.iter().map(|&j| f(j)).sum::<f64>() / other.len() as f64
    };
    variance(
        anomalous
            .iter()
            .map(|&i| mean_over(&normal, &|j| differences(i, j)))
            .collect(),
    ) + variance(
        normal
            .iter()
            .map(|&j| mean_over(&anomalous, &|i| differences(i, j)))
            .collect(),
    )
}

fn wins(scores: &[f64], anomalous: usize, normal: usize) -> f64 {
    match scores[anomalous].total_cmp(&scores[normal]) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    }
}

#[test]
fn delong_variance_equals_its_definition() {
    let (scores, _, labels) = scored_set();
    let estimate = delong(&scores, &labels).unwrap().unwrap();
    let expected = delong_by_definition(|i, j| wins(&scores, i, j), &labels);
    assert!((estimate.variance - expected).abs() < 1e-15);
    let auroc = image_metrics(&scores, &labels).unwrap().auroc.unwrap();
    assert!((estimate.auroc - auroc).abs() < 1e-14);
}

#[test]
fn paired_test_equals_its_definition() {
    let (a, b, labels) = scored_set();
    let test = delong_paired_test(&a, &b, &labels).unwrap().unwrap();
    let variance = delong_by_definition(|i, j| wins(&a, i, j) - wins(&b, i, j), &labels);
    assert!((test.standard_error - variance.sqrt()).abs() < 1e-14);
    assert!((test.z.unwrap() - (test.auroc_a - test.auroc_b) / variance.sqrt()).abs() < 1e-12);
    assert!(test.p_value.unwrap() > 0.0 && test.p_value.unwrap() < 0.05);
}

#[test]
fn paired_test_of_a_detector_with_itself_finds_nothing() {
    let (scores, _, labels) = scored_set();
    let test = delong_paired_test(&scores, &scores, &labels)
        .unwrap()
        .unwrap();
    assert_eq!(
        (test.difference, test.z, test.p_value),
        (0.0, None, Some(1.0))
    );
}

#[test]
fn delong_needs_two_images_of_each_class() {
    assert_eq!(
        delong(&[0.1, 0.2, 0.3], &[true, false, false]).unwrap(),
        None
    );
    assert_eq!(delong_paired_test(&[0.1], &[0.2], &[true]).unwrap(), None);
}

fn labelled_scores() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0_u8..12, any::<bool>()), 1..60)
}

proptest! {
    #[test]
    fn metrics_depend_on_the_order_of_scores_only(set in labelled_scores()) {
        let labels: Vec<bool> = set.iter().map(|entry| entry.1).collect();
        let plain: Vec<f64> = set.iter().map(|entry| f64::from(entry.0)).collect();
        let warped: Vec<f64> = plain.iter().map(|score| (score / 3.0).exp() - 7.0).collect();
        let (a, b) = (image_metrics(&plain, &labels).unwrap(), image_metrics(&warped, &labels).unwrap());
        prop_assert_eq!((a.auroc, a.ap, a.f1_max), (b.auroc, b.ap, b.f1_max));
    }

    #[test]
    fn negated_scores_mirror_the_auroc(set in labelled_scores()) {
        let labels: Vec<bool> = set.iter().map(|entry| entry.1).collect();
        let scores: Vec<f64> = set.iter().map(|entry| f64::from(entry.0)).collect();
        let negated: Vec<f64> = scores.iter().map(|score| -score).collect();
        let auroc = |scores: &[f64]| image_metrics(scores, &labels).unwrap().auroc;
        match (auroc(&scores), auroc(&negated)) {
            (Some(a), Some(b)) => prop_assert!((a + b - 1.0).abs() < 1e-12),
            (a, b) => prop_assert_eq!(a, b),
        }
    }

}

proptest! {
    // Every case fills a histogram of tens of megabytes.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn histogram_bounds_hold_on_any_map(
        cells in prop::collection::vec((0.9_f32..1.1, any::<bool>()), 64),
        unit in prop::sample::select(vec![1e-4_f32, 1.0, 1e4]),
    ) {
        let maps = Array3::from_shape_fn((1, 8, 8), |(_, r, c)| cells[r * 8 + c].0 * unit);
        let masks = Array3::from_shape_fn((1, 8, 8), |(_, r, c)| cells[r * 8 + c].1);
        let (exact, folded) = (accumulate(usize::MAX, &maps, &masks), accumulate(0, &maps, &masks));
        let bounds = folded.error_bounds.unwrap();
        for (exact, folded, bound) in [
            (exact.auroc, folded.auroc, bounds.auroc),
            (exact.ap, folded.ap, bounds.ap),
            (exact.f1_max, folded.f1_max, bounds.f1_max),
            (exact.aupro, folded.aupro, bounds.aupro),
        ] {
            if let (Some(exact), Some(folded)) = (exact, folded) {
                prop_assert!((exact - folded).abs() <= bound + 1e-12, "{} {} {}", exact, folded, bound);
            }
        }
    }
}
