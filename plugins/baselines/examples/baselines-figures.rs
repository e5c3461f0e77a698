//! What trivial detectors reach on a data set. Maps are compared at 256 x 256 pixels, where there
//! are masks.
//!
//! `cargo run --release -p rareclip-baselines --example baselines-figures -- DATA CONFIG...`
#![allow(clippy::print_stdout, reason = "figures are its output")]

use ndarray::{Array2, Axis};
use rareclip_baselines as _;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{BoxError, Detector, PushOptions};
use rareclip_datasets::{Dataset, PixelTruth, Sample, Spec};
use rareclip_imaging::{
    Limits, Preset, decode_file, mask_binary, resize_mask_nearest, upsample_bilinear,
};
use rareclip_metrics::{PixelAccumulator, image_metrics};

/// Side that maps and masks are compared at, in pixels.
const SIDE: usize = 256;

/// The mask of an image; `None` where nothing is marked.
fn mask(sample: &Sample) -> Result<Option<Array2<bool>>, BoxError> {
    let PixelTruth::Masks(files) = sample.pixel_truth() else {
        return Ok(None);
    };
    let mut all = Array2::from_elem((SIDE, SIDE), false);
    for file in files {
        let mask = mask_binary(
            &decode_file(file, &Limits::default())?,
            SIDE,
            Preset::Product,
        )?;
        let mask = resize_mask_nearest(mask.view(), SIDE, SIDE)?;
        all.zip_mut_with(&mask, |all, &mask| *all |= mask > 0);
    }
    Ok(Some(all))
}

fn figures(dataset: &Dataset, config: &str) -> Result<(), BoxError> {
    let detector = Detector::build(&ConfigBuilder::new().file(config)?.build()?)?;
    for category in &dataset.categories {
        let mut stream = detector.open_stream()?;
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        let mut pixels = PixelAccumulator::default();
        for sample in &category.test {
            let picture = decode_file(&sample.path, &Limits::default())?;
            let tensor = detector.spec().input.tensor(&picture)?;
            let mut all = detector.encode(tensor.insert_axis(Axis(0)).view())?;
            let mut features = all.pop().ok_or("the backbone gave nothing")?;
            features.file_bytes = Some(std::fs::metadata(&sample.path)?.len());
            let scored = stream.push(&features, PushOptions::LEARN)?.scored;
            scores.push(f64::from(scored.score));
            labels.push(sample.label == Some(true));
            let map = upsample_bilinear(scored.map.values.view(), SIDE, SIDE)?;
            let mask = mask(sample)?;
            pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
        }
        let (image, pixels) = (image_metrics(&scores, &labels)?, pixels.finish());
        let percent = |value: Option<f64>| match value {
            Some(value) => format!("{:.1}", 100.0 * value),
            None => "n/a".into(),
        };
        println!(
            "{config} on {}: image AUROC {}, AP {}; pixel AUROC {}",
            category.name,
            percent(image.auroc),
            percent(image.ap),
            percent(pixels.auroc)
        );
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, configs @ ..] = &arguments[..] else {
        return Err("usage: baselines-figures DATA CONFIG...".into());
    };
    let dataset = Dataset::open(&Spec::new(None, data))?;
    configs
        .iter()
        .try_for_each(|config| figures(&dataset, config))
}
