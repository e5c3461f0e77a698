//! Pixel-level metrics over a stream of anomaly maps.

use ndarray::ArrayView2;
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use super::histogram::{HISTOGRAM_BYTES, Histogram};
use super::reference::ProCurve;
use super::regions::{Regions, label_regions};
use super::sweep::{Block, ErrorBounds, Sweep};
use crate::MetricsError;

/// Pixel-level metrics of one set; `None` means n/a.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PixelMetrics {
    /// Number of images.
    pub images: usize,
    /// Number of pixels.
    pub pixels: u64,
    /// How many of them are anomalous.
    pub anomalous_pixels: u64,
    /// Number of 8-connected defect regions.
    pub regions: u64,
    /// Area under the receiver operating characteristic, 0 to 1. `None` if only one class is
    /// present.
    pub auroc: Option<f64>,
    /// Average precision: sum over thresholds of recall step times precision, 0 to 1. `None` if
    /// only one class is present.
    pub ap: Option<f64>,
    /// Largest F1 over all thresholds, 0 to 1. `None` if only one class is present.
    pub f1_max: Option<f64>,
    /// The highest threshold that reaches `f1_max` (positive means score >= threshold). `None`
    /// where `f1_max` is.
    pub f1_threshold: Option<f64>,
    /// Area under the per-region overlap (Bergmann et al., MVTec AD, IJCV 2021, section 5.2) over
    /// all thresholds, up to a false-positive rate of 0.3 (interpolated there), divided by 0.3. 0
    /// to 1. `None` without regions or normal pixels.
    pub aupro: Option<f64>,
    /// The AUPRO of the published evaluation code, for comparison with published tables.
    pub aupro_reference: Option<f64>,
    /// Why a value is n/a, where data alone does not say it.
    pub notes: Vec<String>,
    /// `None`: all values are exact. Otherwise the pixels exceeded the memory budget and the values
    /// may be off by this much.
    pub error_bounds: Option<ErrorBounds>,
}

/// Collects anomaly maps and masks one image at a time and computes [`PixelMetrics`] at the end.
///
/// Memory: 4 bytes a normal and 8 bytes an anomalous pixel (a 518 x 518 map without defect: 1.1
/// MB), at most an eighth more while growing, until that reaches the budget. From then on all
/// pixels live in a histogram of 32 MiB over the leading 20 bits of the score, whatever their
/// number, and every metric comes with the bound of its error. [`finish`](Self::finish) sorts in
/// place. `push` needs 8 bytes a pixel of the image at hand.
#[derive(Debug, Clone)]
pub struct PixelAccumulator {
    budget: usize,
    images: usize,
    regions: u64,
    pixels: u64,
    anomalous_pixels: u64,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Exact(Pixels),
    Histogram(Histogram),
}

#[derive(Debug, Clone, Default)]
struct Pixels {
    normal: Vec<f32>,
    /// Score and index into `areas`.
    anomalous: Vec<(f32, u32)>,
    areas: Vec<u64>,
}

impl Default for PixelAccumulator {
    /// A budget of 2 GiB: about 2000 maps of 518 x 518 are exact.
    fn default() -> Self {
        Self::new(2 << 30)
    }
}

impl PixelAccumulator {
    /// An empty accumulator that keeps pixels exactly up to `budget` bytes (0: histogram from the
    /// start).
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            images: 0,
            regions: 0,
            pixels: 0,
            anomalous_pixels: 0,
            store: Store::Exact(Pixels::default()),
        }
    }

    /// Adds one image: `map` `[rows, columns]`, scores in any range; `mask` of the same shape,
    /// `true` = defect, `None` = no defect. Sizes may differ between images.
    ///
    /// # Errors
    /// [`MetricsError::ShapeMismatch`], [`MetricsError::NonFinitePixel`] or
    /// [`MetricsError::MapTooLarge`]; the accumulator is then unchanged.
    pub fn push(
        &mut self,
        map: ArrayView2<'_, f32>,
        mask: Option<ArrayView2<'_, bool>>,
    ) -> Result<(), MetricsError> {
        self.check(map, mask)?;
        let regions = mask
            .filter(|mask| mask.iter().any(|&defect| defect))
            .map(label_regions);
        let areas: &[u64] = regions.as_ref().map_or(&[], |regions| &regions.areas);
        let anomalous = areas.iter().sum::<u64>();
        self.images += 1;
        self.pixels += map.len() as u64;
        self.anomalous_pixels += anomalous;
        self.regions += areas.len() as u64;
        self.spill_if_over_budget();
        match &mut self.store {
            Store::Exact(pixels) => pixels.push(map, regions.as_ref(), anomalous as usize),
            Store::Histogram(histogram) => {
                for_each_pixel(map, regions.as_ref(), |score, region| match region {
                    None => histogram.add_normal(score),
                    Some(region) => histogram.add_anomalous(score, areas[region]),
                });
            }
        }
        Ok(())
    }

    /// Number of images added.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// The points from which the published AUPRO is computed.
    ///
    /// # Errors
    /// [`MetricsError::ConstantMaps`] (also without any pixel), or
    /// [`MetricsError::ReferenceNeedsPixels`] once the budget was exceeded.
    pub fn reference_curve(&self) -> Result<ProCurve, MetricsError> {
        match &self.store {
            Store::Exact(pixels) => ProCurve::new(&pixels.normal, &pixels.anomalous, &pixels.areas),
            Store::Histogram(_) => Err(MetricsError::ReferenceNeedsPixels {
                budget: self.budget,
            }),
        }
    }

    /// AUPRO as the published evaluation code computes it; `None` where that gives NaN.
    ///
    /// # Errors
    /// Those of [`Self::reference_curve`] and [`ProCurve::area`], where the published code raises.
    pub fn aupro_reference(&self) -> Result<Option<f64>, MetricsError> {
        self.reference_curve()?.area()
    }

    /// Computes all metrics.
    #[must_use]
    pub fn finish(self) -> PixelMetrics {
        let mut notes = Vec::new();
        let aupro_reference = match self.aupro_reference() {
            Ok(value) => value,
            Err(_) if self.pixels == 0 => None,
            Err(error) => {
                notes.push(format!("aupro_reference: {error}"));
                None
            }
        };
        let exact = matches!(self.store, Store::Exact(_));
        let result = match self.store {
            Store::Exact(pixels) => pixels.sweep(),
            Store::Histogram(histogram) => histogram.sweep(self.regions),
        }
        .finish();
        PixelMetrics {
            images: self.images,
            pixels: self.pixels,
            anomalous_pixels: self.anomalous_pixels,
            regions: self.regions,
            auroc: result.auroc,
            ap: result.ap,
            f1_max: result.f1_max,
            f1_threshold: result.f1_threshold,
            aupro: result.aupro,
            aupro_reference,
            notes,
            error_bounds: (!exact).then_some(result.bounds),
        }
    }

    fn check(
        &self,
        map: ArrayView2<'_, f32>,
        mask: Option<ArrayView2<'_, bool>>,
    ) -> Result<(), MetricsError> {
        let image = self.images;
        if let Some(mask) = mask.filter(|mask| mask.dim() != map.dim()) {
            return Err(MetricsError::ShapeMismatch {
                image,
                map: map.dim(),
                mask: mask.dim(),
            });
        }
        if u32::try_from(map.len()).is_err() {
            return Err(MetricsError::MapTooLarge {
                image,
                pixels: map.len(),
            });
        }
        check_finite(image, map)
    }

    /// Folds the stored pixels into a histogram if those counted so far do not fit the budget.
    fn spill_if_over_budget(&mut self) {
        let Store::Exact(pixels) = &mut self.store else {
            return;
        };
        let bytes = 4 * (self.pixels + self.anomalous_pixels) + 8 * self.regions;
        if bytes <= self.budget as u64 && u32::try_from(self.regions).is_ok() {
            return;
        }
        let pixels = std::mem::take(pixels);
        let mut histogram = Histogram::new();
        for &score in &pixels.normal {
            histogram.add_normal(score);
        }
        for &(score, region) in &pixels.anomalous {
            histogram.add_anomalous(score, pixels.areas[region as usize]);
        }
        self.store = Store::Histogram(histogram);
    }
}

impl Pixels {
    fn push(&mut self, map: ArrayView2<'_, f32>, regions: Option<&Regions>, anomalous: usize) {
        reserve(&mut self.normal, map.len() - anomalous);
        reserve(&mut self.anomalous, anomalous);
        let first = self.areas.len();
        for_each_pixel(map, regions, |score, region| match region {
            None => self.normal.push(score),
            Some(region) => self.anomalous.push((score, (first + region) as u32)),
        });
        self.areas
            .extend(regions.into_iter().flat_map(|regions| &regions.areas));
    }

    fn sweep(mut self) -> Sweep {
        self.normal.par_sort_unstable_by(|a, b| b.total_cmp(a));
        self.anomalous
            .par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut sweep = Sweep::new(
            self.normal.len() as u64,
            self.anomalous.len() as u64,
            self.areas.len() as u64,
        );
        let (mut normal, mut anomalous) = (self.normal.as_slice(), self.anomalous.as_slice());
        loop {
            let score = match (normal.first(), anomalous.first()) {
                (Some(&a), Some(&(b, _))) => a.max(b),
                (Some(&a), None) => a,
                (None, Some(&(b, _))) => b,
                (None, None) => return sweep,
            };
            let tied_normal = normal.iter().take_while(|&&other| other == score).count();
            let tied_anomalous = anomalous
                .iter()
                .take_while(|other| other.0 == score)
                .count();
            sweep.add(Block {
                threshold: f64::from(score),
                tied: true,
                normal: tied_normal as u64,
                anomalous: tied_anomalous as u64,
                overlap: anomalous[..tied_anomalous]
                    .iter()
                    .map(|&(_, region)| 1.0 / self.areas[region as usize] as f64)
                    .sum(),
            });
            normal = &normal[tied_normal..];
            anomalous = &anomalous[tied_anomalous..];
        }
    }
}

/// Calls `visit` with every score and the index of its region in this image (`None` = normal).
fn for_each_pixel(
    map: ArrayView2<'_, f32>,
    regions: Option<&Regions>,
    mut visit: impl FnMut(f32, Option<usize>),
) {
    // Adding zero turns -0 into 0: the two are equal as scores but not in their bits.
    match regions {
        None => map.iter().for_each(|&score| visit(score + 0.0, None)),
        Some(regions) => map
            .iter()
            .zip(&regions.labels)
            .for_each(|(&score, &label)| {
                visit(score + 0.0, (label as usize).checked_sub(1));
            }),
    }
}

/// Grows by an eighth at a time: doubling would break the promised memory.
fn reserve<T>(vector: &mut Vec<T>, additional: usize) {
    if vector.capacity() - vector.len() < additional {
        vector.reserve_exact(additional.max(vector.len() / 8));
    }
}

// The documentation of `PixelAccumulator` states this size.
const _: () = assert!(HISTOGRAM_BYTES == 32 << 20);

/// Checks that every score of the map of image number `image` is finite.
pub(super) fn check_finite(image: usize, map: ArrayView2<'_, f32>) -> Result<(), MetricsError> {
    match map.indexed_iter().find(|(_, score)| !score.is_finite()) {
        Some(((row, column), &value)) => Err(MetricsError::NonFinitePixel {
            image,
            row,
            column,
            value,
        }),
        None => Ok(()),
    }
}
