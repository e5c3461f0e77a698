//! `rareclip evaluate`: the results of a scan against the ground truth.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use ndarray::Array2;
use rareclip_bench::truth::{self, Pixels};
use rareclip_eval::dataset::{Category, Mask, Sample};
use rareclip_eval::metrics::{PixelAccumulator, PixelMetrics, image_metrics};
use rareclip_imaging::upsample_bilinear;
use serde_json::json;

use super::{datasets, say};
use crate::args::EvaluateArgs;
use crate::exit::Exit;
use crate::results::ResultRow;
use crate::scan::output;

/// What is true of the images, by name.
type Truth = HashMap<String, Sample>;

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let rows = output::read_rows(&output::results_path(&args.out))?;
    let truth = read_truth(&args.truth)?;
    let mut scores = Vec::new();
    let mut labels = Vec::new();
    let mut skipped = 0usize;
    for row in &rows {
        let label = find(&truth, &row.image).and_then(|sample| sample.label);
        match (row.score, label) {
            (Some(score), Some(label)) => {
                scores.push(f64::from(score));
                labels.push(label);
            }
            _ => skipped += 1,
        }
    }
    if scores.is_empty() {
        bail!(
            "no result of {} is a labelled image of {}: names are compared from the end, e.g. {}",
            args.out.display(),
            args.truth,
            rows.first()
                .map_or("(no results)", |row| row.image.as_str())
        );
    }
    let image = image_metrics(&scores, &labels)?;
    let pixel = if args.image_only {
        None
    } else {
        pixels(args, &rows, &truth)?
    };
    if args.json {
        say(json!({ "image": image, "pixel": pixel, "skipped": skipped }))?;
        return Ok(Exit::Success);
    }
    say(format!(
        "{} images, {} anomalous, {skipped} results without truth or score",
        image.images, image.anomalous
    ))?;
    let line = |name: &str, value: Option<f64>| {
        say(format!(
            "{name:<24} {}",
            value.map_or("n/a".into(), |value| format!("{:.2} %", 100.0 * value))
        ))
    };
    line("image AUROC", image.auroc)?;
    line("image AP", image.ap)?;
    line("image F1-max", image.f1_max)?;
    if let Some(pixel) = pixel {
        line("pixel AUROC", pixel.auroc)?;
        line("pixel AP", pixel.ap)?;
        line("pixel F1-max", pixel.f1_max)?;
        line("AUPRO", pixel.aupro)?;
        line("AUPRO (as published)", pixel.aupro_reference)?;
    }
    Ok(Exit::Success)
}

fn read_truth(spec: &str) -> anyhow::Result<Truth> {
    if let Some(path) = spec.strip_prefix("labels:") {
        return read_labels(Path::new(path));
    }
    let data = datasets::open(spec, &[]).with_context(|| format!("--truth {spec}"))?;
    let samples = data.categories.iter().flat_map(Category::samples);
    Ok(samples
        .map(|sample| (sample.id.clone(), sample.clone()))
        .collect())
}

fn read_labels(path: &Path) -> anyhow::Result<Truth> {
    let context = || format!("labels {}", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(context)?;
    let header = reader.headers().with_context(context)?.clone();
    let column = |name: &str| {
        header
            .iter()
            .position(|found| found.trim() == name)
            .with_context(|| {
                format!(
                    "labels {}: no column `{name}` in its first line",
                    path.display()
                )
            })
    };
    let (image, label) = (column("image")?, column("label")?);
    let mut truth = HashMap::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.with_context(context)?;
        let anomalous = match record.get(label).map(str::trim) {
            Some("1") => true,
            Some("0") => false,
            found => bail!(
                "labels {}, line {}: label is {}, expected 0 or 1",
                path.display(),
                number + 2,
                found.unwrap_or("missing")
            ),
        };
        let name = record.get(image).unwrap_or_default().trim().to_owned();
        let sample = Sample {
            id: name.clone(),
            path: name.clone().into(),
            label: Some(anomalous),
            defect: String::new(),
            mask: Mask::None,
        };
        truth.insert(name, sample);
    }
    Ok(truth)
}

/// The truth of an image by its name, or by the longest end of it: results may carry folders in front.
fn find<'a>(truth: &'a Truth, image: &str) -> Option<&'a Sample> {
    let mut name = image;
    loop {
        if let Some(found) = truth.get(name) {
            return Some(found);
        }
        name = name.split_once('/')?.1;
    }
}

fn pixels(
    args: &EvaluateArgs,
    rows: &[ResultRow],
    truth: &Truth,
) -> anyhow::Result<Option<PixelMetrics>> {
    let maps = args.out.join("maps");
    let masked = truth.values().any(|sample| !sample.mask.is_none());
    if !masked || !maps.is_dir() {
        return Ok(None);
    }
    let mut pixels = PixelAccumulator::default();
    for row in rows {
        let (Some(_), Some(sample)) = (row.score, find(truth, &row.image)) else {
            continue;
        };
        let path = maps.join(format!("{}.npy", row.file_stem()));
        let map: Array2<f32> = ndarray_npy::read_npy(&path)
            .with_context(|| format!("map {} (scan with --maps)", path.display()))?;
        let side = map.nrows();
        let map = upsample_bilinear(map.view(), args.side, args.side)?;
        let mask = match truth::pixels(sample, side, args.side)? {
            Pixels::Unknown => continue,
            Pixels::Normal => None,
            Pixels::Mask(mask) => Some(mask),
        };
        pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
    }
    Ok(Some(pixels.finish()))
}
