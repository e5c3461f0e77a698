//! Image-level metrics.

use serde::{Deserialize, Serialize};

use super::sweep::{Block, Sweep};
use crate::MetricsError;

/// Image-level metrics of one set; `None` means n/a.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageMetrics {
    /// Number of images.
    pub images: usize,
    /// How many of them are anomalous.
    pub anomalous: usize,
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
}

/// Computes the metrics of `scores` (higher = more anomalous) against `labels` (`true` =
/// anomalous).
///
/// # Errors
/// [`MetricsError::LengthMismatch`] or [`MetricsError::NonFiniteScore`].
pub fn image_metrics(scores: &[f64], labels: &[bool]) -> Result<ImageMetrics, MetricsError> {
    check_scores(scores, labels)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let anomalous = labels.iter().filter(|&&label| label).count();
    let mut sweep = Sweep::new((labels.len() - anomalous) as u64, anomalous as u64, 0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let positives = tied.iter().filter(|&&i| labels[i]).count() as u64;
        sweep.add(Block {
            threshold: scores[tied[0]],
            tied: true,
            normal: tied.len() as u64 - positives,
            anomalous: positives,
            overlap: 0.0,
        });
    }
    let result = sweep.finish();
    Ok(ImageMetrics {
        images: scores.len(),
        anomalous,
        auroc: result.auroc,
        ap: result.ap,
        f1_max: result.f1_max,
        f1_threshold: result.f1_threshold,
    })
}

/// Refuses lists of different length and scores that have no place in an order.
pub(super) fn check_scores(scores: &[f64], labels: &[bool]) -> Result<(), MetricsError> {
    if scores.len() != labels.len() {
        return Err(MetricsError::LengthMismatch {
            what: "scores and labels",
            left: scores.len(),
            right: labels.len(),
        });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(index) => Err(MetricsError::NonFiniteScore {
            index,
            value: scores[index],
        }),
        None => Ok(()),
    }
}
