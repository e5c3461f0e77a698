//! Whole streams of this crate's components, on features made by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod banks;
mod configs;
mod learning;
mod scorer;

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use rareclip_core::ComponentError;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, ErasedBank, Features, Grid, InputRecipe, MemoryBankFactory};
use rareclip_index_exact as _;
use rareclip_neighbours::{CoresetOptions, PatchOptions};

pub(crate) const GRID: Grid = Grid {
    rows: 2,
    columns: 2,
};

pub(crate) fn spec(blocks: &[(usize, usize)]) -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::imagenet(8),
        grid: GRID,
        blocks: blocks.to_vec(),
        embedding_width: 2,
        weights: "none".into(),
    }
}

/// Features of a 2 x 2 grid: per block the four tokens.
pub(crate) fn features<const N: usize>(
    blocks: &[(usize, [[f32; N]; 4])],
    embedding: [f32; 2],
) -> Features {
    let tokens: BTreeMap<usize, Array2<f32>> = blocks
        .iter()
        .map(|(block, rows)| (*block, Array2::from(rows.to_vec())))
        .collect();
    Features::new(GRID, tokens, Array1::from_vec(embedding.to_vec()))
}

pub(crate) fn one(rows: [[f32; 2]; 4]) -> Features {
    features(&[(1, rows)], [1.0, 0.0])
}

pub(crate) fn fitted(
    factory: &dyn MemoryBankFactory,
    spec: &BackboneSpec,
    normals: &[Features],
) -> Box<dyn ErasedBank> {
    let mut bank = factory.build(spec).unwrap();
    for normal in normals {
        bank.collect(normal).unwrap();
    }
    bank.fit().unwrap();
    bank
}

pub(crate) fn rarity(bank: &dyn ErasedBank, features: &Features) -> Vec<Vec<f32>> {
    let evidence = bank.assess(features).unwrap().evidence;
    evidence
        .branches
        .into_iter()
        .map(|branch| branch.scores.to_vec())
        .collect()
}

pub(crate) fn reason<T>(result: Result<T, BoxError>) -> ComponentError {
    let error = result.err().expect("an error");
    ComponentError::of(&error)
        .unwrap_or_else(|| panic!("{error}"))
        .clone()
}

pub(crate) fn patches() -> PatchOptions {
    PatchOptions {
        blocks: vec![1],
        ..PatchOptions::default()
    }
}

pub(crate) fn coreset() -> CoresetOptions {
    CoresetOptions {
        blocks: vec![1],
        neighbourhood: 1,
        share: 1.0,
        ..CoresetOptions::default()
    }
}

pub(crate) const NORMAL: [[f32; 2]; 4] = [[1.0, 0.0], [2.0, 0.0], [0.0, 5.0], [3.0, 4.0]];
pub(crate) const QUERY: [[f32; 2]; 4] = [[7.0, 0.0], [0.0, -1.0], [1.0, 1.0], [-1.0, 0.0]];

pub(crate) fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}
