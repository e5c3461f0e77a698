//! What MuSc reaches on a data set in MVTec's layout. Maps are compared at 256 x 256 pixels.
//!
//! `cargo run --release -p rareclip-musc --example mutual-figures -- CONFIG DATA [KEY=VALUE ...]`
#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::borrow::Cow;
use std::time::Instant;

use ndarray::{Array2, Axis};
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{BoxError, Detector, FeatureSource, Features};
use rareclip_datasets::{Dataset, PixelTruth, Sample, Spec};
use rareclip_imaging::{
    Limits, Preset, decode_file, mask_binary, resize_mask_nearest, upsample_bilinear,
};
use rareclip_metrics::{PixelAccumulator, image_metrics};
use rareclip_musc as _;
use rareclip_vit_ort as _;

/// Side that maps and masks are compared at, in pixels.
const SIDE: usize = 256;

struct Set(Vec<Features>);

impl FeatureSource for Set {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        let features = self.0.get(at).ok_or("no such image")?;
        Ok(Cow::Borrowed(features))
    }
}

fn encode(detector: &Detector, sample: &Sample) -> Result<Features, BoxError> {
    let picture = decode_file(&sample.path, &Limits::default())?;
    let tensor = detector.spec().input.tensor(&picture)?;
    let mut all = detector.encode(tensor.insert_axis(Axis(0)).view())?;
    all.pop().ok_or_else(|| "the backbone gave nothing".into())
}

/// The mask at the input size, then at that of the comparison; `None` where nothing is marked.
fn mask(sample: &Sample, side: usize) -> Result<Option<Array2<bool>>, BoxError> {
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

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, data, sets @ ..] = &arguments[..] else {
        return Err("usage: mutual-figures CONFIG DATA [KEY=VALUE ...]".into());
    };
    let mut builder = ConfigBuilder::new().file(config)?;
    for set in sets {
        builder = builder.set(set)?;
    }
    let detector = Detector::build(&builder.build()?)?;
    let dataset = Dataset::open(&Spec::new(None, data))?;
    let category = dataset.categories.first().ok_or("no category")?;
    let mut set = Set(Vec::new());
    let (mut masks, mut labels) = (Vec::new(), Vec::new());
    for sample in &category.test {
        set.0.push(encode(&detector, sample)?);
        masks.push(mask(sample, detector.spec().input.side)?);
        labels.push(sample.label == Some(true));
    }
    let start = Instant::now();
    let (mut raw, mut scores) = (Vec::new(), Vec::new());
    let mut pixels = PixelAccumulator::default();
    detector
        .open_stream()?
        .score_batch(&set, &mut |at, outcome| {
            raw.push(f64::from(outcome.scored.raw_score));
            scores.push(f64::from(outcome.scored.score));
            let map = upsample_bilinear(outcome.scored.map.values.view(), SIDE, SIDE)?;
            let mask = masks[at].as_ref();
            let pushed = pixels.push(map.view(), mask.map(|mask| mask.view()));
            pushed.map_err(|error| rareclip_core::Error::Calibration(error.to_string()))
        })?;
    let seconds = start.elapsed().as_secs_f64();
    let pixels = pixels.finish();
    let percent = |value: Option<f64>| value.map_or(f64::NAN, |value| 100.0 * value);
    for (name, scores) in [("without re-scoring", &raw), ("with re-scoring", &scores)] {
        let image = image_metrics(scores, &labels)?;
        let values = [image.auroc, image.ap, image.f1_max].map(percent);
        println!(
            "{name}: image AUROC {:.1}, AP {:.1}, F1 {:.1}",
            values[0], values[1], values[2]
        );
    }
    let values = [pixels.auroc, pixels.ap, pixels.aupro].map(percent);
    println!(
        "pixel AUROC {:.1}, AP {:.1}, AUPRO {:.1}",
        values[0], values[1], values[2]
    );
    println!("{} images in {seconds:.1} s", labels.len());
    Ok(())
}
