//! What images give in one run of the engine, against the same images alone.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{blocks, pictures};
use ndarray::Axis;
use rareclip_core::backbone::Batching;
use rareclip_core::{Backbone, Device, Features};
use rareclip_testkit::{cached, engine, shared, skipped};
use rareclip_vit::family::Activation;
use rareclip_vit_ort::{Error, Precision, VitBackbone, VitOptions};

const BLOCKS: [usize; 3] = [1, 6, 12];

/// Numbers of the images of a batch: 2, 3, 4 and 8, at different places.
const BATCHES: [&[usize]; 4] = [
    &[1, 0],
    &[2, 7, 4],
    &[3, 1, 6, 0],
    &[7, 6, 5, 4, 3, 2, 1, 0],
];

fn options(model: &Path, image_size: usize) -> VitOptions {
    VitOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        activation: Some(Activation::Gelu),
        ..VitOptions::default()
    }
}

fn tiny(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny")).filter(|_| engine(test))
}

fn build(options: &VitOptions, batch: bool) -> VitBackbone {
    let options = VitOptions {
        batch,
        ..options.clone()
    };
    VitBackbone::new(&options, &blocks(&BLOCKS)).unwrap()
}

/// Calls `check` with what every image of every batch gives in it and alone.
fn compare(options: &VitOptions, mut check: impl FnMut(&Features, &Features)) {
    let (single, joint) = (build(options, false), build(options, true));
    let images = pictures(8, options.image_size);
    let alone = single.encode(images.view()).unwrap();
    for numbers in BATCHES {
        let batch = images.select(Axis(0), numbers);
        let found = joint.encode(batch.view()).unwrap();
        assert_eq!(found.len(), numbers.len());
        for (&number, found) in numbers.iter().zip(&found) {
            check(found, &alone[number]);
        }
    }
}

/// All numbers as bits.
fn bits(features: &Features) -> Vec<u32> {
    let tables = features.tokens.values().chain(features.windows.values());
    let numbers = tables.flatten().chain(&features.embedding);
    numbers.map(|number| number.to_bits()).collect()
}

fn check_bits(options: &VitOptions) {
    for threads in [1, 0] {
        let options = VitOptions {
            threads,
            ..options.clone()
        };
        compare(&options, |found, alone| {
            assert_eq!(found.tokens.keys().collect::<Vec<_>>(), [&1, &6, &12]);
            assert!(
                bits(found) == bits(alone),
                "{options:?}: {:e}",
                found.deviation(alone)
            );
        });
    }
}

/// Compares batches in a precision; where the processor does not compute in it, says so.
fn check_precision(test: &str, precision: Precision) {
    let Some(folder) = tiny(test) else {
        return;
    };
    for (layout, side, windows) in [("hf", 70, vec![2, 3]), ("open_clip", 112, vec![])] {
        let options = VitOptions {
            precision,
            windows,
            ..options(&folder.join(format!("{layout}.safetensors")), side)
        };
        match VitBackbone::new(&options, &blocks(&BLOCKS)) {
            Err(Error::Precision { .. }) => skipped(test, "a processor with this precision"),
            _ => check_bits(&options),
        }
    }
}

#[test]
fn a_batch_of_a_clip_tower_with_windows_has_the_bits_of_its_images_alone() {
    check_precision("clip batch", Precision::F32);
}

#[test]
fn a_batch_in_int8_has_the_bits_of_its_images_alone() {
    check_precision("clip int8 batch", Precision::Int8);
}

#[test]
fn a_batch_in_bf16_has_the_bits_of_its_images_alone() {
    check_precision("clip bf16 batch", Precision::Bf16);
}

#[test]
fn a_batch_of_dinov2_has_the_bits_of_its_images_alone() {
    let test = "dinov2 batch";
    let Some(model) = cached(test, "dinov2-small").filter(|_| engine(test)) else {
        return;
    };
    check_bits(&options(&model, 140));
}

#[test]
fn batches_are_exact_where_they_are_asked_for_and_single_images_are_the_default() {
    let Some(folder) = tiny("batch declaration") else {
        return;
    };
    let base = options(&folder.join("hf.safetensors"), 70);
    assert!(!base.batch);
    assert_eq!(build(&base, false).batching(), Batching::None);
    assert_eq!(build(&base, true).batching(), Batching::Exact);
}

#[test]
fn a_batch_on_a_cuda_device_is_within_its_tolerance() {
    let test = "cuda batch";
    let Some(folder) = tiny(test) else {
        return;
    };
    let options = VitOptions {
        device: Device::Cuda(0),
        windows: vec![2],
        ..options(&folder.join("hf.safetensors"), 70)
    };
    if let Err(error) = VitBackbone::new(&options, &blocks(&BLOCKS)) {
        assert!(matches!(error, Error::Device { .. }), "{error}");
        return skipped(test, "an onnxruntime and a device for CUDA");
    }
    let Batching::Approximate { tolerance } = build(&options, true).batching() else {
        panic!("{:?}", build(&options, true).batching());
    };
    compare(&options, |found, alone| {
        let deviation = found.deviation(alone);
        assert!(deviation <= tolerance, "{deviation:e}");
    });
}
