//! What the precisions promise.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::{array, blocks, pictures};
use ndarray::{Array2, Ix3, Ix4, s};
use rareclip_core::Backbone;
use rareclip_models::Checkpoint;
use rareclip_testkit::{cached, engine, shared};
use rareclip_vit_ort::family::Activation;
use rareclip_vit_ort::{Precision, VitBackbone, VitOptions};

const LAYERS: [usize; 3] = [3, 8, 12];

fn folder(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny")).filter(|_| engine(test))
}

/// The norm of the difference over that of what was expected.
fn relative(found: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    let norm = |values: &Array2<f32>| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    norm(&(found - expected)) / norm(expected)
}

fn int8(model: PathBuf, image_size: usize, activation: Activation) -> VitOptions {
    VitOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        activation: Some(activation),
        precision: Precision::Int8,
        ..VitOptions::default()
    }
}

/// Largest relative error of a layer's tokens against the golden ones.
fn golden_error(layout: &str, activation: Activation, golden: &str) -> Option<f32> {
    let folder = folder(&format!("int8 {layout} {golden}"))?;
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let golden = Checkpoint::open(folder.join(golden)).unwrap();
    let model = folder.join(format!("{layout}.safetensors"));
    let backbone = VitBackbone::new(&int8(model, 70, activation), &blocks(&LAYERS)).unwrap();
    let pixels = array(&images, "pixels_70")
        .into_dimensionality::<Ix4>()
        .unwrap();
    let mut worst = 0.0_f32;
    for (index, features) in backbone.encode(pixels.view()).unwrap().iter().enumerate() {
        for layer in LAYERS {
            let key = format!("tokens_70.layer_{layer:02}");
            let tokens = array(&golden, &key).into_dimensionality::<Ix3>().unwrap();
            let expected = tokens.slice(s![index, 1.., ..]).to_owned();
            worst = worst.max(relative(&features.tokens[&layer], &expected));
        }
    }
    Some(worst)
}

#[test]
fn int8_tokens_are_within_two_percent_of_the_golden_ones() {
    for (layout, activation, golden) in [
        ("open_clip", Activation::Gelu, "vision_gelu.safetensors"),
        (
            "open_clip",
            Activation::QuickGelu,
            "vision_quick_gelu.safetensors",
        ),
        ("hf", Activation::Gelu, "vision_gelu.safetensors"),
        ("hf", Activation::QuickGelu, "vision_quick_gelu.safetensors"),
    ] {
        let Some(error) = golden_error(layout, activation, golden) else {
            return;
        };
        eprintln!("{layout} {golden}: relative error {error:.1e}");
        assert!(error > 0.0 && error < 0.02, "{layout} {golden}: {error}");
    }
}

#[test]
fn int8_tokens_of_a_trained_model_are_within_six_percent() {
    let Some(model) = cached("int8 dinov2", "dinov2-small").filter(|_| engine("int8 dinov2"))
    else {
        return;
    };
    let options = |precision| VitOptions {
        model: model.to_string_lossy().into_owned(),
        image_size: 224,
        precision,
        ..VitOptions::default()
    };
    let tokens = |precision| {
        let backbone = VitBackbone::new(&options(precision), &blocks(&LAYERS)).unwrap();
        backbone
            .encode(pictures(1, 224).view())
            .unwrap()
            .remove(0)
            .tokens
    };
    let (found, expected) = (tokens(Precision::Int8), tokens(Precision::F32));
    for layer in LAYERS {
        let error = relative(&found[&layer], &expected[&layer]);
        eprintln!("block {layer}: relative error {error:.1e}");
        assert!(error > 0.0 && error < 0.06, "block {layer}: {error}");
    }
}

#[test]
fn int8_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads() {
    let Some(folder) = folder("int8 batch") else {
        return;
    };
    let encode = |threads, images: ndarray::Array4<f32>| {
        let options = VitOptions {
            threads,
            ..int8(folder.join("hf.safetensors"), 70, Activation::Gelu)
        };
        let backbone = VitBackbone::new(&options, &blocks(&[12])).unwrap();
        backbone.encode(images.view()).unwrap()
    };
    let images = pictures(2, 70);
    let second = common::one(images.view(), 1);
    let (batch, alone) = (encode(1, images), encode(3, second));
    assert_eq!(batch[1].tokens, alone[0].tokens);
    assert_eq!(batch[1].embedding, alone[0].embedding);
}

#[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
#[test]
fn bf16_is_refused_where_the_engine_lacks_it_and_the_alternatives_are_named() {
    let options = VitOptions {
        precision: Precision::Bf16,
        ..VitOptions::default()
    };
    let error = VitBackbone::new(&options, &blocks(&[1])).unwrap_err();
    let text = error.to_string();
    assert!(
        ["bf16", "f32", "int8", "Arm"]
            .iter()
            .all(|word| text.contains(word)),
        "{text}"
    );
}

#[test]
fn the_precision_is_part_of_a_detectors_identity() {
    // An identity leaves out what the schema marks so.
    let schema = rareclip_core::config::schema_of::<VitOptions>();
    let left_out = |option: &str| schema["properties"][option]["x-runtime"] == true;
    assert!(schema["properties"]["precision"].is_object());
    assert!(left_out("threads") && !left_out("precision"));
}
