//! From image files to maps and scores through the published config, against golden numbers, in
//! both key layouts.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::{Path, PathBuf};

use common::{array, fixtures};
use ndarray::{ArrayD, Axis, s};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{Detector, DetectorConfig, Features, PromptHeadFactory, PushOptions};
use rareclip_imaging::{Limits, prepare};
use rareclip_prompt::{ClipTextOptions, TextOptions, TpbOptions};
use rareclip_testkit::{distance, engine};

use rareclip_index_exact as _;
use rareclip_rarity as _;
use rareclip_vit_ort as _;

const LAYOUTS: [&str; 2] = ["open_clip", "hf"];

/// A golden run and how it differs from the published config.
struct Run {
    name: &'static str,
    side: usize,
    activation: &'static str,
    sets: &'static [&'static str],
    normals: usize,
    /// What the fixture allows: a near tie at 112 pixels moves a map by 9e-5.
    tolerance: f32,
}

const PROTOTYPE: &[&str] = &["bank.keep_images=5"];
const DIRECT: &[&str] = &["scorer.shot_mixing=direct"];

const RUNS: [Run; 5] = [
    Run {
        name: "size70_gelu",
        side: 70,
        activation: "gelu",
        sets: PROTOTYPE,
        normals: 0,
        tolerance: 1e-5,
    },
    Run {
        name: "size70_quick_gelu",
        side: 70,
        activation: "quick-gelu",
        sets: PROTOTYPE,
        normals: 0,
        tolerance: 1e-5,
    },
    Run {
        name: "size112_gelu",
        side: 112,
        activation: "gelu",
        sets: PROTOTYPE,
        normals: 0,
        tolerance: 2e-4,
    },
    Run {
        name: "size112_gelu_kshot2",
        side: 112,
        activation: "gelu",
        sets: PROTOTYPE,
        normals: 2,
        tolerance: 2e-4,
    },
    Run {
        name: "size112_gelu_direct",
        side: 112,
        activation: "gelu",
        sets: DIRECT,
        normals: 0,
        tolerance: 2e-4,
    },
];

/// The published config with the tiny model in the place of the large one.
fn config(fixtures: &Path, layout: &str, run: &Run) -> DetectorConfig {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/rareclip.toml");
    let model = fixtures.join(format!("clip_tiny/{layout}.safetensors"));
    let weights = match layout {
        "hf" => "rareclip_e2e/tpb.pth",
        _ => "rareclip_e2e/tpb.safetensors",
    };
    let quoted = |path: &Path| serde_json::json!(path.to_str().unwrap()).to_string();
    let bank = if run.sets == DIRECT {
        r#"type = "prototype-direct"
keep_images = 5"#
    } else {
        ""
    };
    let text = std::fs::read_to_string(published).unwrap();
    // Another type of bank has other options: its table is written anew.
    let text = match (text.find("[bank]"), text.find("[scorer]")) {
        (Some(from), Some(to)) if !bank.is_empty() => {
            format!("{}[bank]\n{bank}\n{}", &text[..from], &text[to..])
        }
        _ => text,
    };
    let mut builder = ConfigBuilder::new().toml("rareclip.toml", &text).unwrap();
    let general = [
        format!("backbone.model={}", quoted(&model)),
        format!("backbone.image_size={}", run.side),
        format!("backbone.activation={}", run.activation),
        format!("prompt.text.model={}", quoted(&model)),
        format!("prompt.weights={}", quoted(&fixtures.join(weights))),
        format!("prompt.text.activation={}", run.activation),
        "prompt.blocks=[6, 8, 10, 12]".into(),
        "bank.blocks=[3, 6, 9, 12]".into(),
        "scorer.keep_images=8".into(),
        "scorer.rescoring.period=4".into(),
    ];
    let special = run.sets.iter().map(|&set| set.to_owned());
    for set in general.into_iter().chain(special) {
        builder = builder.set(&set).unwrap();
    }
    builder.build().unwrap()
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("images"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 12);
    files
}

fn features(detector: &Detector, file: &Path) -> Features {
    let bytes = std::fs::read(file).unwrap();
    let tensor = prepare(&bytes, &detector.spec().input, &Limits::default()).unwrap();
    let batch = tensor.insert_axis(Axis(0));
    detector.encode(batch.view()).unwrap().remove(0)
}

fn row(golden: &ArrayD<f32>, index: usize) -> ArrayD<f32> {
    golden.index_axis(Axis(0), index).to_owned()
}

fn check(run: &Run) {
    let Some(folder) = fixtures(run.name) else {
        return;
    };
    if !engine(run.name) {
        return;
    }
    for layout in LAYOUTS {
        check_layout(&folder, layout, run);
    }
}

fn check_layout(fixtures: &Path, layout: &str, run: &Run) {
    let folder = fixtures.join("rareclip_e2e");
    let golden = Checkpoint::open(folder.join(format!("{}.safetensors", run.name))).unwrap();
    let detector = Detector::build(&config(fixtures, layout, run)).unwrap();
    let mut stream = detector.open_stream().unwrap();
    let native = run.side == 70;
    let maps = array(&golden, if native { "map" } else { "map_stride2" });
    let (sums, largest) = (array(&golden, "map_sum"), array(&golden, "map_max"));
    let scores = array(&golden, "score");
    let raw = golden
        .contains("score_raw")
        .then(|| array(&golden, "score_raw"));
    let (mut of_maps, mut of_scores) = (0.0_f32, 0.0_f32);
    for (index, file) in images(&folder).iter().enumerate() {
        let features = features(&detector, file);
        if index < run.normals {
            stream.push_normal(&features).unwrap();
            continue;
        }
        let scored = stream.push(&features, PushOptions::LEARN).unwrap().scored;
        let map = if native {
            scored.map.values.view()
        } else {
            scored.map.values.slice(s![..;2, ..;2])
        };
        of_maps = of_maps.max(distance(map, &row(&maps, index)));
        of_maps = of_maps.max((scored.map.max() - largest[[index]]).abs());
        let mean = |sum: f32| sum / (run.side * run.side) as f32;
        of_maps = of_maps.max((mean(scored.map.values.sum()) - mean(sums[[index]])).abs());
        of_scores = of_scores.max((scored.score - scores[[index]]).abs());
        if let Some(raw) = &raw {
            of_scores = of_scores.max((scored.raw_score - raw[[index]]).abs());
        }
    }
    eprintln!(
        "{} {layout}: maps within {of_maps:e}, scores within {of_scores:e}",
        run.name
    );
    assert!(
        of_maps < run.tolerance,
        "{} {layout}: maps off by {of_maps}",
        run.name
    );
    assert!(
        of_scores < run.tolerance,
        "{} {layout}: scores off by {of_scores}",
        run.name
    );
}

#[test]
fn native_size() {
    check(&RUNS[0]);
}

#[test]
fn native_size_with_quick_gelu() {
    check(&RUNS[1]);
}

#[test]
fn enlarged() {
    check(&RUNS[2]);
}

#[test]
fn enlarged_with_two_normal_shots() {
    check(&RUNS[3]);
}

#[test]
fn enlarged_direct() {
    check(&RUNS[4]);
}

#[test]
fn the_prior_is_the_golden_one() {
    let Some(fixtures) = fixtures("the_prior_is_the_golden_one") else {
        return;
    };
    if !engine("the_prior_is_the_golden_one") {
        return;
    }
    let folder = fixtures.join("rareclip_e2e");
    for (layout, run) in LAYOUTS
        .iter()
        .flat_map(|&layout| [(layout, &RUNS[0]), (layout, &RUNS[1])])
    {
        let golden = Checkpoint::open(folder.join(format!("{}.safetensors", run.name))).unwrap();
        let config = config(&fixtures, layout, run);
        let detector = Detector::build(&config).unwrap();
        let head = config.prompt.unwrap().build(detector.spec()).unwrap();
        let (images_golden, patches) =
            (array(&golden, "text_prob"), array(&golden, "text_map_raw"));
        let mut worst = 0.0_f32;
        for (index, file) in images(&folder).iter().enumerate() {
            let prior = head.prior(&features(&detector, file)).unwrap();
            worst = worst.max((prior.image - images_golden[[index]]).abs());
            worst = worst.max(distance(&prior.patches, &row(&patches, index)));
        }
        eprintln!("{} {layout}: prior within {worst:e}", run.name);
        assert!(worst < 5e-6, "{} {layout}: {worst}", run.name);
    }
}

#[test]
fn clip_alone_gives_a_prior_without_learned_layers() {
    let Some(fixtures) = fixtures("clip_alone_gives_a_prior_without_learned_layers") else {
        return;
    };
    if !engine("clip_alone_gives_a_prior_without_learned_layers") {
        return;
    }
    let detector = Detector::build(&config(&fixtures, "hf", &RUNS[0])).unwrap();
    let file = &images(&fixtures.join("rareclip_e2e"))[4];
    let features = features(&detector, file);
    let prior = |layout: &str, block| {
        let model = fixtures.join(format!("clip_tiny/{layout}.safetensors"));
        let options = ClipTextOptions {
            block,
            temperature: 20.0,
            text: text(Some(model.to_str().unwrap().to_owned())),
            ..ClipTextOptions::default()
        };
        let head = options.build(detector.spec()).unwrap();
        head.prior(&features).unwrap()
    };
    let golden = fixtures.join("rareclip_e2e/size70_gelu.safetensors");
    let expected = array(&Checkpoint::open(golden).unwrap(), "text_prob")[[4]];
    let plain = prior("hf", 0);
    assert!((plain.image - expected).abs() < 5e-6);
    assert!(plain.patches.iter().all(|patch| *patch == plain.image));
    let projected = prior("hf", 12);
    assert_eq!(projected.image, plain.image);
    assert!(
        projected
            .patches
            .iter()
            .all(|patch| (0.0..=1.0).contains(patch))
    );
    assert!(distance(&projected.patches, &plain.patches) > 0.01);
    assert!(distance(&projected.patches, &prior("open_clip", 12).patches) < 1e-6);
}

/// The default sentences, encoded by `model`.
fn text(model: Option<String>) -> TextOptions {
    TextOptions {
        model,
        ..TextOptions::default()
    }
}

#[test]
fn wrong_options_are_named() {
    let Some(fixtures) = fixtures("wrong_options_are_named") else {
        return;
    };
    if !engine("wrong_options_are_named") {
        return;
    }
    let detector = Detector::build(&config(&fixtures, "hf", &RUNS[0])).unwrap();
    let path = |name: &str| Some(fixtures.join(name).to_str().unwrap().to_owned());
    let right = TpbOptions {
        weights: path("rareclip_e2e/tpb.pth"),
        blocks: vec![6, 8, 10, 12],
        text: text(path("clip_tiny/hf.safetensors")),
        ..TpbOptions::default()
    };
    assert!(right.build(detector.spec()).is_ok());
    let of = |change: &dyn Fn(&mut TpbOptions)| {
        let mut options = right.clone();
        change(&mut options);
        options.build(detector.spec()).err().unwrap().to_string()
    };
    assert!(of(&|options| options.weights = None).contains("`weights`"));
    assert!(of(&|options| options.text.model = None).contains("`text.model`"));
    assert!(of(&|options| options.blocks = vec![6, 8]).contains("4 linear layers"));
    assert!(of(&|options| options.blocks = vec![6, 8, 10, 11]).contains("block 11"));
    assert!(of(&|options| options.temperature = f32::NAN).contains("`temperature`"));
    assert!(of(&|options| options.text.templates.clear()).contains("`templates`"));
    assert!(
        of(&|options| options.weights = path("clip_tiny/hf.safetensors")).contains("fc.0.weight")
    );
    assert!(
        of(&|options| options.text.model = path("rareclip_e2e/tpb.pth"))
            .contains("no CLIP text tower")
    );
}
