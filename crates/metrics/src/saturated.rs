//! sPRO: the per-region overlap that counts a region as found once enough of it is.

use ndarray::{Array2, ArrayView2};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use super::pixel::check_finite;
use super::sweep::Sum;
use crate::MetricsError;

/// False-positive rates up to which the sPRO is integrated: 0.05 as in the tables of Bergmann et
/// al., Beyond Dents and Scratches, IJCV 2022, and 0.3 as the AUPRO is.
pub const SPRO_FPR_LIMITS: [f64; 2] = [0.05, 0.3];

/// A defect of one image: all of its pixels are one region, connected or not.
#[derive(Debug, Clone, PartialEq)]
pub struct SaturatedRegion {
    /// `[rows, columns]`, `true` = of this defect.
    pub mask: Array2<bool>,
    /// The share of the region that must be found for it to count as found whole, above 0, up to 1.
    pub share: f64,
}

/// Normalised areas under the saturated per-region overlap; `None` without regions or normal
/// pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SproMetrics {
    /// Number of regions with at least one pixel.
    pub regions: u64,
    /// Up to a false-positive rate of 0.05, divided by 0.05: 0 to 1.
    pub area_005: Option<f64>,
    /// Up to a false-positive rate of 0.3, divided by 0.3: 0 to 1.
    pub area_03: Option<f64>,
}

/// Collects maps and regions one image at a time and computes [`SproMetrics`] at the end.
///
/// At a threshold t the sPRO is the mean over all regions of `min(found / saturation, 1)`, where
/// `found` counts the region's pixels with a score >= t and `saturation` is `share` times its
/// pixels (section 4.2 of the paper). The false-positive rate is that of the pixels in no region,
/// over all images. All thresholds count; between them the curve is straight.
///
/// Memory: 4 bytes a normal pixel, 16 bytes a pixel of a region; areas of regions that overlap
/// count in each.
#[derive(Debug, Clone, Default)]
pub struct SproAccumulator {
    images: usize,
    normal: Vec<f32>,
    /// Score, and by how much the region's overlap grows once the pixel is found.
    found: Vec<(f32, f64)>,
    regions: u64,
}

impl SproAccumulator {
    /// Adds one image: `map` `[rows, columns]`, scores in any range; masks of the same shape. A
    /// region without pixels is left out.
    ///
    /// # Errors
    /// [`MetricsError::ShapeMismatch`], [`MetricsError::NonFinitePixel`],
    /// [`MetricsError::Saturation`]; nothing is added then.
    pub fn push(
        &mut self,
        map: ArrayView2<'_, f32>,
        regions: &[SaturatedRegion],
    ) -> Result<(), MetricsError> {
        self.check(map, regions)?;
        self.images += 1;
        let mut normal = Array2::from_elem(map.dim(), true);
        for region in regions {
            normal.zip_mut_with(&region.mask, |normal, defect| *normal &= !defect);
            let pixels = map.iter().zip(&region.mask);
            // Adding zero turns -0 into 0: the two are equal as scores but not in their bits.
            let mut scores: Vec<f32> = pixels
                .filter_map(|(score, defect)| defect.then_some(score + 0.0))
                .collect();
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
            self.regions += u64::from(!scores.is_empty());
            let saturation = region.share * scores.len() as f64;
            let overlap = |found: usize| (found as f64 / saturation).min(1.0);
            let gains = scores
                .iter()
                .enumerate()
                .map(|(at, &score)| (score, overlap(at + 1) - overlap(at)));
            self.found.extend(gains.filter(|(_, gain)| *gain > 0.0));
        }
        let pixels = map.iter().zip(&normal);
        self.normal
            .extend(pixels.filter_map(|(score, normal)| normal.then_some(score + 0.0)));
        Ok(())
    }

    fn check(
        &self,
        map: ArrayView2<'_, f32>,
        regions: &[SaturatedRegion],
    ) -> Result<(), MetricsError> {
        let image = self.images;
        for region in regions {
            if region.mask.dim() != map.dim() {
                return Err(MetricsError::ShapeMismatch {
                    image,
                    map: map.dim(),
                    mask: region.mask.dim(),
                });
            }
            if !(region.share > 0.0 && region.share <= 1.0) {
                return Err(MetricsError::Saturation {
                    image,
                    share: region.share,
                });
            }
        }
        check_finite(image, map)
    }

    /// The areas under the curve.
    #[must_use]
    pub fn finish(mut self) -> SproMetrics {
        let curve = (self.regions > 0 && !self.normal.is_empty()).then(|| self.curve());
        let [area_005, area_03] = SPRO_FPR_LIMITS.map(|limit| Some(area(curve.as_ref()?, limit)));
        SproMetrics {
            regions: self.regions,
            area_005,
            area_03,
        }
    }

    /// False-positive rate and sPRO at every threshold, from the highest: from (0, 0) to (1, 1).
    fn curve(&mut self) -> Vec<(f64, f64)> {
        self.normal.par_sort_unstable_by(|a, b| b.total_cmp(a));
        self.found
            .par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let (mut normal, mut found) = (self.normal.as_slice(), self.found.as_slice());
        let (mut overlap, mut curve) = (Sum::default(), vec![(0.0, 0.0)]);
        loop {
            let threshold = match (normal.first(), found.first()) {
                (Some(&a), Some(&(b, _))) => a.max(b),
                (Some(&a), None) => a,
                (None, Some(&(b, _))) => b,
                (None, None) => return curve,
            };
            let above = normal.partition_point(|&score| score >= threshold);
            normal = &normal[above..];
            let above = found.partition_point(|(score, _)| *score >= threshold);
            found[..above]
                .iter()
                .for_each(|(_, gain)| overlap.add(*gain));
            found = &found[above..];
            let passed = self.normal.len() - normal.len();
            let rate = passed as f64 / self.normal.len() as f64;
            curve.push((rate, (overlap.value() / self.regions as f64).min(1.0)));
        }
    }
}

/// The area under a curve from 0 to `limit`, divided by `limit`.
fn area(curve: &[(f64, f64)], limit: f64) -> f64 {
    let mut sum = Sum::default();
    for pair in curve.windows(2) {
        let ((left, low), (right, high)) = (pair[0], pair[1]);
        if left >= limit {
            break;
        }
        let end = right.min(limit);
        let at_end = match right > left {
            true => low + (high - low) * (end - left) / (right - left),
            false => high,
        };
        sum.add((end - left) * (low + at_end) / 2.0);
    }
    sum.value() / limit
}
