//! What batches bring: images per second and time to the first answer of 8 images that wait, one by
//! one, as a loop over a batch, and as one run of the engine.
//!
//! `cargo run --release -p rareclip-vit-tch --example batches -- ENGINE MODEL SIDE...`
//!
//! ENGINE is `vit` (onnxruntime) or `vit-tch` (libtorch), MODEL a name of `rareclip models list` or
//! the path of a checkpoint, SIDE an image size. `RARECLIP_ROUNDS` sets the rounds (9),
//! `RARECLIP_DEVICE` the device (cpu), `RARECLIP_PRECISION` the precision (f32). In a round every
//! line of the table is measured once, so that ratios are of the same minute.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ndarray::{Array4, Axis};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::{Backbone, BackboneFactory, BoxError};
use rareclip_vit::family::{Overrides, Vit};
use rareclip_vit_ort as _;
use rareclip_vit_tch as _;
use serde_json::json;

/// Images that wait.
const WAITING: usize = 8;
/// Images per call.
const SIZES: [usize; 4] = [1, 2, 4, 8];

/// One line of the table.
struct Line<'b> {
    name: &'static str,
    backbone: &'b dyn Backbone,
    size: usize,
    /// Seconds until the last answer, and until the first, of every round.
    all: Vec<f64>,
    first: Vec<f64>,
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, model, sides @ ..] = arguments.as_slice() else {
        return Err("usage: batches ENGINE MODEL SIDE...".into());
    };
    println!(
        "| engine, side | call | images per call | images per second | first answer, ms | rate to one by one |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for side in sides {
        measure(engine, model, side.parse()?)?;
    }
    Ok(())
}

fn measure(engine: &str, model: &str, side: usize) -> Result<(), BoxError> {
    let single = build(engine, model, side, false)?;
    let joint = build(engine, model, side, true)?;
    let mut lines: Vec<Line<'_>> = Vec::new();
    for size in SIZES {
        for (name, backbone) in [("loop", &*single), ("one run", &*joint)] {
            let (all, first) = (Vec::new(), Vec::new());
            lines.push(Line {
                name,
                backbone,
                size,
                all,
                first,
            });
        }
    }
    let images = Array4::from_shape_fn((WAITING, 3, side, side), |(n, c, y, x)| {
        ((x + 31 * n) as f32 * 0.013 + c as f32).sin() * (y as f32 * 0.017).cos()
    });
    for round in 0..=number("RARECLIP_ROUNDS", 9)? {
        for line in &mut lines {
            let (all, first) = answer(line, &images)?;
            // The first round warms up.
            if round > 0 {
                line.all.push(all);
                line.first.push(first);
            }
        }
    }
    let base = median(&mut lines[0].all);
    for line in &mut lines {
        let (all, first) = (median(&mut line.all), median(&mut line.first));
        println!(
            "| {engine}, {side} | {} | {} | {:.2} | {:.0} | {:.2} |",
            line.name,
            line.size,
            WAITING as f64 / all,
            first * 1e3,
            base / all
        );
    }
    Ok(())
}

/// Encodes all images, as many per call as the line has; seconds to the last and the first answer.
fn answer(line: &Line<'_>, images: &Array4<f32>) -> Result<(f64, f64), BoxError> {
    let started = Instant::now();
    let mut first = None;
    for images in images.axis_chunks_iter(Axis(0), line.size) {
        line.backbone.encode(images)?;
        first.get_or_insert(started.elapsed().as_secs_f64());
    }
    let all = started.elapsed().as_secs_f64();
    Ok((all, first.unwrap_or(all)))
}

fn build(
    engine: &str,
    model: &str,
    side: usize,
    batch: bool,
) -> Result<Arc<dyn Backbone>, BoxError> {
    let path = rareclip_artifacts::resolve_model(model)?;
    let vit = Vit::detect(&Checkpoint::open(&path)?, Overrides::default())?;
    let blocks: BTreeSet<usize> = (1..=4).map(|quarter| vit.blocks() * quarter / 4).collect();
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let options = json!({
        "type": engine,
        "model": model,
        "image_size": side,
        "device": variable("RARECLIP_DEVICE", "cpu"),
        "precision": variable("RARECLIP_PRECISION", "f32"),
        "batch": batch,
    });
    let options = options.as_object().cloned().unwrap_or_default();
    <dyn BackboneFactory>::from_table(options)?.build(&blocks)
}

fn number(variable: &str, default: usize) -> Result<usize, std::num::ParseIntError> {
    std::env::var(variable).map_or(Ok(default), |text| text.parse())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
