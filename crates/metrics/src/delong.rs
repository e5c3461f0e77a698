//! Variance of the AUROC and a paired test (DeLong, DeLong & Clarke-Pearson, Biometrics 1988), by
//! mid-ranks (Sun & Xu, IEEE Signal Processing Letters 2014).

use serde::{Deserialize, Serialize};

use super::image::check_scores;
use crate::MetricsError;

/// AUROC with DeLong's variance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AurocVariance {
    /// The AUROC, 0 to 1.
    pub auroc: f64,
    /// Estimated variance of the AUROC.
    pub variance: f64,
    /// Square root of the variance.
    pub standard_error: f64,
}

/// Comparison of two detectors on the same images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// AUROC of the first detector.
    pub auroc_a: f64,
    /// AUROC of the second detector.
    pub auroc_b: f64,
    /// First minus second.
    pub difference: f64,
    /// Estimated standard error of the difference.
    pub standard_error: f64,
    /// Difference in standard errors. `None` if the standard error is 0.
    pub z: Option<f64>,
    /// Two-sided probability of a difference at least this large if the detectors were equally
    /// good. 1 if nothing differs; `None` if the AUROCs differ and the standard error is 0.
    pub p_value: Option<f64>,
}

/// AUROC and its variance. `None` with fewer than two images of either class.
///
/// # Errors
/// [`MetricsError::LengthMismatch`] or [`MetricsError::NonFiniteScore`].
pub fn delong(scores: &[f64], labels: &[bool]) -> Result<Option<AurocVariance>, MetricsError> {
    let placements = Placements::new(scores, labels)?;
    Ok(placements.variance().map(|variance| AurocVariance {
        auroc: placements.auroc(),
        variance,
        standard_error: variance.sqrt(),
    }))
}

/// Tests whether the scores `a` and `b` of the same images differ in AUROC. `None` with fewer than
/// two images of either class.
///
/// # Errors
/// [`MetricsError::LengthMismatch`] or [`MetricsError::NonFiniteScore`].
pub fn delong_paired_test(
    a: &[f64],
    b: &[f64],
    labels: &[bool],
) -> Result<Option<PairedTest>, MetricsError> {
    let (a, b) = (Placements::new(a, labels)?, Placements::new(b, labels)?);
    let Some(variance) = a.minus(&b).variance() else {
        return Ok(None);
    };
    let (auroc_a, auroc_b) = (a.auroc(), b.auroc());
    let difference = auroc_a - auroc_b;
    let standard_error = variance.sqrt();
    let z = (standard_error > 0.0).then(|| difference / standard_error);
    let p_value = match z {
        Some(z) => Some(libm::erfc(z.abs() / std::f64::consts::SQRT_2)),
        None => (difference == 0.0).then_some(1.0),
    };
    Ok(Some(PairedTest {
        auroc_a,
        auroc_b,
        difference,
        standard_error,
        z,
        p_value,
    }))
}

/// Share of the other class that each image is ranked correctly against, ties counting half.
struct Placements {
    anomalous: Vec<f64>,
    normal: Vec<f64>,
}

impl Placements {
    fn new(scores: &[f64], labels: &[bool]) -> Result<Self, MetricsError> {
        check_scores(scores, labels)?;
        let of_class = |class: bool| -> Vec<f64> {
            scores
                .iter()
                .zip(labels)
                .filter(|(_, label)| **label == class)
                .map(|(s, _)| *s)
                .collect()
        };
        let (mut anomalous, mut normal) = (of_class(true), of_class(false));
        let (positives, negatives) = (anomalous.len() as f64, normal.len() as f64);
        let (mut own_anomalous, mut own_normal) = (
            mid_ranks(&anomalous).into_iter(),
            mid_ranks(&normal).into_iter(),
        );
        anomalous.clear();
        normal.clear();
        // Mid-rank among all minus mid-rank among the own class counts the images of the other
        // class below.
        for (rank, label) in mid_ranks(scores).into_iter().zip(labels) {
            if *label {
                anomalous.extend(own_anomalous.next().map(|own| (rank - own) / negatives));
            } else {
                normal.extend(own_normal.next().map(|own| 1.0 - (rank - own) / positives));
            }
        }
        Ok(Self { anomalous, normal })
    }

    fn minus(&self, other: &Self) -> Self {
        let differences = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Self {
            anomalous: differences(&self.anomalous, &other.anomalous),
            normal: differences(&self.normal, &other.normal),
        }
    }

    fn auroc(&self) -> f64 {
        mean(&self.anomalous)
    }

    fn variance(&self) -> Option<f64> {
        (self.anomalous.len() > 1 && self.normal.len() > 1).then(|| {
            sample_variance(&self.anomalous) / self.anomalous.len() as f64
                + sample_variance(&self.normal) / self.normal.len() as f64
        })
    }
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in tied {
            ranks[index] = below as f64 + 0.5 * (tied.len() + 1) as f64;
        }
        below += tied.len();
    }
    ranks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sample_variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values
        .iter()
        .map(|value| (value - centre).powi(2))
        .sum::<f64>()
        / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(mid_ranks(&[2.0, 1.0, 2.0, 0.0]), [3.5, 2.0, 3.5, 1.0]);
    }
}
