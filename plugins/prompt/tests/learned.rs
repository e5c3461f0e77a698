//! The bridge with directions that were learned along with its layers, without any text.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::array;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{Features, Grid, InputRecipe, Prior, PromptHeadFactory};
use rareclip_prompt::{DirectionSource, ImageProbability, TpbOptions, probability};
use safetensors::{Dtype, tensor::TensorView};

const GRID: Grid = Grid {
    rows: 1,
    columns: 2,
};

fn backbone() -> BackboneSpec {
    BackboneSpec {
        input: InputRecipe::imagenet(14),
        grid: GRID,
        blocks: vec![(3, 2)],
        embedding_width: 2,
        weights: String::new(),
    }
}

/// A layer that leaves patches as they are, and these directions.
fn write(path: &Path, directions: &[f32]) {
    let tensors = [
        ("fc.0.weight", vec![2, 2], &[1.0, 0.0, 0.0, 1.0][..]),
        ("fc.0.bias", vec![2], &[0.0, 0.0]),
        ("directions", vec![directions.len() / 2, 2], directions),
    ];
    let bytes = tensors.map(|(name, shape, values)| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        (name, shape, bytes)
    });
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (
            *name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn options(path: &Path) -> TpbOptions {
    TpbOptions {
        weights: Some(path.to_str().unwrap().to_owned()),
        blocks: vec![3],
        directions: DirectionSource::Learned,
        ..TpbOptions::default()
    }
}

fn prior(options: &TpbOptions) -> Prior {
    let tokens = BTreeMap::from([(3, array![[1.0, 0.0], [0.6, 0.8]])]);
    let features = Features::new(GRID, tokens, array![0.0, 1.0]);
    options
        .build(&backbone())
        .unwrap()
        .prior(&features)
        .unwrap()
}

#[test]
fn patches_are_compared_with_the_directions_of_the_file_whatever_their_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tpb.safetensors");
    // Columns: normal along the first axis, abnormal along the second, three times as long.
    write(&path, &[1.0, 0.0, 0.0, 3.0]);
    let found = prior(&options(&path));
    let of = |vector: &[f32]| probability(20.0, &[1.0, 0.0], &[0.0, 1.0], vector).unwrap();
    assert_eq!(found.patches, array![of(&[1.0, 0.0]), of(&[0.6, 0.8])]);
    assert_eq!(found.image, of(&[0.0, 1.0]));
}

#[test]
fn the_image_may_take_its_probability_from_its_patches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tpb.safetensors");
    write(&path, &[1.0, 0.0, 0.0, 1.0]);
    let image = |image| {
        let options = TpbOptions {
            image,
            ..options(&path)
        };
        prior(&options)
    };
    let largest = image(ImageProbability::LargestPatch);
    assert_eq!(largest.image, largest.patches[1]);
    let mean = image(ImageProbability::MeanPatch);
    assert_eq!(mean.image, mean.patches.mean().unwrap());
    assert!(mean.image < largest.image);
}

#[test]
fn directions_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tpb.safetensors");
    let refused = |directions: &[f32]| {
        write(&path, directions);
        options(&path).build(&backbone()).err().unwrap().to_string()
    };
    let error = refused(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert!(
        error.contains("directions") && error.contains("[2, 2]"),
        "{error}"
    );
    let error = refused(&[1.0, f32::NAN, 0.0, 1.0]);
    assert!(
        error.contains("directions") && error.contains("NaN"),
        "{error}"
    );
}

#[test]
fn other_directions_are_other_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tpb.safetensors");
    let identity = |directions: &[f32]| {
        write(&path, directions);
        options(&path)
            .build(&backbone())
            .unwrap()
            .weights()
            .to_owned()
    };
    assert_ne!(
        identity(&[1.0, 0.0, 0.0, 1.0]),
        identity(&[0.0, 1.0, 1.0, 0.0])
    );
}
