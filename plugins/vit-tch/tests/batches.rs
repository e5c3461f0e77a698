//! What images give in one run of libtorch, against the same images alone.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use ndarray::{Array4, Axis};
use rareclip_core::backbone::Batching;
use rareclip_core::{Backbone, Device};
use rareclip_testkit::{cached, shared, skipped};
use rareclip_vit::family::Activation;
use rareclip_vit_tch::{Precision, VitTchBackbone, VitTchOptions};

/// Numbers of the images of a batch: 2, 3, 4 and 8, at different places.
const BATCHES: [&[usize]; 4] = [
    &[1, 0],
    &[2, 7, 4],
    &[3, 1, 6, 0],
    &[7, 6, 5, 4, 3, 2, 1, 0],
];

fn options(model: &Path, image_size: usize, precision: Precision) -> VitTchOptions {
    VitTchOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        precision,
        activation: Some(Activation::Gelu),
        ..VitTchOptions::default()
    }
}

fn tiny(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny"))
}

fn build(options: &VitTchOptions, batch: bool) -> VitTchBackbone {
    let options = VitTchOptions {
        batch,
        ..options.clone()
    };
    VitTchBackbone::new(&options, &[1, 6, 12].into()).unwrap()
}

/// Holds every image of every batch to the declared tolerance of the image alone.
fn check(options: &VitTchOptions) {
    let (single, joint) = (build(options, false), build(options, true));
    let Batching::Approximate { tolerance } = joint.batching() else {
        panic!("{:?}", joint.batching());
    };
    let side = options.image_size;
    let images = Array4::from_shape_fn((8, 3, side, side), |(image, channel, y, x)| {
        ((x * (channel + 1) + 3 * image) as f32 / 17.0).sin() + ((y * x) as f32 / 4000.0).cos()
    });
    let alone = single.encode(images.view()).unwrap();
    // Images of a batch cannot be exchanged unnoticed.
    assert!(alone[0].deviation(&alone[1]) > tolerance);
    for numbers in BATCHES {
        let batch = images.select(Axis(0), numbers);
        let found = joint.encode(batch.view()).unwrap();
        assert_eq!(found.len(), numbers.len());
        for (&number, found) in numbers.iter().zip(&found) {
            let deviation = found.deviation(&alone[number]);
            assert!(deviation <= tolerance, "{options:?}: {deviation:e}");
        }
    }
}

/// The same on one thread and on all.
fn check_on_threads(options: &VitTchOptions) {
    let all = tch::get_num_threads();
    for threads in [1, all] {
        tch::set_num_threads(threads);
        check(options);
    }
}

#[test]
fn a_batch_of_a_clip_tower_is_within_the_declared_tolerance() {
    let Some(folder) = tiny("clip batch") else {
        return;
    };
    for precision in [Precision::F32, Precision::Bf16] {
        check_on_threads(&options(
            &folder.join("open_clip.safetensors"),
            112,
            precision,
        ));
        let with_windows = VitTchOptions {
            windows: vec![2, 3],
            ..options(&folder.join("hf.safetensors"), 70, precision)
        };
        check_on_threads(&with_windows);
    }
}

#[test]
fn a_batch_of_dinov2_is_within_the_declared_tolerance() {
    let Some(model) = cached("dinov2 batch", "dinov2-small") else {
        return;
    };
    check_on_threads(&options(&model, 140, Precision::F32));
}

#[test]
fn single_images_are_the_default() {
    let Some(folder) = tiny("batch declaration") else {
        return;
    };
    let options = options(&folder.join("hf.safetensors"), 70, Precision::F32);
    assert!(!options.batch);
    assert_eq!(build(&options, false).batching(), Batching::None);
}

#[test]
fn a_batch_on_a_cuda_device_is_within_the_declared_tolerance() {
    let test = "cuda batch";
    if let Err(missing) = rareclip_vit::torch::open(Device::Cuda(0)) {
        return skipped(test, &missing.to_string());
    }
    let Some(folder) = tiny(test) else {
        return;
    };
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        check(&VitTchOptions {
            device: Device::Cuda(0),
            ..options(&folder.join("hf.safetensors"), 70, precision)
        });
    }
}
