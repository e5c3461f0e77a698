//! `rareclip train tpb` as a user runs it: a tiny CLIP, eight pictures, and the result in a
//! detector.

#![cfg(all(feature = "tch", feature = "ort"))]
// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rareclip_checkpoints::Checkpoint;
use rareclip_testkit::{engine, shared};

/// Those of the eight pictures that show a defect.
const DEFECTIVE: [usize; 6] = [0, 2, 3, 5, 6, 7];

/// The pictures as a data set with masks, and a config of the tiny model.
struct Place {
    folder: tempfile::TempDir,
    images: PathBuf,
}

impl Place {
    fn new(fixtures: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = fixtures.join("train");
        let copy = |from: PathBuf, to: PathBuf| {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        };
        let data = folder.path().join("data/thing");
        for number in 0..8 {
            let image = from.join(format!("images/{number}.png"));
            if !DEFECTIVE.contains(&number) {
                copy(image.clone(), data.join(format!("train/good/{number}.png")));
                copy(image, data.join(format!("test/good/{number}.png")));
                continue;
            }
            copy(image, data.join(format!("test/broken/{number}.png")));
            let mask = data.join(format!("ground_truth/broken/{number}_mask.png"));
            copy(from.join(format!("masks/{number}.png")), mask);
        }
        let model = serde_json::json!(fixtures.join("clip_tiny/open_clip.safetensors"));
        let config = format!(
            "name = \"tiny\"\n[backbone]\ntype = \"vit\"\nmodel = {model}\nimage_size = 70\n\
             [prompt]\ntype = \"tpb\"\nweights = \"run/tpb.safetensors\"\nblocks = [6, 8, 10, 12]\n\
             [prompt.text]\nmodel = {model}\n[scorer]\ntype = \"prior\"\n"
        );
        std::fs::write(folder.path().join("tiny.toml"), config).unwrap();
        Self {
            folder,
            images: from.join("images"),
        }
    }

    fn rareclip(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rareclip"))
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn train(&self, more: &[&str]) -> Output {
        let args = [
            "train",
            "tpb",
            "--dataset",
            "mvtec:data",
            "--config",
            "tiny.toml",
            "--out",
            "run",
        ];
        self.rareclip(&[&args[..], &["--epochs", "2", "--batch", "4"], more].concat())
    }
}

/// The model of the tiny config in that of the paper, with the weights of the run.
fn in_the_detector(model: &str) -> Vec<String> {
    let set = [
        &format!("backbone.model={model}"),
        "backbone.image_size=70",
        &format!("prompt.text.model={model}"),
        "prompt.weights=run/tpb.safetensors",
        "prompt.blocks=[6, 8, 10, 12]",
        "bank.blocks=[6, 12]",
    ];
    let set = set
        .iter()
        .flat_map(|set| ["--set".to_owned(), (*set).to_owned()]);
    set.collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_bridge_is_trained_and_drops_into_a_detector() {
    let test = "a_bridge_is_trained_and_drops_into_a_detector";
    let Some(fixtures) = shared(test).map(|shared| shared.join("fixtures")) else {
        return;
    };
    if !engine(test) {
        return;
    }
    let place = Place::new(&fixtures);
    let output = place.train(&[]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("features of 8 images take") && said.contains("epoch 2: loss"),
        "{said}"
    );
    let run = place.folder.path().join("run");
    let log: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("log.json")).unwrap()).unwrap();
    assert_eq!(log["steps"].as_array().unwrap().len(), 4);
    assert_eq!(log["run"]["settings"]["mosaic"], 0.2);
    assert_eq!(
        log["run"]["selection"]["exclude"][1],
        serde_json::json!(["transistor", "misplaced"])
    );
    let page = std::fs::read_to_string(run.join("log.html")).unwrap();
    assert!(page.contains("dice loss") && page.contains("<svg"));

    let again = place.train(&[]);
    assert!(again.status.success());
    assert!(
        stderr(&again).contains("finished before, after 4 steps"),
        "{}",
        stderr(&again)
    );
    let other = place.train(&["--learning-rate", "0.01"]);
    assert_eq!(other.status.code(), Some(1));
    let said = stderr(&other);
    assert!(
        said.contains("settings.adam.learning_rate: 0.005 there, 0.01 now"),
        "{said}"
    );

    let images = place.images.to_str().unwrap();
    let scan = place.rareclip(&["scan", images, "--config", "tiny.toml", "--json"]);
    assert!(scan.status.success(), "{}", stderr(&scan));
    assert_eq!(String::from_utf8_lossy(&scan.stdout).lines().count(), 8);

    let model = fixtures.join("clip_tiny/open_clip.safetensors");
    let set = in_the_detector(model.to_str().unwrap());
    let mut args = vec!["scan", images, "--config", "rareclip", "--json"];
    args.extend(set.iter().map(String::as_str));
    let scan = place.rareclip(&args);
    assert!(scan.status.success(), "{}", stderr(&scan));
    assert_eq!(String::from_utf8_lossy(&scan.stdout).lines().count(), 8);
}

#[test]
fn every_option_reaches_the_run() {
    let test = "every_option_reaches_the_run";
    let Some(fixtures) = shared(test).map(|shared| shared.join("fixtures")) else {
        return;
    };
    if !engine(test) {
        return;
    }
    let place = Place::new(&fixtures);
    let root = place.folder.path();
    // A second category with the same pictures.
    for folder in ["test/good", "test/broken", "ground_truth/broken"] {
        let (from, to) = (
            root.join("data/thing").join(folder),
            root.join("data/other").join(folder),
        );
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let options = "--categories thing,other --defects broken --exclude other/good --no-exclusions --validate other \
                   --patience 1 --seed 7 --align-weight 0.5 --mosaic 0.1 --learning-rate 0.01 --save-every 3";
    let options: Vec<&str> = options.split_whitespace().collect();
    let kept = [&options[..], &["--features-dir", "kept"]].concat();
    let output = place.train(&kept);
    assert!(output.status.success(), "{}", stderr(&output));
    let log = std::fs::read(root.join("run/log.json")).unwrap();
    let run = serde_json::from_slice::<serde_json::Value>(&log).unwrap()["run"].take();
    let settings = &run["settings"];
    let expected = serde_json::json!({
        "seed": 7, "patience": 1, "mosaic": 0.1, "epochs": 2, "batch": 4, "blocks": [6, 8, 10, 12],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&settings[name], value, "{name}");
    }
    assert_eq!(settings["objective"]["align_weight"], 0.5);
    assert_eq!(settings["adam"]["learning_rate"], 0.01);
    assert_eq!(
        run["selection"],
        serde_json::json!({ "defects": ["broken"], "exclude": [["other", "good"]], "validate": "other" })
    );
    assert_eq!(run["dataset"]["training"]["images"], 8);
    assert_eq!(run["validation"]["images"], 6);
    assert!(root.join("kept").is_dir() && !root.join("run/features").exists());
    // The same run without features on disk.
    std::fs::rename(root.join("run"), root.join("first")).unwrap();
    let output = place.train(&[&options[..], &["--features", "recompute"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!root.join("run/features").exists());
    let open = |run: &str| Checkpoint::open(root.join(run).join("tpb.safetensors")).unwrap();
    assert_eq!(open("first").metadata(), open("run").metadata());
}

#[test]
fn what_is_wrong_is_found_before_the_backbone_is_read() {
    let test = "what_is_wrong_is_found_before_the_backbone_is_read";
    let Some(fixtures) = shared(test).map(|shared| shared.join("fixtures")) else {
        return;
    };
    let place = Place::new(&fixtures);
    for (wrong, part) in [
        (&["--mosaic", "20"][..], "--mosaic: must be a probability"),
        (
            &["--learning-rate", "0"],
            "--learning-rate: must be a number above 0",
        ),
        (&["--validate", "thimg"], "did you mean `thing`"),
        (&["--exclude", "thing/brocken"], "did you mean `broken`"),
        (&["--exclude", "thing"], "expected CATEGORY/DEFECT"),
        (&["--device", "cuda:4000"], "device `cuda:4000`"),
    ] {
        let missing = ["--set", "backbone.model=none.safetensors"];
        let output = place.train(&[wrong, &missing].concat());
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_killed_training_goes_on_to_the_bits_of_one_that_was_not() {
    let test = "a_killed_training_goes_on_to_the_bits_of_one_that_was_not";
    let Some(fixtures) = shared(test).map(|shared| shared.join("fixtures")) else {
        return;
    };
    if !engine(test) {
        return;
    }
    let place = Place::new(&fixtures);
    let path = |name: &str| place.folder.path().join(name);
    let train = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rareclip"));
        command
            .args([
                "train",
                "tpb",
                "--dataset",
                "mvtec:data",
                "--config",
                "tiny.toml",
            ])
            .args([
                "--epochs",
                "60",
                "--batch",
                "3",
                "--save-every",
                "7",
                "--out",
                out,
            ])
            .current_dir(place.folder.path())
            .stderr(Stdio::piped());
        command
    };
    let steps = |out: &str| {
        let log = std::fs::read(path(out).join("log.json")).ok()?;
        let log: serde_json::Value = serde_json::from_slice(&log).unwrap();
        Some(log["steps"].as_array().unwrap().len())
    };
    assert!(train("straight").output().unwrap().status.success());
    let mut killed = train("killed").spawn().unwrap();
    while steps("killed").is_none_or(|steps| steps < 40) {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it was not killed in time"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(steps("killed").unwrap() < 180);
    let rest = train("killed").output().unwrap();
    assert!(
        stderr(&rest).contains("going on after"),
        "{}",
        stderr(&rest)
    );
    assert_eq!(steps("killed"), Some(180));
    let open = |out: &str| Checkpoint::open(path(out).join("tpb.safetensors")).unwrap();
    let (left, right) = (open("straight"), open("killed"));
    for name in left.names() {
        assert_eq!(left.f32(name).unwrap(), right.f32(name).unwrap(), "{name}");
    }
    assert_eq!(left.metadata(), right.metadata());
}

#[test]
fn a_config_without_a_bridge_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rareclip"))
        .args([
            "train",
            "tpb",
            "--dataset",
            "folder:.",
            "--config",
            "rarity-dinov2",
            "--out",
            "run",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("rarity-dinov2") && said.contains("[prompt] of type \"tpb\""),
        "{said}"
    );
}
