//! The backbone keeps the contract of its slot.

use rareclip_testkit::conformance::backbone;
use rareclip_testkit::shared;
use rareclip_vit_tch as _;
use serde_json::json;

#[test]
fn the_declaration_keeps_its_contract() {
    backbone("vit-tch").check_declaration();
}

#[test]
fn a_clip_tower_keeps_its_contract() {
    let Some(folder) = shared("the contract of vit-tch") else {
        return;
    };
    let model = folder.join("fixtures/clip_tiny/open_clip.safetensors");
    for (image_size, windows, batch) in [
        (112, vec![], false),
        (70, vec![2], false),
        (70, vec![2], true),
    ] {
        let options = json!({
            "model": model, "image_size": image_size, "activation": "gelu", "windows": windows,
            "batch": batch,
        });
        backbone("vit-tch")
            .options(options)
            .blocks([3, 7, 12])
            .check();
    }
}
