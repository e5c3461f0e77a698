//! The metrics agree with the published evaluation code (golden files; see `fixtures/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::path::PathBuf;

use ndarray::{Array3, Axis};
use rareclip_metrics::MetricsError;
use rareclip_metrics::{ImageMetrics, PixelAccumulator, PixelMetrics, image_metrics};
use safetensors::SafeTensors;
use serde_json::Value;

const TOLERANCE: f64 = 1e-12;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/metrics")
        .join(name);
    std::fs::read(path).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap()
}

/// `null` and missing mean n/a.
fn assert_close(what: &str, actual: Option<f64>, golden: &Value) {
    match (actual, golden.as_f64()) {
        (Some(actual), Some(golden)) => assert!(
            (actual - golden).abs() <= TOLERANCE,
            "{what}: {actual} instead of {golden}"
        ),
        (actual, golden) => assert_eq!(actual, golden, "{what}"),
    }
}

/// The golden value of a metric that needs both classes. The published code gives 0 or 1 where
/// there is only one, which shows in its AUROC.
fn of_both_classes<'a>(golden: &'a Value, metric: &str, auroc: &str) -> &'a Value {
    match golden[auroc] {
        Value::Null => &Value::Null,
        _ => &golden[metric],
    }
}

fn check_image(case: &str, actual: &ImageMetrics, golden: &Value) {
    let of = |metric| of_both_classes(golden, metric, "auroc_sp");
    assert_close(&format!("{case} AUROC"), actual.auroc, &golden["auroc_sp"]);
    assert_close(&format!("{case} AP"), actual.ap, of("ap_sp"));
    assert_close(&format!("{case} F1"), actual.f1_max, of("f1_sp"));
}

fn check_pixels(case: &str, actual: &PixelMetrics, golden: &Value) {
    assert_close(&format!("{case} AUROC"), actual.auroc, &golden["auroc_px"]);
    let of = |metric| of_both_classes(golden, metric, "auroc_px");
    assert_close(&format!("{case} AP"), actual.ap, of("ap_px"));
    assert_close(&format!("{case} F1"), actual.f1_max, of("f1_px"));
    assert_close(
        &format!("{case} AUPRO"),
        actual.aupro_reference,
        &golden["aupro"],
    );
}

struct PixelCase {
    maps: Array3<f32>,
    masks: Array3<bool>,
}

impl PixelCase {
    fn load(file: &SafeTensors<'_>, case: &str) -> Self {
        let maps = file.tensor(&format!("{case}.maps")).unwrap();
        let masks = file.tensor(&format!("{case}.masks")).unwrap();
        let shape: [usize; 3] = maps.shape().try_into().unwrap();
        let scores = maps
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        Self {
            maps: Array3::from_shape_vec(shape, scores.collect()).unwrap(),
            masks: Array3::from_shape_vec(shape, masks.data().iter().map(|&m| m > 0).collect())
                .unwrap(),
        }
    }

    fn accumulate(&self, mut accumulator: PixelAccumulator) -> PixelAccumulator {
        for (map, mask) in self
            .maps
            .axis_iter(Axis(0))
            .zip(self.masks.axis_iter(Axis(0)))
        {
            accumulator.push(map, Some(mask)).unwrap();
        }
        accumulator
    }
}

fn for_each_pixel_case(mut check: impl FnMut(&str, &PixelCase, &Value, &SafeTensors<'_>)) {
    let bytes = fixture("pixel_level.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let golden = json("pixel_level.json");
    let cases = golden.as_object().unwrap();
    assert_eq!(cases.len(), 10);
    for (case, golden) in cases {
        check(case, &PixelCase::load(&file, case), golden, &file);
    }
}

#[test]
fn image_metrics_match_every_golden_case() {
    let golden = json("image_level.json");
    let cases = golden.as_object().unwrap();
    assert_eq!(cases.len(), 12);
    for (case, golden) in cases {
        let scores: Vec<f64> = serde_json::from_value(golden["scores"].clone()).unwrap();
        let labels: Vec<u8> = serde_json::from_value(golden["labels"].clone()).unwrap();
        let labels: Vec<bool> = labels.into_iter().map(|label| label > 0).collect();
        check_image(
            case,
            &image_metrics(&scores, &labels).unwrap(),
            &golden["result"],
        );
    }
}

#[test]
fn pixel_metrics_match_every_golden_case() {
    for_each_pixel_case(|case, pixels, golden, _| {
        if golden.get("error").is_none() {
            let metrics = pixels.accumulate(PixelAccumulator::default()).finish();
            check_pixels(case, &metrics, golden);
            assert_eq!(metrics.error_bounds, None);
        }
    });
}

#[test]
fn regions_are_counted_as_in_the_golden_cases() {
    for_each_pixel_case(|case, pixels, golden, _| {
        let expected: Vec<u64> =
            serde_json::from_value(golden["regions_per_image"].clone()).unwrap();
        let metrics = pixels.accumulate(PixelAccumulator::default()).finish();
        assert_eq!(metrics.regions, expected.iter().sum::<u64>(), "{case}");
    });
}

#[test]
fn published_aupro_is_an_error_where_the_published_code_raises() {
    let mut errors = Vec::new();
    for_each_pixel_case(|case, pixels, golden, _| {
        let accumulator = pixels.accumulate(PixelAccumulator::default());
        let result = accumulator.aupro_reference();
        assert_eq!(result.is_err(), golden.get("error").is_some(), "{case}");
        if let Err(error) = result {
            let metrics = accumulator.finish();
            assert_eq!(metrics.aupro_reference, None);
            assert_eq!(metrics.notes, [format!("aupro_reference: {error}")]);
            errors.push((case.to_owned(), error));
        }
    });
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    let [
        (full, MetricsError::TooFewPoints { points: 0, .. }),
        (constant, MetricsError::ConstantMaps),
    ] = errors.as_slice()
    else {
        panic!("{errors:?}");
    };
    assert_eq!(
        (full.as_str(), constant.as_str()),
        ("all_full_masks", "constant_map")
    );
}

#[test]
fn published_aupro_curve_matches_point_by_point() {
    let mut curves = 0;
    for_each_pixel_case(|case, pixels, _, file| {
        let stored = |name: &str| -> Option<Vec<f64>> {
            let tensor = file.tensor(&format!("{case}.pro_{name}")).ok()?;
            let values = tensor.data().chunks_exact(8);
            Some(
                values
                    .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
            )
        };
        let Some(thresholds) = stored("threshold") else {
            return;
        };
        curves += 1;
        let curve = pixels
            .accumulate(PixelAccumulator::default())
            .reference_curve()
            .unwrap();
        assert_eq!(curve.thresholds, thresholds, "{case}");
        for (name, actual) in [("fpr", curve.fpr), ("overlap", curve.overlap)] {
            for (actual, golden) in actual.iter().zip(stored(name).unwrap()) {
                let same =
                    (actual - golden).abs() <= TOLERANCE || actual.is_nan() && golden.is_nan();
                assert!(same, "{case} {name}: {actual} instead of {golden}");
            }
        }
    });
    assert_eq!(curves, 9);
}

#[test]
fn both_levels_of_one_set_match() {
    let golden = json("both_levels.json");
    for_each_pixel_case(|case, pixels, _, _| {
        if case == "several_components" {
            let labels: Vec<bool> = pixels
                .masks
                .axis_iter(Axis(0))
                .map(|mask| mask.iter().any(|&m| m))
                .collect();
            let scores: Vec<f64> = pixels
                .maps
                .axis_iter(Axis(0))
                .map(|map| f64::from(map.fold(f32::NEG_INFINITY, |a, &b| a.max(b))))
                .collect();
            check_image(
                case,
                &image_metrics(&scores, &labels).unwrap(),
                &golden["result"],
            );
            let metrics = pixels.accumulate(PixelAccumulator::default()).finish();
            check_pixels(case, &metrics, &golden["result"]);
        }
    });
}

#[test]
fn histogram_values_stay_within_their_error_bounds() {
    for_each_pixel_case(|case, pixels, _, _| {
        let exact = pixels.accumulate(PixelAccumulator::default()).finish();
        let coarse = pixels.accumulate(PixelAccumulator::new(0)).finish();
        let bounds = coarse.error_bounds.unwrap();
        for (name, exact, coarse, bound) in [
            ("AUROC", exact.auroc, coarse.auroc, bounds.auroc),
            ("AP", exact.ap, coarse.ap, bounds.ap),
            ("F1", exact.f1_max, coarse.f1_max, bounds.f1_max),
            ("AUPRO", exact.aupro, coarse.aupro, bounds.aupro),
        ] {
            assert_eq!(exact.is_some(), coarse.is_some(), "{case} {name}");
            if let (Some(exact), Some(coarse)) = (exact, coarse) {
                assert!((exact - coarse).abs() <= bound + 1e-12, "{case} {name}");
                assert!(bound < 0.01, "{case} {name}: bound {bound}");
            }
        }
    });
}
