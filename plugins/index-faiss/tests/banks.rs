//! Banks on approximate indexes: close to the exact ones, and restored as they were.
#![allow(clippy::unwrap_used, reason = "a test may stop at a fault")]

use std::sync::Arc;

use std::path::Path;

use ndarray::Array1;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{ErasedBank, Features, Grid, InputRecipe, Learning, MemoryBankFactory, Role};
use rareclip_index_exact as _;
use rareclip_index_faiss as _;
use rareclip_neighbours::{CoresetOptions, PatchOptions};
use rareclip_rarity::PrototypeOptions;
use rareclip_testkit::index::patches;
use serde_json::{Value, json};

const GRID: Grid = Grid {
    rows: 12,
    columns: 12,
};
const WIDTH: usize = 32;

fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::imagenet(48),
        grid: GRID,
        blocks: vec![(1, WIDTH)],
        embedding_width: 2,
        weights: "none".into(),
    }
}

fn image(number: u64) -> Features {
    let tokens = patches(GRID.patches(), WIDTH, 15, 5, number);
    Features::new(GRID, [(1, tokens)].into(), Array1::from_vec(vec![1.0, 0.0]))
}

fn configured(index: &Value) -> Arc<dyn VectorIndexFactory> {
    <dyn VectorIndexFactory>::from_table(index.as_object().unwrap().clone()).unwrap()
}

/// The approximate indexes that the banks are tried with, trained long before the bank is full.
fn approximate() -> [Value; 3] {
    [
        json!({ "type": "faiss", "factory": "IVF8,Flat", "probes": 3, "training": 320 }),
        json!({ "type": "faiss", "factory": "HNSW16,Flat" }),
        json!({ "type": "faiss", "factory": "SQ8" }),
    ]
}

fn patch_bank(index: &Value) -> Box<dyn MemoryBankFactory> {
    Box::new(PatchOptions {
        blocks: vec![1],
        index: configured(index),
        ..PatchOptions::default()
    })
}

fn coreset_bank(index: &Value) -> Box<dyn MemoryBankFactory> {
    Box::new(CoresetOptions {
        blocks: vec![1],
        share: 0.6,
        projection: 8,
        reweight_neighbours: 3,
        index: configured(index),
        ..CoresetOptions::default()
    })
}

fn prototype_bank(index: &Value) -> Box<dyn MemoryBankFactory> {
    Box::new(PrototypeOptions {
        blocks: vec![1],
        neighbourhoods: vec![1],
        capacity: 10.0,
        index: configured(index),
        ..PrototypeOptions::default()
    })
}

/// A bank that has seen 15 images, by whichever way it learns.
fn taught(factory: &dyn MemoryBankFactory) -> Box<dyn ErasedBank> {
    let mut bank = factory.build(&backbone()).unwrap();
    for number in 0..15 {
        match bank.learning() {
            Learning::Fit => bank.collect(&image(number)).unwrap(),
            _ => absorb(&mut *bank, number),
        }
        let status = bank.status();
        assert!(status.bytes <= status.capacity_bytes, "{status:?}");
    }
    if bank.learning() == Learning::Fit {
        bank.fit().unwrap();
    }
    bank
}

fn absorb(bank: &mut dyn ErasedBank, number: u64) {
    let features = image(number);
    let carry = bank.assess(&features).unwrap().carry;
    bank.absorb(&features, carry, Role::Query).unwrap();
}

fn saved(bank: &dyn ErasedBank) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().unwrap()
}

fn restored(factory: &dyn MemoryBankFactory, bytes: Vec<u8>) -> Box<dyn ErasedBank> {
    let snapshot = Snapshot::from_bytes(Path::new("bank"), bytes).unwrap();
    let bank = factory.build(&backbone()).unwrap();
    bank.restore(&snapshot.reader().unwrap()).unwrap()
}

fn rarity(bank: &dyn ErasedBank, number: u64) -> Vec<f32> {
    bank.assess(&image(number)).unwrap().evidence.branches[0]
        .scores
        .to_vec()
}

/// The mean difference of the rarity of patches from that on the exact index.
fn difference(make: fn(&Value) -> Box<dyn MemoryBankFactory>, index: &Value) -> f32 {
    let exact = taught(&*make(&json!({ "type": "exact" })));
    let other = taught(&*make(index));
    let (exact, other) = (rarity(&*exact, 90), rarity(&*other, 90));
    exact
        .iter()
        .zip(&other)
        .map(|(a, b)| (a - b).abs())
        .sum::<f32>()
        / exact.len() as f32
}

fn restored_banks_go_on_as_if_never_stopped(make: fn(&Value) -> Box<dyn MemoryBankFactory>) {
    for index in approximate() {
        let factory = make(&index);
        let mut bank = taught(&*factory);
        let mut other = restored(&*factory, saved(&*bank));
        for number in 30..36 {
            assert_eq!(rarity(&*bank, number), rarity(&*other, number), "{index}");
            if bank.learning() == Learning::Online {
                absorb(&mut *bank, number);
                absorb(&mut *other, number);
            }
            assert_eq!(saved(&*bank), saved(&*other), "{index}");
        }
    }
}

#[test]
fn anomaly_dino_on_approximate_indexes_is_close_to_exact() {
    for index in approximate() {
        let found = difference(patch_bank, &index);
        assert!(found < 2e-3, "{index}: {found}");
    }
}

#[test]
fn patchcore_on_approximate_indexes_is_close_to_exact() {
    for index in approximate() {
        let found = difference(coreset_bank, &index);
        assert!(found < 2e-2, "{index}: {found}");
    }
}

#[test]
fn patchcore_finds_the_nearest_among_patches_of_any_length() {
    // Far from the origin and from 20 to 79 long, as tokens of a backbone are.
    let long = |number: u64| {
        let mut tokens = patches(GRID.patches(), WIDTH, 15, 5, number);
        for (at, mut token) in tokens.rows_mut().into_iter().enumerate() {
            let length = 20 + (at * 37 + number as usize * 11) % 60;
            token.mapv_inplace(|value| value * length as f32 + 3.0);
        }
        Features::new(GRID, [(1, tokens)].into(), Array1::from_vec(vec![1.0, 0.0]))
    };
    for index in approximate() {
        let mut bank = coreset_bank(&index).build(&backbone()).unwrap();
        for number in 0..15 {
            bank.collect(&long(number)).unwrap();
        }
        bank.fit().unwrap();
        let recall = bank.recall(&long(90), 1).unwrap().unwrap().share();
        assert!(recall > 0.9, "{index}: {recall}");
    }
}

#[test]
fn patches_on_flat_are_as_rare_as_on_exact() {
    assert!(difference(patch_bank, &json!({ "type": "faiss" })) < 1e-6);
    assert!(difference(coreset_bank, &json!({ "type": "faiss" })) < 1e-6);
    assert!(difference(prototype_bank, &json!({ "type": "faiss" })) < 1e-5);
}

#[test]
fn anomaly_dino_is_restored_with_its_index() {
    restored_banks_go_on_as_if_never_stopped(patch_bank);
}

#[test]
fn patchcore_is_restored_with_its_index() {
    restored_banks_go_on_as_if_never_stopped(coreset_bank);
}

#[test]
fn rareclip_is_restored_with_its_index() {
    restored_banks_go_on_as_if_never_stopped(prototype_bank);
}
