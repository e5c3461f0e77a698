//! Confidence interval of the image AUROC by resampling.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::image::check_scores;
use crate::MetricsError;

/// Settings of the bootstrap (Efron, 1979).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Number of resampled sets, at least 1. Default 2000.
    pub resamples: usize,
    /// Probability the interval should cover, above 0 and below 1. Default 0.95.
    pub confidence: f64,
    /// Seed of the generator; the same seed gives the same interval on every machine. Default 0.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 2000,
            confidence: 0.95,
            seed: 0,
        }
    }
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Percentile bootstrap interval of the image AUROC. Images are drawn with replacement within their
/// class, so that no resample lacks one. `None` if only one class is present.
///
/// # Errors
/// [`MetricsError::LengthMismatch`], [`MetricsError::NonFiniteScore`] or
/// [`MetricsError::InvalidParameter`].
pub fn bootstrap_auroc(
    scores: &[f64],
    labels: &[bool],
    settings: &Bootstrap,
) -> Result<Option<Interval>, MetricsError> {
    check_scores(scores, labels)?;
    check_settings(settings)?;
    let (normal, anomalous, distinct) = levels(scores, labels);
    if normal.is_empty() || anomalous.is_empty() {
        return Ok(None);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut counts = vec![[0_u64; 2]; distinct];
    let mut aurocs: Vec<f64> = (0..settings.resamples)
        .map(|_| {
            counts.fill([0; 2]);
            for (class, members) in [&normal, &anomalous].into_iter().enumerate() {
                for _ in 0..members.len() {
                    counts[members[rng.random_range(0..members.len())]][class] += 1;
                }
            }
            auroc_of_counts(&counts, normal.len(), anomalous.len())
        })
        .collect();
    aurocs.sort_unstable_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - settings.confidence);
    Ok(Some(Interval {
        low: quantile(&aurocs, tail),
        high: quantile(&aurocs, 1.0 - tail),
    }))
}

fn check_settings(settings: &Bootstrap) -> Result<(), MetricsError> {
    if settings.resamples == 0 {
        return Err(MetricsError::InvalidParameter {
            name: "resamples",
            value: 0.0,
            allowed: "at least 1",
        });
    }
    if !(settings.confidence > 0.0 && settings.confidence < 1.0) {
        return Err(MetricsError::InvalidParameter {
            name: "confidence",
            value: settings.confidence,
            allowed: "above 0 and below 1",
        });
    }
    Ok(())
}

/// Replaces scores by the rank of their distinct value: ranks of normal images, of anomalous ones,
/// and their number.
fn levels(scores: &[f64], labels: &[bool]) -> (Vec<usize>, Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let (mut normal, mut anomalous, mut distinct) = (Vec::new(), Vec::new(), 0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        for &image in tied {
            if labels[image] {
                anomalous.push(distinct)
            } else {
                normal.push(distinct)
            }
        }
        distinct += 1;
    }
    (normal, anomalous, distinct)
}

/// AUROC from the number of normal and anomalous images at each ascending score.
fn auroc_of_counts(counts: &[[u64; 2]], normal: usize, anomalous: usize) -> f64 {
    let (mut below, mut doubled_wins) = (0, 0);
    for [tied, positives] in counts {
        doubled_wins += positives * (2 * below + tied);
        below += tied;
    }
    doubled_wins as f64 / (2.0 * normal as f64 * anomalous as f64)
}

/// Quantile `q` in [0, 1] of ascending, non-empty `values`, interpolated linearly.
fn quantile(values: &[f64], q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let (index, share) = (position.floor() as usize, position.fract());
    let next = values[(index + 1).min(values.len() - 1)];
    values[index] + share * (next - values[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_interpolates_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.0), 1.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), 4.0);
    }

    #[test]
    fn the_whole_sample_as_its_own_resample_has_the_plain_auroc() {
        let (scores, labels) = ([0.1, 0.4, 0.4, 0.8], [false, true, false, true]);
        let (normal, anomalous, distinct) = levels(&scores, &labels);
        let mut counts = vec![[0; 2]; distinct];
        normal.iter().for_each(|&level| counts[level][0] += 1);
        anomalous.iter().for_each(|&level| counts[level][1] += 1);
        assert_eq!(auroc_of_counts(&counts, 2, 2), 0.875);
    }
}
