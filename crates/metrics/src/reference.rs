//! AUPRO as the published evaluation code computes it: 200 thresholds, rates rescaled to the
//! largest kept one.

use super::AUPRO_FPR_LIMIT;
use super::sweep::Sum;
use crate::MetricsError;

/// Number the score range is divided by; rounding can give one threshold more.
const STEPS: f32 = 200.0;

/// Mean region overlap and false-positive rate at the published thresholds, thresholds ascending.
///
/// Here, and only here, a pixel is positive if its score is strictly above the threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct ProCurve {
    /// `[thresholds]`, scores.
    pub thresholds: Vec<f64>,
    /// `[thresholds]`, share of the normal pixels above the threshold; NaN if there are no normal
    /// pixels.
    pub fpr: Vec<f64>,
    /// `[thresholds]`, mean over all regions of the share above the threshold; NaN if there are no
    /// regions.
    pub overlap: Vec<f64>,
}

impl ProCurve {
    /// `anomalous` pairs a score with the index of its region in `areas`.
    pub(super) fn new(
        normal: &[f32],
        anomalous: &[(f32, u32)],
        areas: &[u64],
    ) -> Result<Self, MetricsError> {
        let scores = || {
            normal
                .iter()
                .chain(anomalous.iter().map(|(score, _)| score))
                .copied()
        };
        let thresholds = thresholds(
            scores().fold(f32::INFINITY, f32::min),
            scores().fold(f32::NEG_INFINITY, f32::max),
        )?;
        // Every pixel is counted once, at the highest threshold that it passes; sums from the
        // highest threshold down then give rate and overlap at each. A score lies above exactly the
        // thresholds before this position.
        let passed = |score: f32| thresholds.partition_point(|&t| f64::from(score) > t);
        let mut false_positives = vec![0_u64; thresholds.len() + 1];
        for &score in normal {
            false_positives[passed(score)] += 1;
        }
        let mut covered = vec![Sum::default(); thresholds.len() + 1];
        for &(score, region) in anomalous {
            covered[passed(score)].add(1.0 / areas[region as usize] as f64);
        }
        let (mut rate, mut mean) = (0_u64, Sum::default());
        let mut curve = Self {
            fpr: vec![0.0; thresholds.len()],
            overlap: vec![0.0; thresholds.len()],
            thresholds,
        };
        for at in (0..curve.thresholds.len()).rev() {
            rate += false_positives[at + 1];
            mean.add(covered[at + 1].value());
            curve.fpr[at] = rate as f64 / normal.len() as f64;
            curve.overlap[at] = mean.value() / areas.len() as f64;
        }
        Ok(curve)
    }

    /// Area over the rates below [`AUPRO_FPR_LIMIT`], rescaled so that the kept rates span 0 to 1.
    /// `None` where the published value is NaN: no regions, or all kept rates equal (as with a
    /// perfect map).
    ///
    /// # Errors
    /// [`MetricsError::TooFewPoints`] where the published code raises.
    pub fn area(&self) -> Result<Option<f64>, MetricsError> {
        let kept: Vec<(f64, f64)> = self
            .fpr
            .iter()
            .zip(&self.overlap)
            .filter(|(fpr, _)| **fpr < AUPRO_FPR_LIMIT)
            .map(|(&fpr, &overlap)| (fpr, overlap))
            .collect();
        let (&[(high, _), .., (low, _)], true) = (kept.as_slice(), kept.len() > 1) else {
            return Err(MetricsError::TooFewPoints {
                limit: AUPRO_FPR_LIMIT,
                points: kept.len(),
            });
        };
        // The published code divides the rates by the largest kept one rather than by the limit, so
        // that the result depends on where the last threshold below the limit happens to be.
        let mut area = Sum::default();
        for pair in kept.windows(2) {
            let width = (pair[0].0 - pair[1].0) / (high - low);
            area.add(width * 0.5 * (pair[0].1 + pair[1].1));
        }
        Ok(Some(area.value()).filter(|area| area.is_finite()))
    }
}

/// `arange(min, max, (max - min) / 200)` as NumPy evaluates it on 32-bit scalars: length and second
/// value in 32 bits, the rest extrapolated in 64.
fn thresholds(min: f32, max: f32) -> Result<Vec<f64>, MetricsError> {
    let step = (max - min) / STEPS;
    let count = ((max - min) / step).ceil();
    if !count.is_finite() || count < 1.0 {
        return Err(MetricsError::ConstantMaps);
    }
    let (start, second) = (f64::from(min), f64::from(min + step));
    Ok((0..count as u32)
        .map(|j| start + f64::from(j) * (second - start))
        .collect())
}
