//! Mean and covariance per patch position, gathered image by image.

use faer::{Mat, Side};
use rareclip_core::ComponentError;
use rareclip_core::bank::saturating_bytes;
use rareclip_core::patches::dot;
use rayon::prelude::*;

use crate::error::StatisticsError;

/// Entries of the lower triangle of a `d` x `d` matrix.
pub(crate) fn triangle(d: usize) -> usize {
    d * (d + 1) / 2
}

/// As many zeros as the product of `factors`.
pub(crate) fn zeros<T: Clone + Default>(factors: &[usize]) -> Result<Vec<T>, ComponentError> {
    let count = factors
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor));
    let mut list = Vec::new();
    match count.map(|count| list.try_reserve_exact(count).map(|()| count)) {
        Some(Ok(count)) => list.resize(count, T::default()),
        _ => {
            let bytes = saturating_bytes(factors.iter().copied().chain([size_of::<T>()]));
            return Err(ComponentError::Memory {
                what: "the statistics",
                bytes,
                options: "`dimensions`",
            });
        }
    }
    Ok(list)
}

/// The moments of `positions` vectors of `d` dimensions; after [`factor`](Self::factor), the
/// Gaussians themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moments {
    d: usize,
    /// `[positions, d]`.
    pub(crate) mean: Vec<f32>,
    /// Lower triangles, row by row, `[positions, d (d + 1) / 2]`: first the sum of the outer
    /// products of the deviations from the mean, then the Cholesky factor of the covariance.
    pub(crate) spread: Vec<f32>,
}

impl Moments {
    pub(crate) fn new(positions: usize, d: usize) -> Result<Self, ComponentError> {
        Ok(Self {
            d,
            mean: zeros(&[positions, d])?,
            spread: zeros(&[positions, triangle(d)])?,
        })
    }

    /// Adds one image's vectors `[positions, d]` after `images` others (Welford's update, which
    /// takes no difference of large sums).
    pub(crate) fn add(&mut self, vectors: &[f32], images: u64) {
        let d = self.d;
        let share = 1.0 / (images + 1) as f32;
        let weight = images as f32 * share;
        self.mean
            .par_chunks_exact_mut(d)
            .zip(self.spread.par_chunks_exact_mut(triangle(d)))
            .zip(vectors.par_chunks_exact(d))
            .for_each(|((mean, spread), vector)| {
                let deviation: Vec<f32> = vector.iter().zip(&*mean).map(|(x, m)| x - m).collect();
                let mut rest = spread;
                for (row, &scale) in deviation.iter().enumerate() {
                    let (line, below) = rest.split_at_mut(row + 1);
                    for (sum, &other) in line.iter_mut().zip(&deviation) {
                        *sum += weight * scale * other;
                    }
                    rest = below;
                }
                for (mean, &deviation) in mean.iter_mut().zip(&deviation) {
                    *mean += deviation * share;
                }
            });
    }

    /// Turns the sums of `images` (at least 2) into Cholesky factors of
    /// `covariance + regularisation I` (paper: equation 1).
    pub(crate) fn factor(
        &mut self,
        images: u64,
        regularisation: f64,
    ) -> Result<(), StatisticsError> {
        let d = self.d;
        let degrees = (images - 1) as f64;
        let mut factors: Vec<f32> = zeros(&[self.spread.len()])?;
        factors
            .par_chunks_exact_mut(triangle(d))
            .zip(self.spread.par_chunks_exact(triangle(d)))
            .try_for_each(|(factor, spread)| {
                let covariance = Mat::from_fn(d, d, |row, column| {
                    let (row, column) = (row.max(column), row.min(column));
                    let ridge = if row == column { regularisation } else { 0.0 };
                    f64::from(spread[triangle(row) + column]) / degrees + ridge
                });
                let cholesky = covariance
                    .llt(Side::Lower)
                    .map_err(|_| StatisticsError::Covariance)?;
                let lower = cholesky.L();
                let mut rest = factor;
                for row in 0..d {
                    let (line, below) = rest.split_at_mut(row + 1);
                    for (column, value) in line.iter_mut().enumerate() {
                        *value = lower[(row, column)] as f32;
                    }
                    rest = below;
                    if !(line[row] > 0.0 && line.iter().all(|value| value.is_finite())) {
                        return Err(StatisticsError::Covariance);
                    }
                }
                Ok(())
            })?;
        self.spread = factors;
        Ok(())
    }

    /// The Mahalanobis distance of each of `vectors` `[positions, d]` to its Gaussian (paper:
    /// equation 2).
    pub(crate) fn distances(&self, vectors: &[f32]) -> Vec<f32> {
        let d = self.d;
        self.mean
            .par_chunks_exact(d)
            .zip(self.spread.par_chunks_exact(triangle(d)))
            .zip(vectors.par_chunks_exact(d))
            .map(|((mean, factor), vector)| {
                // L y = x - mean, from the top.
                let mut white = Vec::with_capacity(d);
                let mut rest = factor;
                for (row, (x, mean)) in vector.iter().zip(mean).enumerate() {
                    let (line, below) = rest.split_at(row + 1);
                    white.push((x - mean - dot(&line[..row], &white)) / line[row]);
                    rest = below;
                }
                dot(&white, &white).sqrt()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    fn fitted(images: &[[f32; 2]], regularisation: f64) -> Moments {
        let mut moments = Moments::new(1, 2).unwrap();
        for (seen, image) in images.iter().enumerate() {
            moments.add(image, seen as u64);
        }
        moments.factor(images.len() as u64, regularisation).unwrap();
        moments
    }

    #[test]
    fn independent_dimensions_are_scaled_by_their_deviations() {
        // Deviations of (-1, -2), (1, 2), (-1, 2), (1, -2): variances 4/3 and 16/3, no covariance.
        let moments = fitted(
            &[[9.0, 3.0], [11.0, 7.0], [9.0, 7.0], [11.0, 3.0]],
            1.0 - 1.0 / 3.0,
        );
        // Regularised variances 2 and 6.
        let found = moments.distances(&[12.0, 8.0]);
        assert!(
            (found[0] - (4.0f32 / 2.0 + 9.0 / 6.0).sqrt()).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn correlated_dimensions_are_cheap_along_their_axis() {
        // x = y with variance 1 each: covariance [[1, 1], [1, 1]] + I = [[2, 1], [1, 2]].
        let a = 0.5f32.sqrt();
        let moments = fitted(&[[a, a], [-a, -a]], 1.0);
        let found = [
            moments.distances(&[1.0, 1.0])[0],
            moments.distances(&[1.0, -1.0])[0],
        ];
        assert!((found[0] - (2.0f32 / 3.0).sqrt()).abs() < 1e-6, "{found:?}");
        assert!((found[1] - 2.0f32.sqrt()).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_large_offset_does_not_swamp_a_small_spread() {
        let moments = fitted(&[[4096.0, 0.0], [4096.5, 0.0], [4097.0, 0.0]], 1e-6);
        let found = moments.distances(&[4097.5, 0.0]);
        assert!((found[0] - 2.0).abs() < 1e-3, "{found:?}");
    }
}
