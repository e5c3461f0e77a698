//! How a config is put together and what is said of a wrong one.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use common::CONFIG;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{DetectorConfig, Slot, registry};

fn build(text: &str) -> Result<DetectorConfig, String> {
    ConfigBuilder::new()
        .toml("line.toml", text)
        .unwrap()
        .build()
        .map_err(|error| error.to_string())
}

fn with(old: &str, new: &str) -> String {
    assert!(CONFIG.contains(old));
    CONFIG.replace(old, new)
}

#[test]
fn components_are_found_by_name_with_their_options() {
    let bank = registry::find(Slot::Bank, "mean").unwrap();
    assert_eq!(bank.summary(), "The mean token of all images seen.");
    let schema = bank.schema();
    assert_eq!(schema["properties"]["block"]["minimum"], 1);
    assert_eq!(schema["properties"]["block"]["default"], 1);
    assert_eq!(bank.defaults()["block"], 1);
}

#[test]
fn a_wrong_component_name_is_told_with_the_nearest() {
    let message = build(&with("\"mean\"", "\"meen\"")).unwrap_err();
    assert!(
        message.contains("line.toml: bank.type: found \"meen\""),
        "{message}"
    );
    assert!(message.contains("did you mean `mean`?"), "{message}");
}

#[test]
fn an_unknown_key_is_told_with_file_path_and_nearest() {
    let message = build(&with("block = 2", "blok = 2")).unwrap_err();
    assert!(
        message.contains("line.toml: bank.blok: unknown key of `mean`"),
        "{message}"
    );
    assert!(message.contains("did you mean `block`?"), "{message}");
}

#[test]
fn a_wrong_type_is_told_with_what_is_expected() {
    let message = build(&with("block = 2", "block = \"two\"")).unwrap_err();
    assert!(
        message.contains(
            "bank.block: found \"two\", expected a whole number, at least 1 and at most 100"
        ),
        "{message}"
    );
}

#[test]
fn a_number_out_of_range_is_told_with_the_range() {
    let message = build(&with("block = 2", "block = 0")).unwrap_err();
    assert!(
        message.contains("bank.block: found 0, expected a number, at least 1"),
        "{message}"
    );
}

#[test]
fn a_nested_choice_is_checked_too() {
    let message = build(&with("block = 2", "keep = { type = \"last\", imags = 3 }")).unwrap_err();
    assert!(
        message.contains("bank.keep.imags: unknown key"),
        "{message}"
    );
    assert!(message.contains("bank.keep.images: missing"), "{message}");
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "nam = 1\n[backbone]\ntype = \"grey\"\n[scorer]\ntype = \"largest\"\nx = 1\n[calibration]\ntype = \"quantle\"";
    let message = build(text).unwrap_err();
    for key in ["nam", "backbone.type", "scorer.x", "calibration.type"] {
        assert!(
            message.contains(&format!("line.toml: {key}: ")),
            "{key}: {message}"
        );
    }
}

#[test]
fn a_missing_table_is_told() {
    let message = build("[backbone]\ntype = \"gray\"").unwrap_err();
    assert!(message.contains("scorer: missing"), "{message}");
}

#[test]
fn later_layers_win_key_by_key() {
    let config = ConfigBuilder::new()
        .toml("base", CONFIG)
        .unwrap()
        .set("bank.block=7")
        .unwrap()
        .set("name=\"swapped\"")
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(config.name, "swapped");
    assert_eq!(config.bank.unwrap().table().unwrap()["block"], 7);
}

#[test]
fn a_fault_in_set_is_told_as_such() {
    let message = ConfigBuilder::new()
        .toml("base", CONFIG)
        .unwrap()
        .set("bank.block=0")
        .unwrap()
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("--set bank.block=0: bank.block"),
        "{message}"
    );
}

#[test]
fn another_component_takes_the_table_over() {
    let config = ConfigBuilder::new()
        .toml(
            "base",
            &with(
                "block = 2",
                "block = 2\nkeep = { type = \"last\", images = 3 }",
            ),
        )
        .unwrap()
        .set("bank.keep.type=\"all\"")
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        config.bank.unwrap().table().unwrap()["keep"],
        serde_json::json!({ "type": "all" })
    );
}

#[test]
fn files_extend_one_another_and_formats_mix() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("base.toml"), CONFIG).unwrap();
    std::fs::write(
        folder.path().join("mid.yaml"),
        "extends: base.toml\nbank:\n  block: 3\n",
    )
    .unwrap();
    let top = folder.path().join("top.json");
    std::fs::write(&top, r#"{"extends": "mid.yaml", "name": "top"}"#).unwrap();
    let config = ConfigBuilder::new().file(&top).unwrap().build().unwrap();
    assert_eq!(config.name, "top");
    assert_eq!(config.bank.unwrap().table().unwrap()["block"], 3);
}

#[test]
fn a_circle_of_extends_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    std::fs::write(&a, "extends = \"b.toml\"").unwrap();
    std::fs::write(&b, "extends = \"a.toml\"").unwrap();
    let message = ConfigBuilder::new().file(&a).unwrap_err().to_string();
    assert!(message.contains("circle"), "{message}");
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.toml");
    std::fs::write(&path, "name = \"x\"\n[backbone\n").unwrap();
    let message = ConfigBuilder::new().file(&path).unwrap_err().to_string();
    assert!(
        message.contains("broken.toml") && message.contains("line 2"),
        "{message}"
    );
}

#[test]
fn a_config_is_written_with_every_default_and_reads_back() {
    let config = build(CONFIG).unwrap();
    assert_eq!(config.backbone.table().unwrap()["offset"], 0.0);
    let text = toml::to_string(&config).unwrap();
    assert_eq!(build(&text).unwrap(), config);
}

#[test]
fn identity_ignores_names_calibration_and_runtime_options() {
    let base = build(CONFIG).unwrap().identity().unwrap();
    let same = with("type = \"gray\"", "type = \"gray\"\nthreads = 4").replace("toy", "other")
        + "[calibration]\ntype = \"fixed\"\nthreshold = 1.0";
    assert_eq!(build(&same).unwrap().identity().unwrap(), base);
    let other = with("type = \"gray\"", "type = \"gray\"\noffset = 1.0");
    assert_ne!(build(&other).unwrap().identity().unwrap(), base);
}
