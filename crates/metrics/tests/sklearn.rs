//! The metrics agree with scikit-learn on random sets with ties and with one class.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rareclip_metrics::{PixelAccumulator, delong, delong_paired_test, image_metrics};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Case {
    labels: Vec<u8>,
    scores: Vec<f32>,
    other: Vec<f32>,
}

#[derive(Deserialize)]
struct Values {
    auroc: Option<f64>,
    ap: Option<f64>,
    f1_max: Option<f64>,
    variance: Option<f64>,
    p_value: Option<f64>,
}

/// 2 to 400 samples, 2 to 10^5 distinct scores, 0 to 100 % anomalous.
fn random_case(rng: &mut ChaCha8Rng) -> Case {
    let n = rng.random_range(2..400);
    let levels = 10_f32.powf(rng.random_range(0.3..5.0));
    let share = [0.0, 0.02, 0.5, 0.9, 1.0][rng.random_range(0..5)];
    let labels: Vec<u8> = (0..n).map(|_| u8::from(rng.random_bool(share))).collect();
    let mut scores = || -> Vec<f32> {
        let score = |label: &u8| rng.random_range(-1.0..1.0) + 0.5 * f32::from(*label);
        labels
            .iter()
            .map(score)
            .map(|score| (score * levels).round() / levels)
            .collect()
    };
    let (first, second) = (scores(), scores());
    Case {
        labels,
        scores: first,
        other: second,
    }
}

fn reference(python: &std::ffi::OsStr, cases: &[Case]) -> Vec<Values> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_metrics.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&serde_json::to_vec(cases).unwrap())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_same(what: &str, actual: Option<f64>, expected: Option<f64>) {
    match (actual, expected) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-12, "{what}: {a} instead of {b}"),
        _ => assert_eq!(actual, expected, "{what}"),
    }
}

#[test]
fn metrics_agree_with_scikit_learn_on_random_sets() {
    let Some(python) = std::env::var_os("RARECLIP_SKLEARN_PYTHON") else {
        rareclip_testkit::skipped(
            "metrics_agree_with_scikit_learn_on_random_sets",
            "RARECLIP_SKLEARN_PYTHON to name a Python interpreter with scikit-learn",
        );
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let cases: Vec<Case> = (0..400).map(|_| random_case(&mut rng)).collect();
    for (index, (case, expected)) in cases.iter().zip(reference(&python, &cases)).enumerate() {
        let labels: Vec<bool> = case.labels.iter().map(|&label| label > 0).collect();
        let widen = |scores: &[f32]| scores.iter().map(|&s| f64::from(s)).collect::<Vec<_>>();
        let (scores, other) = (widen(&case.scores), widen(&case.other));
        let image = image_metrics(&scores, &labels).unwrap();
        assert_same(&format!("{index} AUROC"), image.auroc, expected.auroc);
        // Of one class alone scikit-learn gives 0 or 1, here they are n/a.
        let both = |value: Option<f64>| value.filter(|_| expected.auroc.is_some());
        let (ap, f1_max) = (both(expected.ap), both(expected.f1_max));
        assert_same(&format!("{index} AP"), image.ap, ap);
        assert_same(&format!("{index} F1"), image.f1_max, f1_max);
        let variance = delong(&scores, &labels)
            .unwrap()
            .map(|estimate| estimate.variance);
        assert_same(&format!("{index} variance"), variance, expected.variance);
        if let Some(p) = expected.p_value {
            let test = delong_paired_test(&scores, &other, &labels).unwrap();
            assert_same(
                &format!("{index} p"),
                test.and_then(|test| test.p_value),
                Some(p),
            );
        }
        let shape = (1, labels.len());
        let map = Array2::from_shape_vec(shape, case.scores.clone()).unwrap();
        let mut pixels = PixelAccumulator::default();
        pixels
            .push(
                map.view(),
                Some(Array2::from_shape_vec(shape, labels).unwrap().view()),
            )
            .unwrap();
        let pixels = pixels.finish();
        assert_same(
            &format!("{index} pixel AUROC"),
            pixels.auroc,
            expected.auroc,
        );
        assert_same(&format!("{index} pixel AP"), pixels.ap, ap);
        assert_same(&format!("{index} pixel F1"), pixels.f1_max, f1_max);
    }
}
