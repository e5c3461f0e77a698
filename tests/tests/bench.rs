//! Detectors on a data set: the benchmark through the program.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{code, product, rareclip, run, stderr, stdout};
use rareclip_imaging::{RgbPicture, encode_png, encode_png_gray};
use serde_json::Value;

/// The rarity detector on pixels, and one whose score says nothing.
const RARITY: &str = common::CONFIG;
const WINDOW: &str = r#"
name = "window"
[backbone]
type = "pixels"
[bank]
type = "window"
block = 2
[scorer]
type = "largest"
"#;

/// A data set in MVTec's layout: stripes, and stripes with a spot that the mask marks.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new(categories: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = Self { folder };
        for (number, category) in categories.iter().enumerate() {
            let root = data.root().join(category);
            let write = |place: &str, picture: &RgbPicture| {
                let path = root.join(place);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, encode_png(picture).unwrap()).unwrap();
            };
            for image in 0..4 {
                let seed = 1000 * (number as u64 + 1) + image;
                write(&format!("train/good/{image:03}.png"), &product(seed, false));
            }
            for image in 0..8 {
                let seed = 2000 * (number as u64 + 1) + image;
                write(&format!("test/good/{image:03}.png"), &product(seed, false));
                if image < 4 {
                    let spot = product(seed + 500, true);
                    write(&format!("test/spot/{image:03}.png"), &spot);
                    let mask = ndarray::Array2::from_shape_fn((64, 64), |(row, column)| {
                        255 * u8::from((28..40).contains(&row) && (20..34).contains(&column))
                    });
                    let path = root.join(format!("ground_truth/spot/{image:03}_mask.png"));
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, encode_png_gray(mask.view()).unwrap()).unwrap();
                }
            }
        }
        std::fs::write(data.path("rarity.toml"), RARITY).unwrap();
        std::fs::write(data.path("window.toml"), WINDOW).unwrap();
        data
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn bench(&self, out: &str, more: &[&str]) -> std::process::Output {
        let detectors = format!("{},{}", self.path("rarity.toml"), self.path("window.toml"));
        let dataset = format!("mvtec:{}", self.root().display());
        let out = self.path(out);
        let mut args = vec!["bench", "--detectors", &detectors, "--dataset", &dataset];
        args.extend(["--out", &out, "--side", "64"]);
        args.extend(more);
        rareclip(&args).output().unwrap()
    }

    fn results(&self, out: &str) -> Value {
        let path = self.folder.path().join(out).join("results.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

/// What two benchmarks must agree on: everything but times and memory.
fn scores(results: &Value) -> Vec<Value> {
    let runs = results["runs"].as_array().unwrap();
    runs.iter()
        .map(|run| {
            serde_json::json!([
                run["detector"],
                run["category"],
                run["seed"],
                run["images"],
                run["image"],
                run["pixel"]
            ])
        })
        .collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn detectors_by_categories_by_seeds_stand_in_one_table_and_a_report() {
    let data = Data::new(&["bolt", "nut"]);
    let output = data.bench("out", &["--seeds", "0,1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "pixels",
        "window",
        "bolt",
        "nut",
        "mean",
        "image AUROC",
        "pixel AUROC",
        "AUPRO",
        "±",
        "report.html",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let results = data.results("out");
    assert_eq!(results["runs"].as_array().unwrap().len(), 2 * 2 * 2);
    let rarity = &results["runs"][0];
    assert_eq!(rarity["detector"], "pixels");
    assert_eq!(rarity["image"]["auroc"], 1.0);
    assert!(rarity["pixel"]["auroc"].as_f64().unwrap() > 0.9);
    assert!(rarity["stages"].as_array().unwrap().len() >= 4);
    let html = std::fs::read_to_string(data.path("out/report.html")).unwrap();
    assert!(html.contains("bolt") && html.contains("window"));
    assert!(
        std::fs::read_to_string(data.path("out/report.md"))
            .unwrap()
            .contains("| pixels |")
    );
}

#[test]
fn a_backbone_runs_once_per_image_for_all_detectors_and_seeds() {
    let data = Data::new(&["bolt"]);
    assert_eq!(code(&data.bench("out", &["--seeds", "0,1"])), 0);
    // Both configs have the same backbone: twelve test images, no shots.
    let features = files(&data.folder.path().join("out/features"), "safetensors");
    assert_eq!(features.len(), 12);
}

#[test]
fn a_benchmark_goes_on_where_it_was_stopped_and_ends_the_same() {
    let data = Data::new(&["bolt"]);
    assert_eq!(code(&data.bench("whole", &["--seeds", "0,1"])), 0);
    assert_eq!(code(&data.bench("parts", &["--seeds", "0"])), 0);
    let runs = data.folder.path().join("parts/runs");
    let first = files(&runs, "json");
    let stamp = |path: &PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    let before: Vec<_> = first.iter().map(stamp).collect();
    // A run that was cut off while it was written is done again.
    std::fs::write(&first[1], b"{ \"half").unwrap();
    assert_eq!(code(&data.bench("parts", &["--seeds", "0,1"])), 0);
    assert_eq!(
        stamp(&first[0]),
        before[0],
        "a finished run is not done again"
    );
    assert_eq!(
        scores(&data.results("whole")),
        scores(&data.results("parts"))
    );
}

#[test]
fn another_option_or_image_makes_a_run_anew() {
    let data = Data::new(&["bolt"]);
    assert_eq!(code(&data.bench("out", &[])), 0);
    let first = scores(&data.results("out"));
    assert_eq!(code(&data.bench("out", &["--set", "backbone.patch=8"])), 0);
    let second = scores(&data.results("out"));
    assert_ne!(first, second);
    let image = data.root().join("bolt/test/good/000.png");
    std::fs::write(image, encode_png(&product(77, true)).unwrap()).unwrap();
    assert_eq!(code(&data.bench("out", &["--set", "backbone.patch=8"])), 0);
    assert_ne!(second, scores(&data.results("out")));
}

#[test]
fn shots_are_shown_first_and_stand_in_the_label() {
    let data = Data::new(&["bolt"]);
    let detectors = format!("{}@2", data.path("rarity.toml"));
    let dataset = format!("mvtec:{}", data.root().display());
    let out = data.path("shots");
    let args = [
        "bench",
        "--detectors",
        &detectors,
        "--dataset",
        &dataset,
        "--out",
        &out,
    ];
    let output = run(&[&args[..], &["--image-only"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results = data.results("shots");
    assert_eq!(results["runs"][0]["shots"], 2);
    assert_eq!(results["detectors"][0], "pixels@2");
    assert!(results["runs"][0]["pixel"].is_null());

    let too_many = format!("{}@9", data.path("rarity.toml"));
    let args = [
        "bench",
        "--detectors",
        &too_many,
        "--dataset",
        &dataset,
        "--out",
        &out,
    ];
    let text = stderr(&run(&args));
    assert!(
        text.contains("9 shots") && text.contains("4 training"),
        "{text}"
    );
}

#[test]
fn two_results_are_compared_with_delongs_test() {
    let data = Data::new(&["bolt"]);
    assert_eq!(code(&data.bench("a", &[])), 0);
    assert_eq!(code(&data.bench("b", &["--set", "backbone.patch=14"])), 0);
    let (a, b) = (data.path("a"), data.path("b"));
    let text = stdout(&run(&["compare", &a, &b]));
    assert!(
        text.contains("pixels") && text.contains("p (DeLong)"),
        "{text}"
    );
    let output = run(&["compare", &a, &a, "--detectors", "pixels,window", "--json"]);
    let all: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let test = &all[0]["comparison"]["test"];
    assert_eq!(test["auroc_a"].as_f64(), Some(1.0), "{test}");
    let text = stderr(&run(&["compare", &a, &a, "--detectors", "pixels,acme"]));
    assert!(text.contains("acme") && text.contains("window"), "{text}");
}

#[test]
fn mistakes_are_named_before_any_image_is_read() {
    let data = Data::new(&["bolt"]);
    let dataset = format!("mvtec:{}", data.root().display());
    let out = data.path("out");
    let of = |detectors: &str, dataset: &str| {
        let args = [
            "bench",
            "--detectors",
            detectors,
            "--dataset",
            dataset,
            "--out",
            &out,
        ];
        let output = run(&args);
        assert_eq!(code(&output), 1);
        stderr(&output)
    };
    let rarity = data.path("rarity.toml");
    assert!(of("raretyp", &dataset).contains("raretyp"));
    let twice = format!("{rarity},{rarity}");
    assert!(of(&twice, &dataset).contains("twice"));
    assert!(of(&format!("{rarity}@many"), &dataset).contains("@"));
    let text = of(&rarity, "mvtec:/no/such/folder");
    assert!(text.contains("/no/such/folder"), "{text}");
    let unlabelled = format!("{}?category=screw", dataset);
    assert!(of(&rarity, &unlabelled).contains("bolt"));
}

#[test]
fn the_recall_of_an_approximate_index_stands_beside_the_costs() {
    let data = Data::new(&["bolt"]);
    let overlooking = RARITY
        .replace("name = \"pixels\"", "name = \"fast\"")
        .replace(
            "[scorer]",
            "[bank.index]\ntype = \"brute-force\"\noverlook = 4\n[scorer]",
        );
    std::fs::write(data.path("window.toml"), overlooking).unwrap();
    let output = data.bench("out", &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results = data.results("out");
    let run = |name: &str| {
        let mut runs = results["runs"].as_array().unwrap().iter();
        runs.find(|run| run["detector"] == name).unwrap().clone()
    };
    assert_eq!(run("pixels")["recall"], Value::Null);
    let recall = &run("fast")["recall"];
    assert_eq!(recall["k"], 3);
    let share = recall["found"].as_f64().unwrap() / recall["wanted"].as_f64().unwrap();
    // One vector in four is overlooked.
    assert!((0.6..0.9).contains(&share), "{recall}");
    let report = std::fs::read_to_string(data.path("out/report.html")).unwrap();
    for text in [stdout(&output), report] {
        assert!(text.contains("index recall"), "{text}");
        assert!(text.contains(&format!("{share:.4} @ 3")), "{text}");
        assert!(text.contains("exact"), "{text}");
    }
}
