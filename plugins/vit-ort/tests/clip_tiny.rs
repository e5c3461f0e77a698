//! CLIP's image tower against golden numbers, in both key layouts.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::PathBuf;

use common::{array, blocks, one};
use ndarray::{Ix3, Ix4, s};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::Backbone;
use rareclip_testkit::{distance, engine, shared};
use rareclip_vit::family::Activation;
use rareclip_vit::positions::{PositionResize, resize};
use rareclip_vit_ort::{Error, VitBackbone, VitOptions};

const LAYERS: [usize; 6] = [3, 6, 8, 9, 10, 12];
const TOLERANCE: f32 = 2e-5;

fn folder(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny")).filter(|_| engine(test))
}

fn options(model: PathBuf, image_size: usize, activation: Activation) -> VitOptions {
    VitOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        activation: Some(activation),
        ..VitOptions::default()
    }
}

fn check(layout: &str, activation: Activation, golden: &str) {
    let Some(folder) = folder(&format!("{layout} {golden}")) else {
        return;
    };
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let golden = Checkpoint::open(folder.join(golden)).unwrap();
    for side in [70, 112] {
        let model = folder.join(format!("{layout}.safetensors"));
        let options = options(model, side, activation);
        let backbone = VitBackbone::new(&options, &blocks(&LAYERS)).unwrap();
        let pixels = array(&images, &format!("pixels_{side}"))
            .into_dimensionality::<Ix4>()
            .unwrap();
        let found = backbone.encode(pixels.view()).unwrap();
        let embeddings = array(&golden, &format!("image_feature_{side}"));
        for (index, features) in found.iter().enumerate() {
            for layer in LAYERS {
                let key = format!("tokens_{side}.layer_{layer:02}");
                let tokens = array(&golden, &key).into_dimensionality::<Ix3>().unwrap();
                let expected = tokens.slice(s![index, 1.., ..]);
                let difference = distance(features.block(layer).unwrap(), expected);
                assert!(difference < TOLERANCE, "{key}, image {index}: {difference}");
            }
            let expected = embeddings.index_axis(ndarray::Axis(0), index);
            let length = expected
                .iter()
                .map(|value| value * value)
                .sum::<f32>()
                .sqrt();
            let difference = distance(&features.embedding, &expected.mapv(|value| value / length));
            assert!(
                difference < TOLERANCE,
                "embedding at {side}, image {index}: {difference}"
            );
        }
    }
}

#[test]
fn open_clip_names_give_the_golden_tokens_with_gelu() {
    check("open_clip", Activation::Gelu, "vision_gelu.safetensors");
}

#[test]
fn open_clip_names_give_the_golden_tokens_with_quick_gelu() {
    check(
        "open_clip",
        Activation::QuickGelu,
        "vision_quick_gelu.safetensors",
    );
}

#[test]
fn hugging_face_names_give_the_golden_tokens_with_gelu() {
    check("hf", Activation::Gelu, "vision_gelu.safetensors");
}

#[test]
fn hugging_face_names_give_the_golden_tokens_with_quick_gelu() {
    check("hf", Activation::QuickGelu, "vision_quick_gelu.safetensors");
}

#[test]
fn position_tables_are_resized_like_clips() {
    let Some(shared) = shared("position resize") else {
        return;
    };
    let path = shared.join("fixtures/clip_tiny/pos_resize.safetensors");
    let golden = Checkpoint::open(path).unwrap();
    for (from, to, name) in [
        (24, 37, "grid24_to_37"),
        (24, 16, "grid24_to_16"),
        (5, 8, "grid5_to_8"),
    ] {
        let table = array(&golden, &format!("grid{from}"));
        let table = table.into_dimensionality::<ndarray::Ix2>().unwrap();
        let rule = PositionResize::AntialiasedBicubic;
        let found = resize(table.view(), 1, (from, from), (to, to), rule);
        let difference = distance(&found, &array(&golden, name));
        assert!(difference < 5e-5, "{name}: {difference}");
    }
}

#[test]
fn the_activation_and_the_heads_come_from_the_config_beside_the_checkpoint() {
    let Some(folder) = folder("config beside") else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let model = scratch.path().join("tower.safetensors");
    std::fs::copy(folder.join("hf.safetensors"), &model).unwrap();
    let text = std::fs::read_to_string(folder.join("hf_config.json")).unwrap();
    let text = text.replace("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"quick_gelu\"");
    std::fs::write(scratch.path().join("config.json"), text).unwrap();

    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let pixels = array(&images, "pixels_70")
        .into_dimensionality::<Ix4>()
        .unwrap();
    let pixels = one(pixels.view(), 0);
    let tokens = |options: &VitOptions| {
        let backbone = VitBackbone::new(options, &blocks(&[12])).unwrap();
        backbone.encode(pixels.view()).unwrap().remove(0).tokens[&12].clone()
    };
    let named = options(folder.join("hf.safetensors"), 70, Activation::QuickGelu);
    let found = VitOptions {
        activation: None,
        ..options(model, 70, Activation::Gelu)
    };
    assert_eq!(tokens(&found), tokens(&named));
}

#[test]
fn a_model_without_block_thirteen_says_so() {
    let Some(folder) = folder("no such block") else {
        return;
    };
    let options = options(folder.join("hf.safetensors"), 70, Activation::Gelu);
    let error = VitBackbone::new(&options, &blocks(&[12, 13])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Vit(rareclip_vit::Error::NoSuchBlock {
                block: 13,
                blocks: 12
            })
        ),
        "{error}"
    );
}

#[test]
fn an_image_size_that_is_no_multiple_of_the_patch_names_the_nearest_sizes() {
    let Some(folder) = folder("image size") else {
        return;
    };
    let options = options(folder.join("hf.safetensors"), 75, Activation::Gelu);
    let error = VitBackbone::new(&options, &blocks(&[12])).unwrap_err();
    assert!(error.to_string().contains("70 and 84"), "{error}");
}

#[test]
fn images_of_another_size_are_refused() {
    let Some(folder) = folder("image shape") else {
        return;
    };
    let options = options(folder.join("hf.safetensors"), 70, Activation::Gelu);
    let backbone = VitBackbone::new(&options, &blocks(&[12])).unwrap();
    let error = backbone.encode(common::pictures(1, 84).view()).unwrap_err();
    assert!(
        error.to_string().contains("expected [batch, 3, 70, 70]"),
        "{error}"
    );
}

#[test]
fn a_half_precision_checkpoint_gives_nearly_the_same_tokens() {
    let Some(folder) = folder("half precision") else {
        return;
    };
    let whole = Checkpoint::open(folder.join("open_clip.safetensors")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let model = scratch.path().join("open_clip.safetensors");
    let config = "open_clip_config.json";
    std::fs::copy(folder.join(config), scratch.path().join(config)).unwrap();
    common::write_halves(&whole, &model);

    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let pixels = array(&images, "pixels_70")
        .into_dimensionality::<Ix4>()
        .unwrap();
    let tokens = |model: PathBuf| {
        let backbone =
            VitBackbone::new(&options(model, 70, Activation::Gelu), &blocks(&[12])).unwrap();
        backbone
            .encode(one(pixels.view(), 1).view())
            .unwrap()
            .remove(0)
            .tokens[&12]
            .clone()
    };
    let difference = distance(
        &tokens(model),
        &tokens(folder.join("open_clip.safetensors")),
    );
    assert!(difference > 0.0 && difference < 3e-2, "{difference}");
}

#[test]
fn a_missing_tensor_is_named_with_its_file() {
    let Some(folder) = folder("missing tensor") else {
        return;
    };
    let whole = Checkpoint::open(folder.join("hf.safetensors")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let model = scratch.path().join("hf.safetensors");
    let lost = "vision_model.encoder.layers.4.mlp.fc1.weight";
    common::write_without(&whole, &model, lost);
    let error =
        VitBackbone::new(&options(model, 70, Activation::Gelu), &blocks(&[12])).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(lost) && text.contains("hf.safetensors"),
        "{text}"
    );
}

#[test]
fn a_checkpoint_of_another_kind_names_what_is_supported() {
    let Some(folder) = folder("unknown family") else {
        return;
    };
    let model = folder.join("images.safetensors");
    let error =
        VitBackbone::new(&options(model, 70, Activation::Gelu), &blocks(&[12])).unwrap_err();
    assert!(
        matches!(error, Error::Vit(rareclip_vit::Error::UnknownFamily { .. })),
        "{error}"
    );
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    let Some(folder) = folder("heads") else {
        return;
    };
    let base = options(folder.join("hf.safetensors"), 70, Activation::Gelu);
    let options = VitOptions {
        heads: Some(5),
        ..base
    };
    let error = VitBackbone::new(&options, &blocks(&[12])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Vit(rareclip_vit::Error::Heads {
                width: 64,
                heads: 5
            })
        ),
        "{error}"
    );
}

#[test]
fn a_name_that_is_no_model_lists_the_known_ones() {
    let options = VitOptions {
        model: "clip-vit".into(),
        ..VitOptions::default()
    };
    let error = VitBackbone::new(&options, &blocks(&[1])).unwrap_err();
    assert!(error.to_string().contains("known: "), "{error}");
}

#[test]
fn a_window_as_large_as_the_image_is_the_image() {
    let Some(folder) = folder("a_window_as_large_as_the_image_is_the_image") else {
        return;
    };
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let pixels = array(&images, "pixels_70")
        .into_dimensionality::<Ix4>()
        .unwrap();
    let options = VitOptions {
        windows: vec![2, 5],
        ..options(folder.join("hf.safetensors"), 70, Activation::Gelu)
    };
    let backbone = VitBackbone::new(&options, &blocks(&[12])).unwrap();
    for features in backbone.encode(pixels.view()).unwrap() {
        features.check().unwrap();
        assert_eq!(features.windows[&2].nrows(), 4 * 4);
        let difference = distance(features.windows[&5].row(0), &features.embedding);
        assert!(difference < TOLERANCE, "{difference}");
    }
}

#[test]
fn a_window_sees_its_own_patches_alone() {
    let Some(folder) = folder("a_window_sees_its_own_patches_alone") else {
        return;
    };
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let pixels = array(&images, "pixels_70")
        .into_dimensionality::<Ix4>()
        .unwrap();
    let options = VitOptions {
        windows: vec![2],
        ..options(folder.join("open_clip.safetensors"), 70, Activation::Gelu)
    };
    let backbone = VitBackbone::new(&options, &blocks(&[12])).unwrap();
    let mut changed = pixels.slice(s![..1, .., .., ..]).to_owned();
    let whole = backbone.encode(changed.view()).unwrap().remove(0);
    // The patch in the upper left corner belongs to the first window only.
    changed.slice_mut(s![0, .., ..14, ..14]).fill(1.5);
    let other = backbone.encode(changed.view()).unwrap().remove(0);
    let (whole, other) = (&whole.windows[&2], &other.windows[&2]);
    assert!(distance(whole.row(0), other.row(0)) > 1e-3);
    let rest = s![1.., ..];
    assert!(distance(whole.slice(rest), other.slice(rest)) < 1e-6);
}

#[test]
fn a_window_larger_than_the_image_is_refused() {
    let Some(folder) = folder("a_window_larger_than_the_image_is_refused") else {
        return;
    };
    let options = VitOptions {
        windows: vec![6],
        ..options(folder.join("hf.safetensors"), 70, Activation::Gelu)
    };
    let error = VitBackbone::new(&options, &blocks(&[12])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Vit(rareclip_vit::Error::Window { window: 6, grid: 5 })
        ),
        "{error}"
    );
}

#[test]
fn a_cuda_device_that_onnxruntime_cannot_use_is_an_error_that_says_what_to_get() {
    let Some(folder) = folder("a_cuda_device_that_onnxruntime_cannot_use") else {
        return;
    };
    let options = VitOptions {
        device: rareclip_core::Device::Cuda(63),
        ..options(folder.join("hf.safetensors"), 70, Activation::Gelu)
    };
    let error = VitBackbone::new(&options, &blocks(&[12])).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`cuda:63`") && text.contains("onnxruntime-gpu"),
        "{text}"
    );
}
