//! Agreement with numpy and scikit-learn; `tests/python/golden.py` wrote the numbers.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

mod common;

use common::{GRID, WIDTH, fitted, from_values, gaussian, rarity, subspace};
use rareclip_core::Features;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("fixtures/golden.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        value => vec![value.as_f64().unwrap() as f32],
    }
}

/// The images of `[blocks][images][patches][width]`.
fn images(value: &Value) -> Vec<Features> {
    let size = GRID.patches() * WIDTH;
    let blocks = [floats(&value[0]), floats(&value[1])];
    let parts = blocks[0]
        .chunks_exact(size)
        .zip(blocks[1].chunks_exact(size));
    parts
        .map(|(first, second)| from_values(&[first, second].concat()))
        .collect()
}

fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let gap = (found - expected).abs();
        assert!(
            gap <= tolerance * expected.abs(),
            "{found} is not {expected}"
        );
    }
}

#[test]
fn mahalanobis_distances_are_those_of_numpy() {
    let golden = golden();
    let bank = fitted(&gaussian(), &images(&golden["normals"]));
    let queries = images(&golden["queries"]);
    let found: Vec<f32> = queries
        .iter()
        .flat_map(|query| rarity(&*bank, query))
        .collect();
    close(&found, &floats(&golden["mahalanobis"]), 2e-5);
}

#[test]
fn residuals_are_those_of_scikit_learn() {
    let golden = golden();
    for share in ["0.5", "0.9", "0.99"] {
        let options = subspace(share.parse().unwrap());
        let bank = fitted(&options, &images(&golden["normals"]));
        let components = golden["components"][share].as_u64().unwrap();
        assert_eq!(bank.status().prototypes as u64, components);
        let queries = images(&golden["queries"]);
        let found: Vec<f32> = queries
            .iter()
            .flat_map(|query| rarity(&*bank, query))
            .collect();
        close(&found, &floats(&golden["residuals"][share]), 2e-4);
    }
}
