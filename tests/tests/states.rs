//! State files of every format so far load and go on where they were.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{code, line_from, rareclip, rows, stderr, stdout};
use rareclip_core::snapshot::FORMAT_VERSION;
use serde_json::{Value, json};

/// One detector of each way to keep a memory: `NAME.toml`, beside it the state it made,
/// `NAME.state`, and the scores before and after that was saved, `NAME.json`.
const DETECTORS: [&str; 5] = ["rarity", "direct", "coreset", "gaussian", "subspace"];

fn fixtures(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/state-v{version}"))
}

/// A scratch folder with a detector of format `version`, known normals, images before, and images
/// after.
fn bench(version: u32, detector: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = fixtures(version).join(format!("{detector}.toml"));
    std::fs::copy(config, folder.path().join("detector.toml")).unwrap();
    line_from(&folder.path().join("normals"), 1000, 4, &[]);
    line_from(&folder.path().join("before"), 1, 8, &[5]);
    line_from(&folder.path().join("after"), 100, 6, &[3]);
    folder
}

/// Scores of a scan of the images in `images`, with the state in the file `state`.
fn scan(folder: &Path, images: &str, more: &[&str]) -> Vec<[f64; 2]> {
    let args = [
        "scan",
        images,
        "--config",
        "detector.toml",
        "--state",
        "state",
        "--json",
    ];
    let output = rareclip(&args)
        .args(more)
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
    let rows = rows(&stdout(&output));
    rows.iter()
        .map(|row| ["raw_score", "score"].map(|key| number(row, key)))
        .collect()
}

/// Scores of the images before, after which the state is saved.
fn before(folder: &Path) -> Vec<[f64; 2]> {
    scan(folder, "before", &["--normals", "normals"])
}

/// Scores of the images after, scored from the state.
fn after(folder: &Path) -> Vec<[f64; 2]> {
    scan(folder, "after", &["--new-run"])
}

fn recorded(scores: &Value) -> Vec<[f64; 2]> {
    serde_json::from_value(scores.clone()).unwrap()
}

fn furthest(one: &[[f64; 2]], other: &[[f64; 2]]) -> f64 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    let differences: Vec<f64> = pairs.map(|(a, b)| (a - b).abs()).collect();
    assert!(differences.iter().all(|difference| difference.is_finite()));
    differences.into_iter().fold(0.0, f64::max)
}

#[test]
fn states_of_every_format_go_on_to_the_scores_recorded() {
    for version in 1..=FORMAT_VERSION {
        for detector in DETECTORS {
            let name = format!("{detector}, format {version}");
            let made = fixtures(version).join(detector);
            let scores = std::fs::read(made.with_extension("json")).unwrap();
            let scores: Value = serde_json::from_slice(&scores).unwrap();
            let folder = bench(version, detector);
            // Matrix products differ in the last bits from one processor to another. Where this one
            // makes the same bits from the start, it has to go on to the same bits.
            let (was, is) = (recorded(&scores["before"]), before(folder.path()));
            let allowed = if was == is { 0.0 } else { 1e-3 };
            assert!(
                furthest(&was, &is) <= allowed,
                "{name}: {was:?}, now {is:?}"
            );

            std::fs::copy(made.with_extension("state"), folder.path().join("state")).unwrap();
            let (was, is) = (recorded(&scores["after"]), after(folder.path()));
            assert!(
                furthest(&was, &is) <= allowed,
                "{name}: {was:?}, now {is:?}"
            );
            let worst = (0..is.len()).max_by(|&a, &b| is[a][1].total_cmp(&is[b][1]));
            assert_eq!(worst, Some(3), "{name}: {is:?}");
        }
    }
}

#[test]
fn a_state_of_a_newer_format_is_refused_with_both_formats_and_the_way_out() {
    let folder = bench(FORMAT_VERSION, "rarity");
    let state = fixtures(FORMAT_VERSION).join("rarity.state");
    let mut bytes = std::fs::read(state).unwrap();
    bytes[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    std::fs::write(folder.path().join("state"), &bytes).unwrap();
    let args = [
        "scan",
        "after",
        "--config",
        "detector.toml",
        "--state",
        "state",
    ];
    let output = rareclip(&args).current_dir(folder.path()).output().unwrap();
    assert_eq!(code(&output), 1);
    for part in [
        format!("has format {}", FORMAT_VERSION + 1),
        format!("reads formats up to {FORMAT_VERSION}"),
        "upgrade rareclip".into(),
        "start afresh".into(),
    ] {
        assert!(
            stderr(&output).contains(&part),
            "{part}: {}",
            stderr(&output)
        );
    }
    let kept = std::fs::read(folder.path().join("state")).unwrap();
    assert_eq!(kept, bytes, "the state stays as it is");
}

/// For a new format: `cargo test -p rareclip-tests --test states -- --ignored`, with the configs of
/// the one before copied beside. The files of a format that was published are never made again.
#[test]
#[ignore = "makes the files that the others read"]
fn make_the_files_of_the_present_format() {
    for detector in DETECTORS {
        let folder = bench(FORMAT_VERSION, detector);
        let made = fixtures(FORMAT_VERSION).join(detector);
        let before = before(folder.path());
        std::fs::copy(folder.path().join("state"), made.with_extension("state")).unwrap();
        let after = after(folder.path());
        let scores = json!({ "before": before, "after": after });
        let text = serde_json::to_string_pretty(&scores).unwrap() + "\n";
        std::fs::write(made.with_extension("json"), text).unwrap();
    }
}
