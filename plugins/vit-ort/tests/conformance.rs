//! Every component of this crate keeps the contract of its slot.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use rareclip_testkit::conformance::backbone;
use rareclip_testkit::{engine, shared};
use rareclip_vit_ort as _;
use serde_json::json;

#[test]
fn the_declarations_keep_their_contract() {
    backbone("vit").check_declaration();
    backbone("onnx").check_declaration();
}

#[test]
fn a_clip_tower_keeps_its_contract() {
    let test = "the contract of vit";
    let Some(folder) = shared(test).filter(|_| engine(test)) else {
        return;
    };
    let model = folder.join("fixtures/clip_tiny/open_clip.safetensors");
    for (image_size, windows) in [(112, vec![]), (70, vec![2])] {
        let options = json!({
            "model": model, "image_size": image_size, "activation": "gelu", "windows": windows,
        });
        for batch in [false, true] {
            let mut options = options.clone();
            options["batch"] = json!(batch);
            backbone("vit").options(options).blocks([3, 7, 12]).check();
        }
    }
}

#[test]
fn an_onnx_file_keeps_its_contract() {
    if !engine("the contract of onnx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = common::pools(folder.path(), -1);
    let outputs = json!([{ "name": "fine" }, { "name": "coarse" }]);
    for grid in [None, Some(3)] {
        let mut options = json!({ "model": model, "image_size": 24, "outputs": outputs });
        if let Some(grid) = grid {
            options["grid"] = json!(grid);
        }
        for batch in [false, true] {
            options["batch"] = json!(batch);
            let options = options.clone();
            backbone("onnx").options(options).blocks([1, 2]).check();
        }
    }
}
