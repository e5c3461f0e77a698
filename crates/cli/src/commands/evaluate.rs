//! `rareclip evaluate`: the results of a scan against the ground truth.

use std::path::Path;

use anyhow::{Context, bail};
use ndarray::Array2;
use rareclip_datasets::masks::{self, Pixels};
use rareclip_datasets::{Sample, Truth};
use rareclip_imaging::{Preset, upsample_bilinear};
use rareclip_metrics::{PixelAccumulator, PixelMetrics, image_metrics};
use serde_json::json;

use super::datasets;
use super::output::say;
use crate::args::EvaluateArgs;
use crate::exit::Exit;
use crate::scan::output;
use rareclip_pipeline::ResultRow;

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let rows = output::read_rows(&output::results_path(&args.out))?;
    let truth = read_truth(&args.truth)?;
    let mut scores = Vec::new();
    let mut labels = Vec::new();
    let mut skipped = 0usize;
    let matched = matched(&rows, &truth)?;
    for (row, sample) in rows.iter().zip(&matched) {
        match (row.score(), sample.and_then(|sample| sample.label)) {
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
        pixels(args, &rows, &truth, &matched)?
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
        return Truth::read_labels(Path::new(path)).with_context(|| format!("--truth {spec}"));
    }
    let data = datasets::open(spec, &[]).with_context(|| format!("--truth {spec}"))?;
    Ok(Truth::of_dataset(&data))
}

/// The truth of each row, `None` also for one without a score. A truth belongs to one scored row at
/// most.
fn matched<'t>(rows: &[ResultRow], truth: &'t Truth) -> anyhow::Result<Vec<Option<&'t Sample>>> {
    let scored = (1..)
        .zip(rows)
        .filter(|(_, row)| row.score().is_some())
        .map(|(line, row)| (line, row.image.as_str()));
    let mut found = truth.matched(scored)?.into_iter();
    let of = |row: &ResultRow| row.score().and_then(|_| found.next().flatten());
    Ok(rows.iter().map(of).collect())
}

fn pixels(
    args: &EvaluateArgs,
    rows: &[ResultRow],
    truth: &Truth,
    matched: &[Option<&Sample>],
) -> anyhow::Result<Option<PixelMetrics>> {
    let maps = args.out.join("maps");
    let masked = truth.samples().iter().any(|sample| !sample.mask.is_none());
    if !masked || !maps.is_dir() {
        return Ok(None);
    }
    let mut pixels = PixelAccumulator::default();
    for (row, sample) in rows.iter().zip(matched) {
        let Some(sample) = sample else {
            continue;
        };
        let path = maps.join(format!("{}.npy", row.file_stem()));
        let map: Array2<f32> = ndarray_npy::read_npy(&path)
            .with_context(|| format!("map {} (scan with --maps)", path.display()))?;
        let side = map.nrows();
        let map = upsample_bilinear(map.view(), args.side, args.side)?;
        let mask = match masks::pixels(sample, side, args.side, Preset::default())? {
            Pixels::Unknown => continue,
            Pixels::Normal => None,
            Pixels::Mask(mask) => Some(mask),
        };
        pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
    }
    Ok(Some(pixels.finish()))
}
