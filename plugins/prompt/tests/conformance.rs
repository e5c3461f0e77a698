//! Every component of this crate keeps the contract of its slot.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use rareclip_checkpoints::Checkpoint;
use rareclip_core::Slot;
use rareclip_prompt as _;
use rareclip_testkit::conformance::{prompt, scorer};
use rareclip_testkit::shared;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// Blocks read by the bridge under test, and the widths of the kit's backbone.
const BLOCKS: [usize; 2] = [4, 7];
const WIDTH: usize = 8;
const EMBEDDING: usize = 6;

/// Layers and directions of no meaning.
fn bridge(folder: &Path) -> String {
    let tensor = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|at| ((at * 7 + name.len()) as f32).sin());
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        (name.to_owned(), shape.to_vec(), bytes)
    };
    let layers = (0..BLOCKS.len()).flat_map(|layer| {
        [
            tensor(&format!("fc.{layer}.weight"), &[EMBEDDING, WIDTH]),
            tensor(&format!("fc.{layer}.bias"), &[EMBEDDING]),
        ]
    });
    let tensors: Vec<_> = layers
        .chain([tensor("directions", &[EMBEDDING, 2])])
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let path = folder.join("bridge.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_bridge_with_learned_directions_keeps_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    let weights = bridge(folder.path());
    for image in ["embedding", "largest-patch", "mean-patch"] {
        let options = json!({
            "weights": weights, "blocks": BLOCKS, "directions": "learned", "image": image,
        });
        prompt("tpb").options(options).check();
    }
}

/// CLIP in small, and a backbone of its widths.
fn tiny(test: &str) -> Option<(PathBuf, Value)> {
    let path = shared(test)?.join("fixtures/clip_tiny/open_clip.safetensors");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let width = checkpoint.info("visual.conv1.weight").unwrap().shape[0];
    let embedding = checkpoint.info("visual.proj").unwrap().shape[1];
    let backbone = json!({ "type": "testkit", "width": width, "embedding_width": embedding });
    Some((path, backbone))
}

#[test]
fn clip_s_words_keep_their_contract() {
    prompt("clip-text").check_declaration();
    prompt("tpb").check_declaration();
    let Some((model, backbone)) = tiny("the contract of clip-text") else {
        return;
    };
    for (block, windows) in [(12, vec![]), (0, vec![]), (12, vec![2, 3])] {
        let options = json!({ "block": block, "windows": windows, "text": { "model": model } });
        prompt("clip-text")
            .options(options)
            .beside(Slot::Backbone, backbone.clone())
            .check();
    }
}

#[test]
fn the_scorer_keeps_its_contract() {
    scorer("prior").check();
    for options in [
        json!({ "map_weight": 0.0 }),
        json!({ "fusion": "mean", "blur_kernel": 0 }),
    ] {
        scorer("prior").options(options.clone()).check();
        scorer("prior").options(options).without(Slot::Bank).check();
    }
}
