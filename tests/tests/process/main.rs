//! Components in another process: what a host may do wrong, and that a stream survives it.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

#[path = "../common/mod.rs"]
mod common;

mod blame;
mod conformance;
mod limits;
mod memory;
#[cfg(target_os = "linux")]
mod python;
#[cfg(target_os = "linux")]
mod service;
mod slots;
#[cfg(target_os = "linux")]
mod stream;

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, ErasedBank, Features, Grid, InputRecipe, MemoryBankFactory, Role};
use rareclip_process::BankOptions;
use serde_json::Value;

/// Width of the tokens of the images here.
const WIDTH: usize = 3;

/// A backbone of four patches.
fn spec() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::imagenet(8),
        grid: Grid {
            rows: 2,
            columns: 2,
        },
        blocks: vec![(1, WIDTH)],
        embedding_width: WIDTH,
        weights: "none".into(),
    }
}

/// An image of its own for each number.
fn image(at: u32) -> Features {
    let mut state = at.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 1000) as f32 / 1000.0
    };
    let tokens = Array2::from_shape_fn((4, WIDTH), |_| next());
    let embedding = Array1::from_vec(vec![1.0, 0.0, 0.0]);
    Features::new(spec().grid, BTreeMap::from([(1, tokens)]), embedding)
}

/// The host of the outsider with a plan.
fn host(plan: &Value) -> Vec<String> {
    vec![
        env!("CARGO_BIN_EXE_outside-host").to_owned(),
        plan.to_string(),
    ]
}

/// The bank of the outsider's host, with short times.
fn options(plan: &Value) -> BankOptions {
    BankOptions {
        command: host(plan),
        blocks: vec![1],
        timeout_s: 5.0,
        start_timeout_s: 20.0,
        ..BankOptions::default()
    }
}

fn bank(plan: &Value) -> Box<dyn ErasedBank> {
    options(plan).build(&spec()).unwrap()
}

/// The error of a bank that cannot be built.
fn refused(options: &BankOptions) -> String {
    match options.build(&spec()) {
        Ok(_) => panic!("the bank was built"),
        Err(error) => error.to_string(),
    }
}

/// Scores an image and remembers it; the bits of its evidence.
fn push(bank: &mut dyn ErasedBank, at: u32) -> Result<Vec<u32>, BoxError> {
    let features = image(at);
    let assessment = bank.assess(&features)?;
    let rarity = &assessment.evidence.branches[0].scores;
    let bits = rarity.iter().map(|value| value.to_bits()).collect();
    bank.absorb(&features, assessment.carry, Role::Query)?;
    Ok(bits)
}

fn walk(bank: &mut dyn ErasedBank, images: std::ops::Range<u32>) -> Vec<Vec<u32>> {
    images.map(|at| push(bank, at).unwrap()).collect()
}

/// That a message holds every part.
#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}
