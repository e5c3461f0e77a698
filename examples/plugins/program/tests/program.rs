//! The plugins in the program of a company: listed, and chosen by config alone in scan, bench and
//! serve.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rareclip_imaging::{RgbPicture, encode_png};
use serde_json::Value;

/// The scorer and the index of outside crates beside components that come with rareclip.
const DETECTOR: &str = r#"
name = "acme"
[backbone]
type = "thumbnail"
image_size = 64
cell = 8
[bank]
type = "prototype"
blocks = [1]
neighbourhoods = [1, 3]
[scorer]
type = "acme-scorer"
share = 0.05
"#;

/// The program, and no settings of the caller's environment.
fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acme-rareclip"));
    for (name, _) in std::env::vars() {
        if name.starts_with("RARECLIP_") && name.contains("__") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(folder);
    command
}

/// Standard output of the program, which must end well.
#[track_caller]
fn run(folder: &Path, args: &[&str]) -> String {
    let output = program(folder, args).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {log}");
    String::from_utf8(output.stdout).unwrap()
}

/// Stripes with some noise, and on a defective product a bright spot.
fn picture(seed: usize, defective: bool) -> Vec<u8> {
    let side = 64;
    let mut state = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut data = Vec::new();
    for at in 0..side * side {
        let (row, column) = (at / side, at % side);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let spot = defective && (28..40).contains(&row) && (20..34).contains(&column);
        let level = if spot {
            230
        } else {
            90 + 60 * (column / 8 % 2)
        };
        data.extend([(level + state as usize % 16) as u8; 3]);
    }
    encode_png(&RgbPicture::new(side, side, data).unwrap()).unwrap()
}

/// A folder with the detector and `images`, in layouts of a line and of a data set.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme.toml"), DETECTOR).unwrap();
    let write = |place: PathBuf, seed, defective| {
        let path = folder.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, picture(seed, defective)).unwrap();
    };
    for image in 0..16 {
        let spot = image == 12;
        write(format!("line/{image:02}.png").into(), image, spot);
        let kind = if image % 4 == 3 { "spot" } else { "good" };
        let place = format!("set/test/{kind}/{image:02}.png");
        write(place.into(), 100 + image, kind == "spot");
        write(
            format!("set/train/good/{image:02}.png").into(),
            200 + image,
            false,
        );
    }
    folder
}

fn scores(lines: &str) -> Vec<f64> {
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| row["score"].as_f64().unwrap()).collect()
}

fn worst(scores: &[f64]) -> usize {
    // The first image has nothing to be compared with.
    (1..scores.len())
        .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        .unwrap()
}

const SCAN: [&str; 5] = ["scan", "line", "--config", "acme.toml", "--json"];

#[test]
fn every_plugin_is_listed_whichever_way_it_came() {
    let list = run(Path::new("."), &["components", "list"]);
    for slot in ["backbone", "prompt", "bank", "scorer"] {
        assert!(list.contains(&format!("acme-{slot}")), "{slot}: {list}");
    }
    let behind = list.contains("acme-index");
    assert_eq!(behind, cfg!(feature = "index"), "{list}");
}

#[test]
fn the_scorer_finds_the_defect_in_a_scan() {
    let folder = workplace();
    let scores = scores(&run(folder.path(), &SCAN));
    assert_eq!((scores.len(), worst(&scores)), (16, 12), "{scores:?}");
}

#[test]
fn every_plugin_takes_its_place_by_config_alone() {
    let folder = workplace();
    let ours = scores(&run(folder.path(), &SCAN));
    for set in [
        &["scorer.share=1.0"][..],
        &[
            "backbone.type=\"acme-backbone\"",
            "backbone.image_size=64",
            "backbone.cell=8",
        ],
        &["bank.type=\"acme-bank\"", "bank.images=10"],
        &["prompt.type=\"acme-prompt\"", "scorer.type=\"prior\""],
    ] {
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
        let theirs = scores(&run(folder.path(), &[&SCAN[..], &set].concat()));
        assert_ne!(theirs, ours, "{set:?}");
        assert_eq!(worst(&theirs), 12, "{set:?}: {theirs:?}");
    }
}

#[cfg(feature = "index")]
#[test]
fn the_index_finds_what_the_built_in_one_finds() {
    let folder = workplace();
    let ours = scores(&run(folder.path(), &SCAN));
    let index = ["--set", "bank.index.type=\"acme-index\""];
    let theirs = scores(&run(folder.path(), &[&SCAN[..], &index].concat()));
    for (one, other) in ours.iter().zip(&theirs) {
        assert!((one - other).abs() < 1e-5, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn the_scorer_stands_in_the_table_of_a_bench() {
    let folder = workplace();
    let text = run(
        folder.path(),
        &[
            "bench",
            "--detectors",
            "acme.toml,baseline-contrast",
            "--dataset",
            "folder:set/test",
            "--out",
            "out",
        ],
    );
    assert!(
        text.contains("acme") && text.contains("baseline-contrast"),
        "{text}"
    );
    let results = std::fs::read(folder.path().join("out/results.json")).unwrap();
    let results: Value = serde_json::from_slice(&results).unwrap();
    let runs = results["runs"].as_array().unwrap();
    let ours = runs.iter().find(|run| run["detector"] == "acme").unwrap();
    assert!(ours["image"]["auroc"].as_f64().unwrap() > 0.9, "{ours}");
}

/// A service that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_gives_what_a_scan_gives() {
    let folder = workplace();
    let serve = [
        "serve",
        "--config",
        "acme.toml",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "data",
    ];
    let mut command = program(folder.path(), &serve);
    let mut service = Service(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(service.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("listening on "));
    let line = line.expect("the service listens");
    let address = line.trim_start_matches("listening on ");
    let address = &address[..address.find([',', ';']).unwrap()];
    let client = [
        "client", "line", "--server", address, "--stream", "line-1", "--json",
    ];
    assert_eq!(run(folder.path(), &client), run(folder.path(), &SCAN));
}
