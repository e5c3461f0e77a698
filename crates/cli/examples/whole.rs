//! One image through a whole detector with full banks, stage by stage: the counterpart of
//! `benches/original/original.py`.
//!
//! `cargo run --release -p rareclip --example whole -- FOLDER [--set KEY=VALUE …] [--images N |
//! --wait | --tokens FILE]`
//!
//! FOLDER is one that `random_clip.py` has written. Prints a JSON line when ready and one for every
//! image, with seconds by stage and the peak memory since it was ready; with `--wait`, an image for
//! every line on stdin. `--tokens` compares the tower with tokens that `original.py --tokens` has
//! written.
//!
//! Random weights give tokens that are all alike, which would spare the banks most of their work.
//! So noise is added to the tokens, outside of the measured time, until patches are as alike as
//! those of real images of a product are.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints its result"
)]

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array2, Axis};
use rareclip_checkpoints::Checkpoint;
use rareclip_cli as _;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{Detector, Features, PushOptions, Slot, Stream};
use rareclip_imaging::{Limits, decode_file};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Images before the measurement: as many as the rarity matrix has rows.
const WARM_UP: usize = 200;

struct Arguments {
    folder: PathBuf,
    assignments: Vec<String>,
    images: usize,
    wait: bool,
    tokens: Option<PathBuf>,
}

fn arguments() -> Outcome<Arguments> {
    let mut given = std::env::args().skip(1);
    let mut found = Arguments {
        folder: given
            .next()
            .ok_or("name the folder of random_clip.py")?
            .into(),
        assignments: Vec::new(),
        images: 5,
        wait: false,
        tokens: None,
    };
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--set" => found.assignments.push(value()?),
            "--images" => found.images = value()?.parse()?,
            "--tokens" => found.tokens = Some(value()?.into()),
            "--wait" => found.wait = true,
            _ => return Err(format!("unknown argument {flag}").into()),
        }
    }
    Ok(found)
}

fn build(arguments: &Arguments) -> Outcome<Detector> {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let file = |name: &str| arguments.folder.join(name).to_string_lossy().into_owned();
    let (clip, tpb) = (file("clip.safetensors"), file("tpb.safetensors"));
    let mut builder = ConfigBuilder::new()
        .file(configs.join("rareclip.toml"))?
        .set(&format!("backbone.model={clip}"))?
        .set(&format!("prompt.text.model={clip}"))?
        .set(&format!("prompt.weights={tpb}"))?;
    for assignment in &arguments.assignments {
        builder = builder.set(assignment)?;
    }
    Ok(Detector::build(&builder.build()?)?)
}

/// A stream of pseudo-random numbers (xorshift).
struct Noise(u64);

impl Noise {
    /// Between -1 and 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// Adds noise of a size that differs from image to image.
fn roughen(features: &mut Features, noise: &mut Noise) {
    let level = 0.55 + 0.25 * noise.next();
    for tokens in features.tokens.values_mut() {
        let square = tokens.iter().map(|value| value * value).sum::<f32>() / tokens.len() as f32;
        // A number between -1 and 1 has a third of the variance of a normal one.
        let size = level * (3.0 * square).sqrt();
        tokens.map_inplace(|value| *value += size * noise.next());
    }
}

fn pictures(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "png") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

struct Bench {
    detector: Detector,
    stream: Stream,
    noise: Noise,
}

impl Bench {
    /// A detector whose banks and memories are full.
    fn new(detector: Detector, pictures: &[PathBuf]) -> Outcome<Self> {
        let mut stream = detector.open_stream()?;
        let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
        let mut seen = Vec::new();
        for path in pictures.iter().take(4) {
            seen.push(encode(&detector, path)?);
        }
        for number in 0..WARM_UP {
            let mut features = seen[number % seen.len()].clone();
            roughen(&mut features, &mut noise);
            stream.push(&features, PushOptions::LEARN)?;
        }
        Ok(Self {
            detector,
            stream,
            noise,
        })
    }

    fn image(&mut self, path: &Path) -> Outcome<Value> {
        let start = Instant::now();
        let picture = decode_file(path, &Limits::default())?;
        let tensor = self.detector.spec().input.tensor(&picture)?;
        let decode = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut features = self
            .detector
            .encode(tensor.insert_axis(Axis(0)).view())?
            .remove(0);
        let tower = start.elapsed().as_secs_f64();
        roughen(&mut features, &mut self.noise);
        let (mut prior, mut bank, mut scorer) = (0.0, 0.0, 0.0);
        let start = Instant::now();
        let outcome = self.stream.push_observed(
            &features,
            PushOptions::LEARN,
            &mut |slot, time| match slot {
                Slot::Prompt => prior += time.as_secs_f64(),
                Slot::Bank => bank += time.as_secs_f64(),
                _ => scorer += time.as_secs_f64(),
            },
        )?;
        let rest = start.elapsed().as_secs_f64();
        Ok(json!({
            "who": "rareclip",
            "whole": decode + tower + rest,
            "tower": tower,
            "stages": {
                "decode": decode, "tower": tower, "prior": prior, "bank": bank, "map": scorer,
                "other": rest - prior - bank - scorer,
            },
            "peak_mib": peak_mebibytes(),
            "score": outcome.scored.score,
        }))
    }
}

fn encode(detector: &Detector, path: &Path) -> Outcome<Features> {
    let picture = decode_file(path, &Limits::default())?;
    let tensor = detector.spec().input.tensor(&picture)?;
    Ok(detector
        .encode(tensor.insert_axis(Axis(0)).view())?
        .remove(0))
}

/// The largest resident set since [`reset_peak`]; 0 where the system does not say.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    number.unwrap_or(0) / 1024
}

fn reset_peak() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("the peak of memory includes loading: {error}");
    }
}

/// Relative errors of the tokens of every block, and the mean of 1 - cosine over patches.
fn compare(detector: &Detector, file: &Path) -> Outcome<Value> {
    let file = Checkpoint::open(file)?;
    let side = detector.spec().input.side;
    let pixels = file.f32("pixels")?.into_owned();
    let pixels = ndarray::Array4::from_shape_vec((1, 3, side, side), pixels)?;
    let features = detector.encode(pixels.view())?.remove(0);
    let mut blocks = serde_json::Map::new();
    for (block, found) in &features.tokens {
        let expected = file.f32(&format!("block_{block}"))?.into_owned();
        let expected = Array2::from_shape_vec(found.raw_dim(), expected)?;
        let (mut worst, mut total, mut angle) = (0.0_f32, 0.0, 0.0);
        for (found, expected) in found.rows().into_iter().zip(expected.rows()) {
            let length = expected.dot(&expected).sqrt();
            let difference = &found - &expected;
            let error = difference.dot(&difference).sqrt() / length;
            worst = worst.max(error);
            total += error;
            angle += 1.0 - found.dot(&expected) / (length * found.dot(&found).sqrt());
        }
        let count = found.nrows() as f32;
        blocks.insert(
            block.to_string(),
            json!({ "mean": total / count, "worst": worst, "one_minus_cosine": angle / count }),
        );
    }
    Ok(json!({ "who": "rareclip", "relative_errors": blocks }))
}

fn main() -> Outcome<()> {
    let arguments = arguments()?;
    let start = Instant::now();
    let detector = build(&arguments)?;
    let (built, loading) = (start.elapsed().as_secs_f64(), peak_mebibytes());
    if let Some(file) = &arguments.tokens {
        println!("{}", compare(&detector, file)?);
        return Ok(());
    }
    let pictures = pictures(&arguments.folder)?;
    let mut bench = Bench::new(detector, &pictures)?;
    bench.image(&pictures[0])?;
    reset_peak();
    println!(
        "{}",
        json!({ "who": "rareclip", "ready": true, "built": built, "loading_peak_mib": loading })
    );
    let turns: Box<dyn Iterator<Item = ()>> = match arguments.wait {
        true => Box::new(
            std::io::stdin()
                .lock()
                .lines()
                .map_while(Result::ok)
                .map(drop),
        ),
        false => Box::new(std::iter::repeat_n((), arguments.images)),
    };
    for (number, ()) in turns.enumerate() {
        println!("{}", bench.image(&pictures[number % pictures.len()])?);
    }
    Ok(())
}
