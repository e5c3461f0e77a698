//! What the precisions promise.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::PathBuf;

use common::{array, blocks, pictures};
use ndarray::{Array2, Ix3, Ix4, s};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::Backbone;
use rareclip_testkit::{cached, engine, shared, skipped};
use rareclip_vit::family::Activation;
use rareclip_vit_ort::{Error, Precision, VitBackbone, VitOptions};

const LAYERS: [usize; 3] = [3, 8, 12];

fn folder(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny")).filter(|_| engine(test))
}

/// The norm of the difference over that of what was expected.
fn relative(found: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    let norm = |values: &Array2<f32>| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    norm(&(found - expected)) / norm(expected)
}

fn options(
    model: PathBuf,
    image_size: usize,
    activation: Activation,
    precision: Precision,
) -> VitOptions {
    VitOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        activation: Some(activation),
        precision,
        ..VitOptions::default()
    }
}

/// Largest relative error of a layer's tokens against the golden ones.
fn golden_error(
    layout: &str,
    activation: Activation,
    golden: &str,
    precision: Precision,
) -> Option<f32> {
    let folder = folder(&format!("{precision:?} {layout} {golden}"))?;
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let golden = Checkpoint::open(folder.join(golden)).unwrap();
    let model = folder.join(format!("{layout}.safetensors"));
    let options = options(model, 70, activation, precision);
    let backbone = VitBackbone::new(&options, &blocks(&LAYERS)).unwrap();
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

/// Key layout, activation and golden file.
const GOLDEN: [(&str, Activation, &str); 4] = [
    ("open_clip", Activation::Gelu, "vision_gelu.safetensors"),
    (
        "open_clip",
        Activation::QuickGelu,
        "vision_quick_gelu.safetensors",
    ),
    ("hf", Activation::Gelu, "vision_gelu.safetensors"),
    ("hf", Activation::QuickGelu, "vision_quick_gelu.safetensors"),
];

/// Compares the tokens of a DINOv2-S with those in 32 bits.
fn check_trained(test: &str, precision: Precision, bound: f32) {
    let Some(model) = cached(test, "dinov2-small").filter(|_| engine(test)) else {
        return;
    };
    let tokens = |precision| {
        let options = VitOptions {
            model: model.to_string_lossy().into_owned(),
            image_size: 224,
            precision,
            ..VitOptions::default()
        };
        let backbone = VitBackbone::new(&options, &blocks(&LAYERS)).unwrap();
        let mut features = backbone.encode(pictures(1, 224).view()).unwrap();
        features.remove(0).tokens
    };
    let (found, expected) = (tokens(precision), tokens(Precision::F32));
    for layer in LAYERS {
        let error = relative(&found[&layer], &expected[&layer]);
        eprintln!("{precision:?}, block {layer}: relative error {error:.1e}");
        assert!(error > 0.0 && error < bound, "block {layer}: {error}");
    }
}

/// Compares an image in a batch on one thread with the same alone on three.
fn check_bits(test: &str, precision: Precision) {
    let Some(folder) = folder(test) else {
        return;
    };
    let encode = |threads, images: ndarray::Array4<f32>| {
        let model = folder.join("hf.safetensors");
        let options = VitOptions {
            threads,
            batch: true,
            ..options(model, 70, Activation::Gelu, precision)
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

/// Whether this machine computes in brain floats; says so where it does not. The precision is
/// looked at before the model.
fn bf16(test: &str) -> bool {
    let missing = "/no/such/model.safetensors".into();
    let options = options(missing, 70, Activation::Gelu, Precision::Bf16);
    let refused = VitBackbone::new(&options, &blocks(&[1]));
    let there = !matches!(refused, Err(Error::Precision { .. }));
    if !there {
        skipped(test, "a processor with bf16 instructions");
    }
    there
}

#[test]
fn int8_tokens_are_within_two_percent_of_the_golden_ones() {
    for (layout, activation, golden) in GOLDEN {
        let Some(error) = golden_error(layout, activation, golden, Precision::Int8) else {
            return;
        };
        eprintln!("{layout} {golden}: relative error {error:.1e}");
        assert!(error > 0.0 && error < 0.02, "{layout} {golden}: {error}");
    }
}

#[test]
fn int8_tokens_of_a_trained_model_are_within_six_percent() {
    check_trained("int8 dinov2", Precision::Int8, 0.06);
}

#[test]
fn int8_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads() {
    check_bits("int8 batch", Precision::Int8);
}

#[test]
fn bf16_tokens_are_within_a_percent_of_the_golden_ones() {
    if !bf16("bf16 golden tokens") {
        return;
    }
    for (layout, activation, golden) in GOLDEN {
        let Some(error) = golden_error(layout, activation, golden, Precision::Bf16) else {
            return;
        };
        eprintln!("{layout} {golden}: relative error {error:.1e}");
        assert!(error > 0.0 && error < 0.01, "{layout} {golden}: {error}");
    }
}

#[test]
fn bf16_tokens_of_a_trained_model_are_within_two_percent() {
    if bf16("bf16 dinov2") {
        check_trained("bf16 dinov2", Precision::Bf16, 0.02);
    }
}

#[test]
fn bf16_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads() {
    if bf16("bf16 batch") {
        check_bits("bf16 batch", Precision::Bf16);
    }
}

#[test]
fn bf16_backbones_of_different_weights_do_not_mix_them_up() {
    let test = "bf16 twice";
    let Some(folder) = folder(test).filter(|_| bf16(test)) else {
        return;
    };
    let first = folder.join("hf.safetensors");
    let scratch = tempfile::tempdir().unwrap();
    let second = scratch.path().join("halves.safetensors");
    common::write_halves(&Checkpoint::open(&first).unwrap(), &second);
    let build = |model| {
        let options = options(model, 70, Activation::Gelu, Precision::Bf16);
        VitBackbone::new(&options, &blocks(&[12])).unwrap()
    };
    let images = pictures(1, 70);
    let tokens = |backbone: &VitBackbone| {
        let features = backbone.encode(images.view()).unwrap().remove(0);
        features.tokens[&12].clone()
    };
    let first = build(first);
    let before = tokens(&first);
    let second = build(second);
    assert_ne!(tokens(&second), before);
    assert_eq!(tokens(&first), before);
}

#[test]
fn bf16_is_taken_or_refused_by_name_with_the_alternatives() {
    let missing = "/no/such/model.safetensors".into();
    let options = options(missing, 70, Activation::Gelu, Precision::Bf16);
    let error = VitBackbone::new(&options, &blocks(&[1])).unwrap_err();
    let text = error.to_string();
    match error {
        Error::Precision { .. } => assert!(
            ["bf16", "f32", "int8", "instructions"]
                .iter()
                .all(|word| text.contains(word)),
            "{text}"
        ),
        Error::Model(_) | Error::Vit(_) => assert!(text.contains("no/such/model"), "{text}"),
        other => panic!("{other}"),
    }
}

#[test]
fn the_precision_is_part_of_a_detectors_identity() {
    // An identity leaves out what the schema marks so.
    let schema = rareclip_core::config::schema_of::<VitOptions>();
    let left_out = |option: &str| schema["properties"][option]["x-runtime"] == true;
    assert!(schema["properties"]["precision"].is_object());
    assert!(left_out("threads") && !left_out("precision"));
}
