//! What the detectors of this crate reach on a data set in MVTec's layout: mean and deviation over
//! several seeds.
//!
//! `cargo run --release -p rareclip-neighbours --example neighbours-figures -- CONFIG DATA SHOTS
//! SEEDS [KEY=VALUE ...]`
//!
//! SHOTS are numbers of random normals to learn from, such as `1,4,16`, or `all`; the seed chooses
//! them and the coreset. Maps are compared at 256 x 256 pixels.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::path::Path;

use ndarray::{Array2, Axis};
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{Detector, DetectorConfig, Features, PushOptions};
use rareclip_datasets::{Dataset, PixelTruth, Sample, Spec, shuffled};
use rareclip_imaging::{
    Limits, Preset, decode_file, mask_binary, resize_mask_nearest, upsample_bilinear,
};
use rareclip_index_exact as _;
use rareclip_metrics::{PixelAccumulator, image_metrics};
use rareclip_neighbours as _;
use rareclip_vit_ort as _;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Side that maps and masks are compared at, in pixels.
const SIDE: usize = 256;
const COLUMNS: [&str; 7] = [
    "image AUROC",
    "image AP",
    "image F1",
    "pixel AUROC",
    "pixel AP",
    "AUPRO",
    "AUPRO (published code)",
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, data, shots, seeds, sets @ ..] = &arguments[..] else {
        return Err("usage: neighbours-figures CONFIG DATA SHOTS SEEDS [KEY=VALUE ...]".into());
    };
    let seeds: u64 = seeds.parse()?;
    let dataset = Dataset::open(&Spec::new(None, data))?;
    let category = dataset.categories.first().ok_or("no category")?;
    let built = read(Path::new(config), sets, 0)?;
    let detector = Detector::build(&built)?;
    let train = encode(&detector, &category.train)?;
    let test = encode(&detector, &category.test)?;
    let masks: Result<Vec<_>, _> = category
        .test
        .iter()
        .map(|sample| mask(sample, detector.spec().input.side))
        .collect();
    let masks = masks?;
    for shots in shots.split(',') {
        let mut rows = Vec::new();
        for seed in 0..seeds {
            let config = read(Path::new(config), sets, seed)?;
            let detector = Detector::build_on(&config, detector.backbone().clone())?;
            let mut order: Vec<usize> = (0..train.len()).collect();
            if shots != "all" {
                order = shuffled(&order, seed);
                order.truncate(shots.parse()?);
            }
            let normals = order.into_iter().map(|at| &train[at]);
            rows.push(run(&detector, normals, &test, &category.test, &masks)?);
            println!("{shots} normals, seed {seed}: {:.1?}", rows[rows.len() - 1]);
        }
        summary(shots, &rows);
    }
    Ok(())
}

fn summary(shots: &str, rows: &[[f64; 7]]) {
    for (at, name) in COLUMNS.iter().enumerate() {
        let values: Vec<f64> = rows.iter().map(|row| row[at]).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / count).sqrt();
        println!("{shots} normals, {name}: {mean:.1} ± {deviation:.1}");
    }
}

fn read(path: &Path, sets: &[String], seed: u64) -> Result<DetectorConfig, Failure> {
    let mut builder = ConfigBuilder::new().file(path)?;
    for set in sets {
        builder = builder.set(set)?;
    }
    let config = builder.clone().build()?;
    if config.bank.is_some_and(|bank| bank.name() == "coreset") {
        builder = builder.set(&format!("bank.seed={seed}"))?;
    }
    Ok(builder.build()?)
}

fn encode(detector: &Detector, samples: &[Sample]) -> Result<Vec<Features>, Failure> {
    let encode = |sample: &Sample| -> Result<Features, Failure> {
        let picture = decode_file(&sample.path, &Limits::default())?;
        let tensor = detector.spec().input.tensor(&picture)?;
        let mut features = detector.encode(tensor.view().insert_axis(Axis(0)))?;
        features.pop().ok_or_else(|| "no features".into())
    };
    samples.iter().map(encode).collect()
}

/// The mask at the input size, then at that of the comparison.
fn mask(sample: &Sample, side: usize) -> Result<Option<Array2<bool>>, Failure> {
    let PixelTruth::Masks(files) = sample.pixel_truth() else {
        return Ok(None);
    };
    let mut all = Array2::from_elem((SIDE, SIDE), false);
    for file in files {
        let mask = mask_binary(
            &decode_file(file, &Limits::default())?,
            side,
            Preset::Product,
        )?;
        let mask = resize_mask_nearest(mask.view(), SIDE, SIDE)?;
        all.zip_mut_with(&mask, |all, &mask| *all |= mask > 0);
    }
    Ok(Some(all))
}

/// One row of the table, in percent.
fn run<'a>(
    detector: &Detector,
    normals: impl Iterator<Item = &'a Features>,
    test: &[Features],
    samples: &[Sample],
    masks: &[Option<Array2<bool>>],
) -> Result<[f64; 7], Failure> {
    let mut stream = detector.open_stream()?;
    for normal in normals {
        stream.push_normal(normal)?;
    }
    stream.fit()?;
    let mut pixels = PixelAccumulator::default();
    let mut scores = Vec::with_capacity(test.len());
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for (features, mask) in test.iter().zip(masks) {
        let scored = stream.push(features, PushOptions::PEEK)?.scored;
        (low, high) = (low.min(scored.map.median()), high.max(scored.map.max()));
        let map = upsample_bilinear(scored.map.values.view(), SIDE, SIDE)?;
        pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
        scores.push(f64::from(scored.score));
    }
    println!("smallest median of a map {low:.3}, largest value {high:.3}");
    let labels: Vec<bool> = samples
        .iter()
        .map(|sample| sample.label == Some(true))
        .collect();
    let image = image_metrics(&scores, &labels)?;
    let pixel = pixels.finish();
    let values = [
        image.auroc,
        image.ap,
        image.f1_max,
        pixel.auroc,
        pixel.ap,
        pixel.aupro,
        pixel.aupro_reference,
    ];
    Ok(values.map(|value| 100.0 * value.unwrap_or(f64::NAN)))
}
