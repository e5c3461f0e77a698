//! Whether recent scores still come from where the calibration came from.

use serde::{Deserialize, Serialize};

use super::{CalibrationConfig, Calibrator};

/// Recent scores that are compared with the reference.
pub const RECENT: usize = 50;

/// Chance of a false notice that is borne, an image.
const ALPHA: f64 = 1e-4;

/// Recent scores against those that the calibration rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Recent scores compared.
    pub recent: usize,
    /// Reference scores compared with.
    pub reference: usize,
    /// The largest distance between the two distribution functions (Kolmogorov-Smirnov), in [0, 1].
    pub distance: f64,
    /// Probability of a distance at least as large were nothing changed, in [0, 1].
    pub p_value: f64,
    /// Whether that probability is too small to be chance: the threshold no longer means what it
    /// did.
    pub drifting: bool,
    /// Whether the median of the recent scores lies above that of the reference.
    pub upwards: bool,
}

impl Calibrator {
    /// Compares the last [`RECENT`] scores seen with the known normals, or, where the policy takes
    /// its threshold from the scores of the stream, with those seen before. `None` while there are
    /// fewer than [`RECENT`] of either.
    pub fn drift(&self) -> Option<Drift> {
        let start = self.seen.len().checked_sub(RECENT)?;
        let recent: Vec<f32> = self.seen.range(start..).map(|(score, _)| *score).collect();
        let normals = match self.policy {
            CalibrationConfig::FalseAlarmRate { .. } => true,
            CalibrationConfig::Fixed { .. } => !self.normals.is_empty(),
            CalibrationConfig::Quantile { .. } => false,
        };
        let reference: Vec<f32> = if normals {
            self.normals.iter().map(|(score, _)| *score).collect()
        } else {
            let burn_in = match self.policy {
                CalibrationConfig::Quantile { burn_in, .. } => burn_in.min(start),
                _ => 0,
            };
            let before = self.seen.range(burn_in..start);
            before.map(|(score, _)| *score).collect()
        };
        (reference.len() >= RECENT).then(|| compare(recent, reference))
    }
}

fn compare(mut recent: Vec<f32>, mut reference: Vec<f32>) -> Drift {
    recent.sort_unstable_by(f32::total_cmp);
    reference.sort_unstable_by(f32::total_cmp);
    let distance = distance(&recent, &reference);
    let p_value = p_value(distance, recent.len(), reference.len());
    Drift {
        recent: recent.len(),
        reference: reference.len(),
        distance,
        p_value,
        drifting: p_value < ALPHA,
        upwards: recent[recent.len() / 2] > reference[reference.len() / 2],
    }
}

/// The Kolmogorov-Smirnov distance of two sorted samples.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        let gap = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
        largest = largest.max(gap.abs());
    }
    largest
}

/// Kolmogorov's limit with Stephens' correction for small samples.
fn p_value(distance: f64, a: usize, b: usize) -> f64 {
    let size = (a * b) as f64 / (a + b) as f64;
    let root = size.sqrt();
    let t = (root + 0.12 + 0.11 / root) * distance;
    if t < 0.2 {
        return 1.0;
    }
    let sum: f64 = (1..=100)
        .map(|k| {
            let k = f64::from(k);
            let sign = if k % 2.0 == 1.0 { 1.0 } else { -1.0 };
            sign * (-2.0 * k * k * t * t).exp()
        })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(scores: impl Iterator<Item = f32>) -> Calibrator {
        let mut calibrator = Calibrator::new(CalibrationConfig::default());
        scores.for_each(|score| calibrator.observe(score, 0.0));
        calibrator
    }

    fn wave(n: usize) -> f32 {
        (n as f32 * 0.618_034).fract()
    }

    #[test]
    fn there_is_no_word_on_drift_before_there_are_scores_enough() {
        assert_eq!(stream((0..103).map(wave)).drift(), None);
        assert!(stream((0..104).map(wave)).drift().is_some());
    }

    #[test]
    fn scores_of_one_kind_do_not_drift() {
        let drift = stream((0..400).map(wave)).drift().unwrap();
        assert!(!drift.drifting && drift.p_value > 0.5, "{drift:?}");
    }

    #[test]
    fn scores_that_moved_up_drift_upwards() {
        let moved = (0..400).map(|n| wave(n) + if n >= 360 { 0.8 } else { 0.0 });
        let drift = stream(moved).drift().unwrap();
        assert!(drift.drifting && drift.upwards, "{drift:?}");
    }

    #[test]
    fn known_normals_are_the_reference_where_they_set_the_threshold() {
        let mut calibrator = stream((0..60).map(|n| wave(n) + 0.9));
        calibrator.set_policy(CalibrationConfig::FalseAlarmRate { rate: 0.01 });
        calibrator
            .set_normals((0..200).map(|n| (wave(n), 0.0)).collect())
            .unwrap();
        let drift = calibrator.drift().unwrap();
        assert!(drift.drifting && drift.reference == 200, "{drift:?}");
    }

    #[test]
    fn the_p_value_is_that_of_the_tables() {
        // Critical distance of two samples of 50 at 5 %: 1.358 / sqrt(25).
        let p = p_value(0.27, 50, 50);
        assert!((p - 0.05).abs() < 0.01, "{p}");
    }
}
