//! DINOv2-small against an independent run of the ONNX file it was found in, and the promises of a
//! backbone.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::{blocks, one, pictures};
use ndarray::Array2;
use rareclip_checkpoints::Checkpoint;
use rareclip_core::{Backbone, BackboneFactory, Features};
use rareclip_testkit::{cached, distance, engine};
use rareclip_vit_ort::{OnnxOptions, OnnxOutput, Tokens, VitBackbone, VitOptions};

const BLOCKS: [usize; 4] = [3, 6, 9, 12];

fn model(test: &str) -> Option<PathBuf> {
    cached(test, "dinov2-small").filter(|_| engine(test))
}

fn small(model: &std::path::Path, image_size: usize) -> VitOptions {
    let model = model.to_string_lossy().into_owned();
    VitOptions {
        model,
        image_size,
        ..VitOptions::default()
    }
}

/// The tokens of the original ONNX graph, whose input is fixed at 224 pixels.
fn reference(model: &std::path::Path, normed: bool) -> Features {
    let name = |block: usize| match (block, normed) {
        (_, true) => "/backbone/layernorm/Add_1_output_0".to_owned(),
        (block, false) => format!("/backbone/encoder/layer.{}/Add_1_output_0", block - 1),
    };
    let list: Vec<usize> = if normed { vec![12] } else { BLOCKS.to_vec() };
    let options = OnnxOptions {
        model: model
            .with_file_name("vit_s_focus.onnx")
            .to_string_lossy()
            .into_owned(),
        image_size: 224,
        outputs: list
            .iter()
            .map(|&block| OnnxOutput {
                name: name(block),
                prefix_tokens: Some(1),
            })
            .collect(),
        ..OnnxOptions::default()
    };
    let wanted = blocks(&(1..=list.len()).collect::<Vec<_>>());
    let backbone = options.build(&wanted).unwrap();
    let mut features = backbone.encode(pictures(1, 224).view()).unwrap().remove(0);
    let renamed: BTreeMap<usize, Array2<f32>> = list
        .iter()
        .zip(features.tokens.into_values())
        .map(|(&block, tokens)| (block, tokens))
        .collect();
    features.tokens = renamed;
    features
}

fn relative(found: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    let difference = (found - expected).mapv(|value| value * value).sum().sqrt();
    difference / expected.mapv(|value| value * value).sum().sqrt()
}

#[test]
fn tokens_agree_with_the_onnx_file_they_were_found_in() {
    let Some(model) = model("dinov2 tokens") else {
        return;
    };
    let backbone = VitBackbone::new(&small(&model, 224), &blocks(&BLOCKS)).unwrap();
    let found = backbone.encode(pictures(1, 224).view()).unwrap().remove(0);
    let expected = reference(&model, false);
    for block in BLOCKS {
        let error = relative(&found.tokens[&block], &expected.tokens[&block]);
        eprintln!("block {block}: relative error {error:.1e}");
        assert!(error < 2e-4, "block {block}: {error}");
    }
}

#[test]
fn norm_tokens_are_those_after_the_final_norm() {
    let Some(model) = model("dinov2 norm tokens") else {
        return;
    };
    let options = VitOptions {
        tokens: Tokens::Norm,
        ..small(&model, 224)
    };
    let backbone = VitBackbone::new(&options, &blocks(&[9, 12])).unwrap();
    let found = backbone.encode(pictures(1, 224).view()).unwrap().remove(0);
    let expected = reference(&model, true);
    let error = relative(&found.tokens[&12], &expected.tokens[&12]);
    assert!(error < 2e-4, "{error}");
}

#[test]
fn the_onnx_file_itself_is_a_checkpoint() {
    let Some(model) = model("dinov2 from onnx") else {
        return;
    };
    let tokens = |model: &std::path::Path| {
        let backbone = VitBackbone::new(&small(model, 112), &blocks(&[12])).unwrap();
        backbone
            .encode(pictures(1, 112).view())
            .unwrap()
            .remove(0)
            .tokens[&12]
            .clone()
    };
    let error = relative(
        &tokens(&model.with_file_name("vit_s_focus.onnx")),
        &tokens(&model),
    );
    assert!(error < 1e-5, "{error}");
}

#[test]
fn metas_original_names_give_the_same_bits() {
    let Some(model) = model("dinov2 meta names") else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let meta = scratch.path().join("meta.safetensors");
    common::write_meta_names(&Checkpoint::open(&model).unwrap(), &meta);
    let encode = |model: &std::path::Path| {
        let backbone = VitBackbone::new(&small(model, 112), &blocks(&BLOCKS)).unwrap();
        backbone.encode(pictures(1, 112).view()).unwrap().remove(0)
    };
    let (found, expected) = (encode(&meta), encode(&model));
    assert_eq!(found.tokens, expected.tokens);
    assert_eq!(found.embedding, expected.embedding);
}

#[test]
fn a_batch_gives_the_bits_of_its_images_and_so_does_a_second_run() {
    let Some(model) = model("dinov2 batch") else {
        return;
    };
    let options = VitOptions {
        batch: true,
        ..small(&model, 140)
    };
    let backbone = VitBackbone::new(&options, &blocks(&BLOCKS)).unwrap();
    let images = pictures(3, 140);
    let batch = backbone.encode(images.view()).unwrap();
    let again = backbone.encode(images.view()).unwrap();
    for (index, features) in batch.iter().enumerate() {
        let single = backbone
            .encode(one(images.view(), index).view())
            .unwrap()
            .remove(0);
        assert_eq!(features.tokens, single.tokens);
        assert_eq!(features.tokens, again[index].tokens);
        assert_eq!(features.embedding, single.embedding);
    }
    assert!(distance(&batch[0].tokens[&12], &batch[1].tokens[&12]) > 0.1);
}

#[test]
fn what_is_declared_is_what_comes_out() {
    let Some(model) = model("dinov2 spec") else {
        return;
    };
    let backbone = VitBackbone::new(&small(&model, 140), &blocks(&BLOCKS)).unwrap();
    let spec = backbone.spec();
    assert_eq!(
        (spec.grid.rows, spec.grid.columns, spec.input.side),
        (10, 10, 140)
    );
    assert_eq!(spec.blocks, BLOCKS.map(|block| (block, 384)));
    let features = backbone.encode(pictures(1, 140).view()).unwrap().remove(0);
    features.check().unwrap();
    assert_eq!(features.embedding.len(), spec.embedding_width);
    let length: f32 = features.embedding.iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);
    for (block, width) in &spec.blocks {
        assert_eq!(features.tokens[block].dim(), (100, *width));
    }
}

#[test]
fn a_truncated_checkpoint_is_an_error_that_names_the_file() {
    let Some(model) = model("dinov2 truncated") else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let short = scratch.path().join("short.safetensors");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();
    let error = VitBackbone::new(&small(&short, 140), &blocks(&[12])).unwrap_err();
    assert!(error.to_string().contains("short.safetensors"), "{error}");
}

#[test]
fn an_unknown_output_of_an_onnx_file_names_the_most_similar() {
    let Some(model) = model("unknown output") else {
        return;
    };
    let output = OnnxOutput {
        name: "/backbone/layernorm/Add_9_output_0".into(),
        prefix_tokens: None,
    };
    let options = OnnxOptions {
        model: model
            .with_file_name("vit_s_focus.onnx")
            .to_string_lossy()
            .into_owned(),
        image_size: 224,
        outputs: vec![output],
        ..OnnxOptions::default()
    };
    let error = options.build(&blocks(&[1])).err().unwrap().to_string();
    assert!(
        error.contains("/backbone/layernorm/Add_1_output_0"),
        "{error}"
    );
}
