//! The configs that come with the program.

use std::path::Path;

use rareclip_core::DetectorConfig;
use rareclip_core::config::ConfigBuilder;
use rareclip_neighbours::{CoresetOptions, PatchOptions};
use rareclip_vit_ort as _;
use serde_json::json;

fn read(name: &str) -> DetectorConfig {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let builder = ConfigBuilder::new().file(folder.join(name)).unwrap();
    builder.build().unwrap()
}

#[test]
fn anomalydino_is_the_patch_bank_as_it_stands() {
    let config = read("anomalydino.toml");
    let mut expected = json!(PatchOptions::default());
    expected["type"] = "patches".into();
    assert_eq!(json!(config.bank), expected);
    assert_eq!(json!(config.scorer)["top_share"], json!(0.01));
    assert_eq!(json!(config.backbone)["tokens"], json!("norm"));
}

#[test]
fn patchcore_is_the_coreset_bank_as_it_stands() {
    let config = read("patchcore-dinov2.toml");
    let mut expected = json!(CoresetOptions::default());
    expected["type"] = "coreset".into();
    assert_eq!(json!(config.bank), expected);
    assert_eq!(json!(config.scorer)["top_share"], json!(0.0));
}

#[test]
fn patchcore_on_a_convolutional_network_reads_its_three_outputs() {
    let config = read("patchcore-efficientnet.toml");
    assert_eq!(config.blocks().into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(json!(config.bank)["share"], json!(0.1));
    assert_eq!(json!(config.scorer)["top_share"], json!(0.0));
}

#[test]
fn the_embedding_baseline_reads_no_block() {
    let config = read("knn-embedding.toml");
    assert!(config.blocks().is_empty());
    assert_eq!(json!(config.bank)["neighbours"], json!(2));
}
