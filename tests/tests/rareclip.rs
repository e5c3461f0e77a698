//! The paper's detector through the program: from image files and a config to the golden scores and
//! maps.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;

use common::{code, rareclip, rows, stderr, stdout};
use ndarray::Array2;
use safetensors::SafeTensors;
use serde_json::Value;

/// The built-in config with the tiny CLIP of the fixtures in the place of the large one.
fn scan(shared: &Path, layout: &str, weights: &Path, side: usize, more: &[&str]) -> Vec<Value> {
    let model = shared.join(format!("fixtures/clip_tiny/{layout}.safetensors"));
    let quoted = |path: &Path| serde_json::json!(path.to_str().unwrap()).to_string();
    let sets = [
        format!("backbone.model={}", quoted(&model)),
        format!("backbone.image_size={side}"),
        format!("prompt.text.model={}", quoted(&model)),
        format!("prompt.weights={}", quoted(weights)),
        "prompt.blocks=[6,8,10,12]".into(),
        "bank.blocks=[3,6,9,12]".into(),
        "bank.keep_images=5".into(),
        "scorer.keep_images=8".into(),
        "scorer.rescoring.period=4".into(),
    ];
    let mut args = vec!["scan", "--config", "rareclip", "--json"];
    for set in &sets {
        args.extend(["--set", set]);
    }
    args.extend(more);
    let output = rareclip(&args).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    rows(&stdout(&output))
}

/// The numbers of a golden run.
struct Golden(Vec<u8>);

impl Golden {
    fn read(shared: &Path, run: &str) -> Self {
        Self(
            std::fs::read(shared.join(format!("fixtures/rareclip_e2e/{run}.safetensors"))).unwrap(),
        )
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect()
    }
}

fn close(rows: &[Value], key: &str, golden: &[f32], tolerance: f64) {
    assert_eq!(rows.len(), golden.len());
    for (row, golden) in rows.iter().zip(golden) {
        let found = row[key].as_f64().unwrap();
        assert!(
            (found - f64::from(*golden)).abs() < tolerance,
            "{key} of {row}: {golden}"
        );
    }
}

#[test]
fn scan_gives_the_golden_scores_and_maps_in_both_key_layouts() {
    let name = "scan_gives_the_golden_scores_and_maps_in_both_key_layouts";
    let Some(shared) = rareclip_testkit::shared(name) else {
        return;
    };
    if !common::weights(name) {
        return;
    }
    let images = shared
        .join("fixtures/rareclip_e2e/images")
        .display()
        .to_string();
    let golden = Golden::read(&shared, "size70_gelu");
    for (layout, weights) in [("open_clip", "tpb.safetensors"), ("hf", "tpb.pth")] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out").display().to_string();
        let weights = shared.join("fixtures/rareclip_e2e").join(weights);
        let rows = scan(
            &shared,
            layout,
            &weights,
            70,
            &[&images, "--out", &out, "--maps"],
        );
        close(&rows, "score", &golden.floats("score"), 1e-5);
        close(&rows, "raw_score", &golden.floats("score_raw"), 1e-5);
        let expected = golden.floats("map");
        for (at, expected) in expected.chunks_exact(70 * 70).enumerate() {
            let path = folder.path().join(format!("out/maps/{at:06}_{at:02}.npy"));
            let map: Array2<f32> = ndarray_npy::read_npy(path).unwrap();
            let worst = rareclip_testkit::distance(&map, expected);
            assert!(worst < 1e-5, "{layout}, image {at}: {worst}");
        }
    }
}

#[test]
fn scan_with_two_normals_gives_the_golden_scores() {
    let name = "scan_with_two_normals_gives_the_golden_scores";
    let Some(shared) = rareclip_testkit::shared(name) else {
        return;
    };
    if !common::weights(name) {
        return;
    }
    let image = |at: usize| {
        shared
            .join(format!("fixtures/rareclip_e2e/images/{at:02}.png"))
            .display()
            .to_string()
    };
    let (first, second) = (image(0), image(1));
    let rest: Vec<String> = (2..12).map(image).collect();
    let mut more = vec!["--normals", &first, "--normals", &second];
    more.extend(rest.iter().map(String::as_str));
    let weights = shared.join("fixtures/rareclip_e2e/tpb.pth");
    let rows = scan(&shared, "open_clip", &weights, 112, &more);
    let golden = Golden::read(&shared, "size112_gelu_kshot2");
    close(&rows, "score", &golden.floats("score")[2..], 1e-3);
}

#[test]
fn converted_weights_give_the_same_scores() {
    let name = "converted_weights_give_the_same_scores";
    let Some(shared) = rareclip_testkit::shared(name) else {
        return;
    };
    if !common::weights(name) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let from = shared.join("fixtures/rareclip_e2e/tpb.pth");
    let to = folder.path().join("tpb.safetensors");
    let output = rareclip(&[
        "models",
        "convert",
        from.to_str().unwrap(),
        to.to_str().unwrap(),
    ])
    .output()
    .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let images = shared
        .join("fixtures/rareclip_e2e/images")
        .display()
        .to_string();
    let scores = |weights: &Path| -> Vec<String> {
        let rows = scan(&shared, "hf", weights, 70, &[&images]);
        rows.iter().map(|row| row["score"].to_string()).collect()
    };
    assert_eq!(scores(&from), scores(&to));
}

#[test]
fn every_detector_on_clip_runs_whole_in_a_benchmark() {
    let test = "every_detector_on_clip_runs_whole_in_a_benchmark";
    let Some(shared) = rareclip_testkit::shared(test).filter(|_| rareclip_testkit::engine(test))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut images: Vec<_> = std::fs::read_dir(shared.join("fixtures/rareclip_e2e/images"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    images.sort();
    for (number, image) in images.iter().enumerate() {
        let place = ["train/good", "test/good", "test/spot"][number % 3];
        std::fs::create_dir_all(root.join(place)).unwrap();
        std::fs::copy(image, root.join(place).join(image.file_name().unwrap())).unwrap();
    }
    let model = shared.join("fixtures/clip_tiny/open_clip.safetensors");
    let bridge = shared.join("fixtures/rareclip_e2e/tpb.pth");
    let backbone = format!("[backbone]\nmodel = {model:?}\nimage_size = 70\n");
    let text = format!("[prompt.text]\nmodel = {model:?}\n");
    let layers = format!("[prompt]\nweights = {bridge:?}\nblocks = [6, 8, 10, 12]\n");
    let bank = "[bank]\nblocks = [3, 6, 9, 12]\n";
    let write = |name: &str, parts: &[&str]| {
        let path = root.join(format!("{name}.toml"));
        let config = format!("extends = {name:?}\n{}", parts.concat());
        std::fs::write(&path, config).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let detectors = [
        write("rareclip", &[&backbone, &layers, &text, bank]),
        write("rareclip-int8", &[&backbone, &layers, &text, bank]),
        write("april-gan", &[&backbone, &layers, &text]),
        write("winclip", &[&backbone, &text]),
        format!("{}@2", write("winclip-few-shot", &[&backbone, &text])),
    ];
    let out = root.join("out");
    let dataset = format!("mvtec:{}", root.display());
    let names = detectors.join(",");
    let args = [
        "bench",
        "--detectors",
        &names,
        "--dataset",
        &dataset,
        "--out",
    ];
    let output = rareclip(&args).arg(&out).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results: Value =
        serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap();
    let runs = results["runs"].as_array().unwrap();
    assert_eq!(runs.len(), detectors.len());
    let scores = |run: &Value| -> Vec<f64> {
        let images = run["images"].as_array().unwrap();
        images
            .iter()
            .map(|image| image["score"].as_f64().unwrap())
            .collect()
    };
    for (at, run) in runs.iter().enumerate() {
        assert_eq!(scores(run).len(), 8);
        assert!(run["image"]["auroc"].is_number(), "{run}");
        for other in &runs[..at] {
            assert_ne!(
                scores(run),
                scores(other),
                "{} is {}",
                run["detector"],
                other["detector"]
            );
        }
    }
}
