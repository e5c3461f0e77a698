//! `rareclip evaluate`: the results of a scan against the ground truth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ndarray::Array2;
use rareclip_eval::dataset::{Dataset, Layout, Sample};
use rareclip_eval::metrics::{PixelAccumulator, PixelMetrics, image_metrics};
use rareclip_imaging::{Limits, decode_file, mask_binary, resize_mask_nearest, upsample_bilinear};
use serde_json::json;

use super::say;
use crate::args::EvaluateArgs;
use crate::exit::Exit;
use crate::results::ResultRow;
use crate::scan::output;

/// What is true of one image.
struct Truth {
    anomalous: bool,
    mask: Option<PathBuf>,
}

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let rows = output::read_rows(&output::results_path(&args.out))?;
    let truth = read_truth(&args.truth)?;
    let mut scores = Vec::new();
    let mut labels = Vec::new();
    let mut skipped = 0usize;
    for row in &rows {
        match (row.score, find(&truth, &row.image)) {
            (Some(score), Some(truth)) => {
                scores.push(f64::from(score));
                labels.push(truth.anomalous);
            }
            _ => skipped += 1,
        }
    }
    if scores.is_empty() {
        bail!(
            "no result of {} is an image of {}: names are compared from the end, e.g. {}",
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

fn read_truth(spec: &str) -> anyhow::Result<HashMap<String, Truth>> {
    let (kind, path) = spec.split_once(':').with_context(|| {
        format!("--truth {spec}: expected mvtec:DIR, folder:DIR or labels:FILE")
    })?;
    let path = Path::new(path);
    match kind {
        "mvtec" | "folder" => {
            let layout = if kind == "mvtec" {
                Layout::Mvtec
            } else {
                Layout::Folder
            };
            let data = Dataset::open_as(path, layout)?;
            let several = data.categories.len() > 1;
            let mut truth = HashMap::new();
            for category in data.categories {
                for sample in category.test.into_iter().chain(category.train) {
                    if let Some((name, entry)) = entry(sample, several.then_some(&category.name)) {
                        truth.insert(name, entry);
                    }
                }
            }
            Ok(truth)
        }
        "labels" => read_labels(path),
        other => bail!("--truth {spec}: kind `{other}` is none of mvtec, folder, labels"),
    }
}

fn entry(sample: Sample, category: Option<&String>) -> Option<(String, Truth)> {
    let name = match category {
        Some(category) if !sample.id.starts_with(&format!("{category}/")) => {
            format!("{category}/{}", sample.id)
        }
        _ => sample.id,
    };
    let truth = Truth {
        anomalous: sample.label?,
        mask: sample.mask,
    };
    Some((name, truth))
}

fn read_labels(path: &Path) -> anyhow::Result<HashMap<String, Truth>> {
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
        truth.insert(
            name,
            Truth {
                anomalous,
                mask: None,
            },
        );
    }
    Ok(truth)
}

/// The truth of an image by its name, or by the longest end of it: results may carry folders in front.
fn find<'a>(truth: &'a HashMap<String, Truth>, image: &str) -> Option<&'a Truth> {
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
    truth: &HashMap<String, Truth>,
) -> anyhow::Result<Option<PixelMetrics>> {
    let maps = args.out.join("maps");
    let masked = truth.values().any(|truth| truth.mask.is_some());
    if !masked || !maps.is_dir() {
        return Ok(None);
    }
    let mut pixels = PixelAccumulator::default();
    for row in rows {
        let (Some(_), Some(truth)) = (row.score, find(truth, &row.image)) else {
            continue;
        };
        let path = maps.join(format!("{}.npy", row.file_stem()));
        let map: Array2<f32> = ndarray_npy::read_npy(&path)
            .with_context(|| format!("map {} (scan with --maps)", path.display()))?;
        let side = map.nrows();
        let map = upsample_bilinear(map.view(), args.side, args.side)?;
        let mask = match &truth.mask {
            None => None,
            Some(path) => {
                let picture = decode_file(path, &Limits::default())?;
                let mask = mask_binary(&picture, side)?;
                let mask = resize_mask_nearest(mask.view(), args.side, args.side)?;
                Some(mask.mapv(|value| value > 0))
            }
        };
        pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
    }
    Ok(Some(pixels.finish()))
}
