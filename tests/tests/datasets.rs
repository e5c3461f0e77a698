//! A data set that was pulled, through the program.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::{code, product, rareclip, stderr, stdout};
use rareclip_imaging::{encode_png, encode_png_gray};

/// A machine with an empty cache, and VisA as published, but of four images.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder };
        let root = machine.path("published");
        let write = |place: &str, bytes: &[u8]| {
            let path = root.join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let mut split = "object,split,label,image,mask\n".to_owned();
        for (at, object) in ["candle", "cashew"].iter().enumerate() {
            let (normal, defect) = ("Data/Images/Normal", "Data/Images/Anomaly");
            for (name, use_as) in [("0000", "train"), ("0001", "test")] {
                let picture = encode_png(&product(at as u64, false)).unwrap();
                write(&format!("{object}/{normal}/{name}.png"), &picture);
                split += &format!("{object},{use_as},normal,{object}/{normal}/{name}.png,\n");
            }
            let picture = encode_png(&product(at as u64, true)).unwrap();
            write(&format!("{object}/{defect}/000.png"), &picture);
            let mask = ndarray::Array2::from_shape_fn((64, 64), |(row, _)| u8::from(row == 30));
            let mask_file = format!("{object}/Data/Masks/Anomaly/000.png");
            write(&mask_file, &encode_png_gray(mask.view()).unwrap());
            split += &format!("{object},test,anomaly,{object}/{defect}/000.png,{mask_file}\n");
        }
        write("split_csv/1cls.csv", split.as_bytes());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The published tar.
    fn tar(&self) -> PathBuf {
        let path = self.path("VisA_20220922.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
        tar.append_dir_all("", self.path("published")).unwrap();
        tar.finish().unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        rareclip(args)
            .env("RARECLIP_CACHE", self.path("cache"))
            .env_remove("RARECLIP_MIRROR")
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    fn pull(&self) -> PathBuf {
        let tar = self.tar();
        let path = self.ok(&["models", "pull", "visa", "--from", &tar.to_string_lossy()]);
        Path::new(path.trim()).to_owned()
    }
}

#[test]
fn visa_without_a_folder_is_the_pulled_one() {
    let machine = Machine::new();
    let folder = machine.pull();
    assert!(folder.starts_with(machine.path("cache")));
    let text = machine.ok(&["datasets", "info", "visa", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["kind"], "visa");
    assert_eq!(info["root"], folder.display().to_string());
    assert_eq!(info["categories"][0]["test"]["masks"], 1);
    assert_eq!(info["categories"][1]["train"]["normal"], 1);
    let text = machine.ok(&["datasets", "verify", "visa", "--full"]);
    assert!(
        text.contains("2 categories, 6 images, 2 masks, 0 problems"),
        "{text}"
    );
    for spec in ["visa?category=cashew", "visa:?category=cashew"] {
        let text = machine.ok(&["datasets", "verify", spec]);
        assert!(text.contains("1 categories, 3 images"), "{spec}: {text}");
    }
    machine.ok(&["models", "verify", "visa"]);
}

#[test]
fn visa_with_a_folder_is_that_folder() {
    let machine = Machine::new();
    let text = machine.ok(&["datasets", "verify", "visa:published"]);
    assert!(text.contains("published: 2 categories"), "{text}");
    // A bare path stays one as long as nothing was pulled.
    std::fs::rename(machine.path("published"), machine.path("visa")).unwrap();
    let text = machine.ok(&["datasets", "verify", "visa"]);
    assert!(text.starts_with("visa: 2 categories"), "{text}");
}

#[test]
fn visa_that_was_not_pulled_names_the_command() {
    let machine = Machine::new();
    let output = machine.run(&["datasets", "info", "visa"]);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("rareclip datasets pull visa"), "{text}");
}

#[test]
fn a_mirror_serves_datasets_pull_and_an_option_that_is_wrong_is_named() {
    let machine = Machine::new();
    machine.pull();
    std::fs::rename(machine.path("cache"), machine.path("mirror")).unwrap();
    let output = rareclip(&["datasets", "pull", "visa"])
        .env("RARECLIP_CACHE", machine.path("cache"))
        .env("RARECLIP_MIRROR", machine.path("mirror"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("licence: CC BY 4.0"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("use it as visa"),
        "{}",
        stderr(&output)
    );
    let output = machine.run(&["datasets", "info", "visa?categories=candle"]);
    assert!(
        stderr(&output).contains("did you mean `category`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_the_catalogue_does_not_know_it_does_not_say() {
    let machine = Machine::new();
    let text = machine.ok(&["models", "list", "--json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let visa = all.iter().find(|entry| entry["name"] == "visa").unwrap();
    assert!(visa["download_bytes"].is_null() && visa["sha256"].is_null());
    assert!(machine.ok(&["models", "list"]).contains("not known"));
}

/// A category of MVTec LOCO, of which half a defect counts as found whole.
fn loco(root: &Path, config: bool) {
    let write = |place: String, bytes: Vec<u8>| {
        let path = root.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for at in 0..6 {
        let picture = encode_png(&product(at, false)).unwrap();
        write(format!("test/good/{at:03}.png"), picture);
    }
    for at in 0..2 {
        let picture = encode_png(&product(50 + at, true)).unwrap();
        write(format!("test/structural_anomalies/{at:03}.png"), picture);
        let mask = ndarray::Array2::from_shape_fn((64, 64), |(row, column)| {
            255 * u8::from((28..40).contains(&row) && (20..34).contains(&column))
        });
        let mask = encode_png_gray(mask.view()).unwrap();
        write(
            format!("ground_truth/structural_anomalies/{at:03}/000.png"),
            mask,
        );
    }
    if config {
        let config = r#"[{"defect_name": "spot", "pixel_value": 255, "saturation_threshold": 0.5, "relative_saturation": true}]"#;
        write("defects_config.json".into(), config.into());
    }
}

#[test]
fn loco_gets_the_spro_where_it_says_what_saturates() {
    let machine = Machine::new();
    std::fs::write(machine.path("pixels.toml"), common::CONFIG).unwrap();
    for (name, config) in [("with", true), ("without", false)] {
        loco(&machine.path(name), config);
        let dataset = format!("mvtec-loco:{name}");
        let out = format!("out-{name}");
        let args = ["bench", "--detectors", "pixels.toml", "--dataset", &dataset];
        let text = machine.ok(&[&args[..], &["--out", &out, "--side", "64"]].concat());
        assert_eq!(text.contains("AU-sPRO to 0.05"), config, "{text}");
        let results = std::fs::read(machine.path(&out).join("results.json")).unwrap();
        let results: serde_json::Value = serde_json::from_slice(&results).unwrap();
        let run = &results["runs"][0];
        if config {
            assert_eq!(run["spro"]["regions"], 2);
            // Half of a region is found no later than all of it.
            let area = run["spro"]["area_03"].as_f64().unwrap();
            assert!(area >= run["pixel"]["aupro"].as_f64().unwrap(), "{run}");
        } else {
            assert!(run["spro"].is_null());
        }
    }
}

#[test]
fn a_benchmark_tells_the_encoding_times_of_images_that_score_each_other() {
    let machine = Machine::new();
    loco(&machine.path("data"), false);
    let config = r#"
name = "mutual"
[backbone]
type = "pixels"
[bank]
type = "mutual"
blocks = [1, 2]
neighbourhoods = [1]
[scorer]
type = "mutual"
windows = []
"#;
    std::fs::write(machine.path("mutual.toml"), config).unwrap();
    let args = [
        "bench",
        "--detectors",
        "mutual.toml",
        "--dataset",
        "mvtec-loco:data",
    ];
    machine.ok(&[&args[..], &["--out", "out", "--side", "64"]].concat());
    let results = std::fs::read(machine.path("out/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_slice(&results).unwrap();
    let stages = results["runs"][0]["stages"].as_array().unwrap();
    let names: Vec<&str> = stages
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["decode", "backbone", "bank"]);
}
