//! What holds for the prior of any image.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::sync::Arc;

use common::fixtures;
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Features, Grid, InputRecipe, PromptHead, PromptHeadFactory};
use rareclip_prompt::{ClipTextOptions, TextOptions, TpbOptions};

const GRID: Grid = Grid {
    rows: 9,
    columns: 8,
};
const BLOCKS: [usize; 4] = [6, 8, 10, 12];
const WIDTH: usize = 64;
const EMBEDDING: usize = 48;

fn heads(test: &str) -> Option<[Arc<dyn PromptHead>; 2]> {
    let fixtures = fixtures(test)?;
    let path = |name: &str| Some(fixtures.join(name).to_str().unwrap().to_owned());
    let backbone = BackboneSpec {
        input: InputRecipe::clip(112),
        grid: GRID,
        blocks: BLOCKS.map(|block| (block, WIDTH)).to_vec(),
        embedding_width: EMBEDDING,
        weights: String::new(),
    };
    let text = || TextOptions {
        model: path("clip_tiny/hf.safetensors"),
        ..TextOptions::default()
    };
    let tpb = TpbOptions {
        weights: path("rareclip_e2e/tpb.pth"),
        blocks: BLOCKS.to_vec(),
        text: text(),
        ..TpbOptions::default()
    };
    let clip = ClipTextOptions {
        block: 12,
        text: text(),
        ..ClipTextOptions::default()
    };
    Some([
        tpb.build(&backbone).unwrap(),
        clip.build(&backbone).unwrap(),
    ])
}

fn features(value: impl Fn(usize) -> f32) -> Features {
    let tokens = |block: usize| {
        let shape = (GRID.patches(), WIDTH);
        Array2::from_shape_fn(shape, |(patch, column)| value(block * patch + column))
    };
    let tokens = BLOCKS.map(|block| (block, tokens(block))).into();
    Features::new(GRID, tokens, Array1::from_shape_fn(EMBEDDING, &value))
}

#[test]
fn a_prior_is_in_0_to_1_for_any_finite_features() {
    let Some(heads) = heads("a_prior_is_in_0_to_1_for_any_finite_features") else {
        return;
    };
    let inside = |value: &f32| (0.0..=1.0).contains(value);
    let values = proptest::collection::vec(-1.0_f32..1.0, 1..200);
    proptest!(ProptestConfig::with_cases(64), |(values in values, exponent in -45_i32..30)| {
        let scale = 10.0_f32.powi(exponent);
        let features = features(|index| values[index % values.len()] * scale);
        for head in &heads {
            let prior = head.prior(&features).unwrap();
            prop_assert_eq!(prior.patches.len(), GRID.patches());
            prop_assert!(inside(&prior.image) && prior.patches.iter().all(inside));
        }
    });
}

#[test]
fn features_that_overflow_are_an_error_and_not_nan() {
    let Some([tpb, _]) = heads("features_that_overflow_are_an_error_and_not_nan") else {
        return;
    };
    assert!(tpb.prior(&features(|_| f32::MAX)).is_err());
}

#[test]
fn a_missing_block_and_a_wrong_width_are_named() {
    let Some([tpb, _]) = heads("a_missing_block_and_a_wrong_width_are_named") else {
        return;
    };
    let mut features = features(|index| index as f32);
    features
        .tokens
        .insert(8, Array2::zeros((GRID.patches(), 3)));
    let error = tpb.prior(&features).unwrap_err().to_string();
    assert!(
        error.contains("block 8") && error.contains("[72, 64]"),
        "{error}"
    );
    features.tokens.remove(&6);
    assert!(
        tpb.prior(&features)
            .unwrap_err()
            .to_string()
            .contains("block 6")
    );
}
