//! `type = "onnx"` on feature maps of known values.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;

use common::{blocks, one, pictures, pools, without_mean};
use ndarray::s;
use rareclip_core::BackboneFactory;
use rareclip_core::backbone::Batching;
use rareclip_testkit::{distance, engine};
use rareclip_vit_ort::{OnnxOptions, OnnxOutput};

fn options(model: &Path) -> OnnxOptions {
    let output = |name: &str| OnnxOutput {
        name: name.into(),
        prefix_tokens: None,
    };
    OnnxOptions {
        model: model.to_string_lossy().into_owned(),
        image_size: 24,
        outputs: vec![output("fine"), output("coarse")],
        ..OnnxOptions::default()
    }
}

#[test]
fn block_n_is_the_nth_output_and_inner_values_count() {
    if !engine("onnx outputs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let backbone = options(&pools(folder.path(), 1))
        .build(&blocks(&[1]))
        .unwrap();
    assert_eq!(
        (backbone.spec().grid.rows, backbone.spec().blocks.clone()),
        (6, vec![(1, 3)])
    );
    let image = pictures(1, 24);
    let found = backbone.encode(image.view()).unwrap().remove(0);
    let patch = image.slice(s![0, 2, 4..8, 20..24]).mean().unwrap();
    assert!((found.tokens[&1][[6 + 5, 2]] - patch).abs() < 1e-6);
}

#[test]
fn maps_are_brought_to_the_grid_that_is_named() {
    if !engine("onnx grid") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let base = options(&pools(folder.path(), 1));
    let options = OnnxOptions {
        grid: Some(3),
        ..base
    };
    let backbone = options.build(&blocks(&[1, 2])).unwrap();
    let found = backbone.encode(pictures(1, 24).view()).unwrap().remove(0);
    let difference = distance(&found.tokens[&1], &found.tokens[&2]);
    assert!(
        difference < 1e-6,
        "the mean of the fine map is the coarse one: {difference}"
    );
}

#[test]
fn images_of_a_batch_and_alone_are_the_same() {
    if !engine("onnx batch") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for batch in [false, true] {
        let options = OnnxOptions {
            batch,
            ..options(&pools(folder.path(), -1))
        };
        let backbone = options.build(&blocks(&[1, 2])).unwrap();
        assert_eq!(backbone.batching() == Batching::None, !batch);
        let images = pictures(3, 24);
        let batch = backbone.encode(images.view()).unwrap();
        for (number, found) in batch.iter().enumerate() {
            let single = backbone.encode(one(images.view(), number).view()).unwrap();
            assert!(found.deviation(&single[0]) < 1e-6);
            let length: f32 = found.embedding.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_file_for_one_image_refuses_batches_by_the_name_of_its_input() {
    if !engine("onnx fixed batch") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = OnnxOptions {
        batch: true,
        ..options(&pools(folder.path(), 1))
    };
    let error = options.build(&blocks(&[1])).err().unwrap().to_string();
    for word in ["`batch`", "`image`", "pools.onnx", "dynamic batch axis"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_file_that_mixes_the_images_of_a_run_refuses_batches() {
    if !engine("onnx mixing batch") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = OnnxOutput {
        name: "rest".into(),
        prefix_tokens: None,
    };
    let options = OnnxOptions {
        batch: true,
        outputs: vec![output],
        ..options(&without_mean(folder.path()))
    };
    let error = options.build(&blocks(&[1])).err().unwrap().to_string();
    for word in ["`batch`", "without-mean.onnx", "deviates"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn options_read_as_in_a_config() {
    let text = "model = \"a.onnx\"\ngrid = 28\noutputs = [{ name = \"b4\" }, { name = \"b7\" }]";
    let options: OnnxOptions = toml::from_str(text).unwrap();
    assert_eq!((options.outputs.len(), options.grid), (2, Some(28)));
    let error = toml::from_str::<OnnxOptions>("size = 3").unwrap_err();
    assert!(error.to_string().contains("unknown field"), "{error}");
}

#[test]
fn backbones_can_be_built_at_the_same_time() {
    if !engine("onnx at once") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = options(&pools(folder.path(), 1));
    std::thread::scope(|scope| {
        let build = || options.build(&blocks(&[1])).map(|_| ());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(build)).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
}
