//! What one run leaves: scores, metrics, small maps.

use ndarray::{Array3, Axis};
use rareclip_core::Outcome;
use rareclip_core::index::Recall;
use rareclip_datasets::Sample;
use rareclip_datasets::masks::Pixels;
use rareclip_imaging::upsample_bilinear;
use rareclip_metrics::{
    Bootstrap, PixelAccumulator, SproAccumulator, bootstrap_auroc, image_metrics,
};
use rareclip_pipeline::ResultRecord;

use crate::Result;
use crate::result::{ImageResult, Run};
use crate::truth::Truth;

/// Side in pixels of the maps kept for pictures in reports.
const KEPT_MAP_SIDE: usize = 96;

/// Scores and pixels of one run as they come in.
pub(crate) struct Recorder {
    side: usize,
    results: Vec<ResultRecord>,
    pixels: PixelAccumulator,
    masked: bool,
    spro: Option<SproAccumulator>,
    maps: Array3<f32>,
    /// What the bank's index found of what an exact one finds, where it is not exact.
    pub(crate) recall: Option<Recall>,
}

impl Recorder {
    pub(crate) fn new(side: usize, images: usize) -> Self {
        let kept = if side > 0 { KEPT_MAP_SIDE } else { 0 };
        Self {
            side,
            results: Vec::with_capacity(images),
            pixels: PixelAccumulator::default(),
            masked: false,
            spro: None,
            maps: Array3::zeros((images, kept, kept)),
            recall: None,
        }
    }

    pub(crate) fn take(&mut self, outcome: &Outcome, truth: &Truth) -> Result<()> {
        let map = outcome.scored.map.values.view();
        if self.side > 0 {
            let kept = upsample_bilinear(map, KEPT_MAP_SIDE, KEPT_MAP_SIDE);
            let kept = kept.map_err(rareclip_core::Error::from)?;
            self.maps
                .index_axis_mut(Axis(0), self.results.len())
                .assign(&kept);
            let mask = match &truth.pixels {
                Pixels::Unknown => None,
                Pixels::Normal => Some(None),
                Pixels::Mask(mask) => Some(Some(mask.view())),
            };
            if let Some(mask) = mask {
                let map = upsample_bilinear(map, self.side, self.side);
                let map = map.map_err(rareclip_core::Error::from)?;
                self.masked |= mask.is_some();
                self.pixels.push(map.view(), mask)?;
                if let Some(regions) = &truth.regions {
                    let spro = self.spro.get_or_insert_default();
                    spro.push(map.view(), regions)?;
                }
            }
        }
        self.results.push(ResultRecord::of(outcome));
        Ok(())
    }

    /// The kept maps, and a run with all but what only the caller knows.
    pub(crate) fn finish(self, images: &[&Sample]) -> Result<(Array3<f32>, Run)> {
        let results: Vec<ImageResult> = images
            .iter()
            .zip(&self.results)
            .map(|(sample, result)| ImageResult::new(sample, result))
            .collect();
        let (scores, labels): (Vec<f64>, Vec<bool>) = results
            .iter()
            .filter_map(|result| Some((f64::from(result.score), result.label?)))
            .unzip();
        let labelled = !labels.is_empty();
        let image = labelled.then(|| image_metrics(&scores, &labels));
        let interval = bootstrap_auroc(&scores, &labels, &Bootstrap::default());
        let run = Run {
            fingerprint: String::new(),
            detector: String::new(),
            category: String::new(),
            seed: 0,
            shots: 0,
            images: results,
            image: image.transpose()?,
            image_auroc_interval: if labelled { interval? } else { None },
            pixel: self.masked.then(|| self.pixels.finish()),
            spro: self.spro.map(SproAccumulator::finish),
            stages: Vec::new(),
            fit_ms: 0.0,
            peak_bytes: None,
            bank_bytes: None,
            recall: None,
        };
        Ok((self.maps, run))
    }
}

/// An array as the bytes of a `.npy` file.
pub(crate) fn npy(maps: &Array3<f32>) -> Result<Vec<u8>, ndarray_npy::WriteNpyError> {
    use ndarray_npy::WriteNpyExt;
    let mut bytes = Vec::new();
    maps.write_npy(&mut bytes)?;
    Ok(bytes)
}
