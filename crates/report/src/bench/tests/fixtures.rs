//! Benchmarks to make reports of.

use std::path::{Path, PathBuf};

use ndarray::Array3;
use ndarray_npy::WriteNpyExt;
use rareclip_bench::{Benchmark, Environment, ImageResult, Plan, Run, StageTime};
use rareclip_datasets::{Category, Dataset, Kind, Mask, Sample};
use rareclip_imaging::{RgbPicture, encode_png};
use rareclip_metrics::{Bootstrap, bootstrap_auroc, image_metrics};
use serde_json::json;
use tempfile::TempDir;

/// A labelled or unlabelled image of a run.
pub(in crate::bench) fn image(id: &str, score: f32, label: Option<bool>) -> ImageResult {
    ImageResult {
        id: id.to_owned(),
        label,
        defect: match label {
            Some(true) => "scratch",
            Some(false) => "good",
            None => "unlabelled",
        }
        .to_owned(),
        score,
        raw_score: score,
    }
}

/// A run with the metrics of its images.
pub(in crate::bench) fn run(
    detector: &str,
    category: &str,
    seed: u64,
    images: Vec<ImageResult>,
) -> Run {
    let labelled = images
        .iter()
        .filter_map(|one| Some((f64::from(one.score), one.label?)));
    let (scores, labels): (Vec<f64>, Vec<bool>) = labelled.unzip();
    let any = !labels.is_empty();
    let settings = Bootstrap {
        resamples: 50,
        ..Bootstrap::default()
    };
    Run {
        fingerprint: String::new(),
        detector: detector.to_owned(),
        category: category.to_owned(),
        seed,
        shots: 0,
        images,
        image: any.then(|| image_metrics(&scores, &labels).unwrap()),
        image_auroc_interval: bootstrap_auroc(&scores, &labels, &settings).unwrap_or_default(),
        pixel: None,
        spro: None,
        stages: vec![StageTime {
            stage: "backbone".to_owned(),
            ms: 12.5,
        }],
        fit_ms: 0.0,
        peak_bytes: Some(3 << 20),
        bank_bytes: None,
        recall: None,
    }
}

/// A benchmark of the given runs.
pub(in crate::bench) fn benchmark(runs: Vec<Run>) -> Benchmark {
    let distinct = |of: fn(&Run) -> &String| {
        let mut names: Vec<String> = Vec::new();
        for run in &runs {
            if !names.contains(of(run)) {
                names.push(of(run).clone());
            }
        }
        names
    };
    let detectors = distinct(|run| &run.detector);
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    Benchmark {
        format: 1,
        dataset: "mvtec:parts".to_owned(),
        dataset_kind: "mvtec".to_owned(),
        categories: distinct(|run| &run.category),
        shots: vec![None; detectors.len()],
        configs: detectors
            .iter()
            .map(|name| json!({"name": name, "backbone": {"type": "vit", "device": null}}))
            .collect(),
        detectors,
        seeds,
        side: 256,
        command: ["rareclip", "bench", "--dataset", "mvtec:parts"]
            .map(str::to_owned)
            .to_vec(),
        environment: Environment {
            version: "0.1.0".to_owned(),
            platform: "linux x86_64".to_owned(),
            processor: None,
            cores: 2,
            memory_bytes: None,
        },
        runs,
    }
}

/// Normal and anomalous images whose scores the detectors confuse a little.
pub(in crate::bench) fn images(count: usize, shift: f32) -> Vec<ImageResult> {
    (0..count)
        .map(|k| {
            let bad = k % 3 == 0;
            let score = (k * 37 % 101) as f32 / 101.0 + if bad { shift } else { 0.0 };
            image(&format!("test/{k:03}.png"), score, Some(bad))
        })
        .collect()
}

/// Two detectors on two categories.
pub(in crate::bench) fn small() -> Benchmark {
    let mut runs = Vec::new();
    for (category, count) in [("bottle", 30), ("cable", 24)] {
        runs.push(run("rareclip", category, 0, images(count, 0.8)));
        runs.push(run("musc", category, 0, images(count, 0.4)));
    }
    benchmark(runs)
}

pub(in crate::bench) fn empty_plan(out: PathBuf) -> Plan {
    Plan {
        entrants: Vec::new(),
        dataset: Dataset {
            kind: Kind::Mvtec,
            root: out.clone(),
            categories: Vec::new(),
        },
        dataset_spec: "mvtec:parts".to_owned(),
        seeds: vec![0],
        side: 256,
        features: out.join("features"),
        out,
        command: Vec::new(),
    }
}

/// A folder with the images of `bottle`, a mask, and the maps of a run of `rareclip` on them.
pub(in crate::bench) fn pictured() -> (TempDir, Benchmark, Plan) {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let picture = |path: &Path, side: usize| {
        let data = (0..side * side * 3).map(|k| (k * 7 % 256) as u8).collect();
        let picture = RgbPicture::new(side, side, data).unwrap();
        std::fs::write(path, encode_png(&picture).unwrap()).unwrap();
    };
    picture(&at("mask.png"), 20);
    let results = images(6, 0.8);
    let sample = |(k, image): (usize, &ImageResult)| {
        let path = at(&format!("{k}.png"));
        picture(&path, 300);
        Sample {
            id: image.id.clone(),
            path,
            label: image.label,
            defect: image.defect.clone(),
            mask: match image.label {
                Some(true) => Mask::File(at("mask.png")),
                _ => Mask::None,
            },
        }
    };
    let mut plan = empty_plan(at("out"));
    plan.dataset.categories.push(Category {
        name: "bottle".to_owned(),
        root: folder.path().to_owned(),
        train: Vec::new(),
        validation: Vec::new(),
        test: results.iter().enumerate().map(sample).collect(),
        saturations: Vec::new(),
    });
    let maps = Array3::from_shape_fn((6, 96, 96), |(k, y, x)| (k + y + x) as f32);
    let runs = at("out").join("runs/a-b/bottle");
    std::fs::create_dir_all(&runs).unwrap();
    maps.write_npy(std::fs::File::create(runs.join("seed0.npy")).unwrap())
        .unwrap();
    let benchmark = benchmark(vec![run("a/b", "bottle", 0, results)]);
    (folder, benchmark, plan)
}
