//! Four optimiser steps on a tiny CLIP against golden numbers of the published training.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn};
use rareclip_checkpoints::{Activation, Checkpoint};
use rareclip_core::backbone::BackboneFactory;
use rareclip_core::{Backbone, Device, Features};
use rareclip_imaging::{Limits, Preset, decode_file, mask_binary};
use rareclip_testkit::{distance, engine, shared, skipped};
use rareclip_train::{Adam, Directions, Example, Layer, Objective, Trainer, Weights};
use rareclip_vit_ort::VitOptions;

const SIDE: usize = 70;
const BLOCKS: [usize; 4] = [6, 8, 10, 12];
const BATCHES: [std::ops::Range<usize>; 2] = [0..4, 4..8];

fn array(file: &Checkpoint, key: &str) -> ArrayD<f32> {
    let shape = file.info(key).unwrap().shape;
    ArrayD::from_shape_vec(IxDyn(&shape), file.f32(key).unwrap().into_owned()).unwrap()
}

fn array2(file: &Checkpoint, key: &str) -> Array2<f32> {
    array(file, key).into_dimensionality().unwrap()
}

fn weights(file: &Checkpoint, prefix: &str) -> Weights {
    let layer = |at: usize| Layer {
        weight: array2(file, &format!("{prefix}fc.{at}.weight")),
        bias: array(file, &format!("{prefix}fc.{at}.bias"))
            .into_dimensionality()
            .unwrap(),
    };
    Weights {
        layers: (0..BLOCKS.len()).map(layer).collect(),
        directions: None,
    }
}

fn numbers(weights: &Weights) -> Array1<f32> {
    let layers = weights.layers.iter();
    layers
        .flat_map(|layer| layer.weight.iter().chain(&layer.bias))
        .copied()
        .collect()
}

fn examples(fixtures: &Path) -> Vec<Example> {
    let options = VitOptions {
        model: path(&fixtures.join("clip_tiny/open_clip.safetensors")),
        image_size: SIDE,
        activation: Some(Activation::Gelu),
        preset: Preset::Reference,
        ..VitOptions::default()
    };
    let backbone = options.build(&BLOCKS.into()).unwrap();
    let example = |number: usize| Example {
        features: features(
            &*backbone,
            &fixtures.join(format!("train/images/{number}.png")),
        ),
        mask: mask(&fixtures.join(format!("train/masks/{number}.png"))),
    };
    (0..8).map(example).collect()
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn features(backbone: &dyn Backbone, image: &Path) -> Features {
    let picture = decode_file(image, &Limits::default()).unwrap();
    let tensor = backbone.spec().input.tensor(&picture).unwrap();
    let batch = tensor.insert_axis(Axis(0));
    backbone.encode(batch.view()).unwrap().remove(0)
}

fn mask(file: &Path) -> Array2<u8> {
    if !file.exists() {
        return Array2::zeros((SIDE, SIDE));
    }
    mask_binary(
        &decode_file(file, &Limits::default()).unwrap(),
        SIDE,
        Preset::Reference,
    )
    .unwrap()
}

/// The largest relative difference of losses.
fn relative(found: &[f64], golden: &[f32]) -> f64 {
    assert_eq!(found.len(), golden.len());
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    let pairs = found.iter().zip(golden);
    pairs
        .map(|(found, golden)| (found / f64::from(*golden) - 1.0).abs())
        .fold(0.0, f64::max)
}

/// How far what is learned may be from the published numbers.
struct Within {
    gradients: f32,
    cosines: f32,
    pixels: f32,
    /// Relative.
    losses: f64,
    weights: f32,
}

#[test]
fn four_steps_are_the_published_ones() {
    let within = Within {
        gradients: 2e-6,
        cosines: 1e-5,
        pixels: 2e-5,
        losses: 1e-5,
        weights: 5e-5,
    };
    four_steps("four_steps_are_the_published_ones", Device::Cpu, &within);
}

#[test]
fn four_steps_on_a_cuda_device_are_the_published_ones() {
    let test = "four_steps_on_a_cuda_device_are_the_published_ones";
    let device = Device::Cuda(0);
    if let Err(missing) = rareclip_vit::torch::open(device) {
        skipped(test, &missing.to_string());
        return;
    }
    let within = Within {
        gradients: 1e-4,
        cosines: 1e-4,
        pixels: 1e-4,
        losses: 1e-4,
        weights: 1e-3,
    };
    four_steps(test, device, &within);
}

fn four_steps(test: &str, device: Device, within: &Within) {
    let Some(fixtures) = shared(test).map(|shared| shared.join("fixtures")) else {
        return;
    };
    if !engine(test) {
        return;
    }
    let open = |name: &str| Checkpoint::open(fixtures.join("train").join(name)).unwrap();
    let steps = open("steps.safetensors");
    let examples = examples(&fixtures);
    let mut trainer = Trainer::new(
        &BLOCKS,
        &weights(&open("tpb_init.safetensors"), ""),
        &Directions::Fixed(array2(&steps, "text_features")),
        Objective::default(),
        Adam::default(),
        device,
    )
    .unwrap();

    let first = trainer.inspect(&examples[BATCHES[0].clone()]).unwrap();
    let gradients = numbers(&weights(&steps, "grad_step1."));
    let gradient = distance(&numbers(&first.gradients), &gradients);
    let views: Vec<_> = first.cosines.iter().map(|cosines| cosines.view()).collect();
    let cosines = ndarray::concatenate(Axis(1), &views).unwrap();
    let cosine = distance(&cosines, &array(&steps, "step1.patch_image_cosine"));
    let mut pixel = 0.0_f32;
    for at in [0, 3] {
        let golden = array(&steps, &format!("step1.prob_abnormal_layer{at}"));
        pixel = pixel.max(distance(&first.probabilities[at], &golden));
    }
    eprintln!("gradients within {gradient:e}, cosines {cosine:e}, pixels {pixel:e}");
    assert!(gradient < within.gradients && cosine < within.cosines && pixel < within.pixels);

    let (focal, dice) = (array2(&steps, "loss_focal"), array2(&steps, "loss_dice"));
    let (total, align) = (
        array(&steps, "loss_total"),
        array(&steps, "loss_feature_align"),
    );
    for step in 0..4 {
        let losses = trainer.step(&examples[BATCHES[step % 2].clone()]).unwrap();
        let apart = [
            relative(&losses.focal, focal.row(step).as_slice().unwrap()),
            relative(&losses.dice, dice.row(step).as_slice().unwrap()),
            relative(&[losses.total], &[total[[step]]]),
            relative(&[losses.align], &[align[[step]]]),
        ];
        let golden = numbers(&weights(&steps, &format!("after_step{}.", step + 1)));
        let weight = distance(&numbers(&trainer.weights().unwrap()), &golden);
        eprintln!(
            "step {}: losses {apart:?} relative, weights within {weight:e}",
            step + 1
        );
        let near = apart.iter().all(|apart| *apart < within.losses);
        assert!(near, "{apart:?}");
        assert!(weight < within.weights, "{weight}");
    }
    let last = numbers(&weights(&open("tpb_final.safetensors"), ""));
    assert!(distance(&numbers(&trainer.weights().unwrap()), &last) < within.weights);
}
