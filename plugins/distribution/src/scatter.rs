//! Mean and covariance of all patches together, gathered image by image.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2, Axis};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

use rareclip_core::ComponentError;

use crate::error::StatisticsError;
use crate::moments::zeros;

/// Running sums over vectors of one width.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scatter {
    /// Vectors so far.
    pub(crate) count: u64,
    /// `[width]`.
    pub(crate) mean: Vec<f64>,
    /// Sum of the outer products of the deviations from the mean, `[width, width]`.
    pub(crate) sums: Vec<f64>,
}

/// The directions outside the principal subspace.
pub(crate) struct Outside {
    /// An orthonormal basis `[directions, width]`.
    pub(crate) basis: Array2<f32>,
    /// Dimensions of the principal subspace.
    pub(crate) components: usize,
}

impl Scatter {
    pub(crate) fn new(width: usize) -> Result<Self, ComponentError> {
        Ok(Self {
            count: 0,
            mean: zeros(&[width])?,
            sums: zeros(&[width, width])?,
        })
    }

    /// Adds finite vectors `[n, width]`: their own deviations, and that of their mean from the mean
    /// so far.
    pub(crate) fn add(&mut self, vectors: ArrayView2<'_, f32>) {
        let (added, width) = vectors.dim();
        let mut own = vectors.mapv(f64::from);
        let Some(mean) = own.mean_axis(Axis(0)) else {
            return;
        };
        own -= &mean;
        let own = own.into_raw_vec_and_offset().0;
        let own = MatRef::from_row_major_slice(&own, added, width);
        matmul(
            MatMut::from_row_major_slice_mut(&mut self.sums, width, width),
            Accum::Add,
            own.transpose(),
            own,
            1.0,
            Par::rayon(0),
        );
        let before = self.count as f64;
        let share = added as f64 / (before + added as f64);
        let shift: Vec<f64> = mean
            .iter()
            .zip(&self.mean)
            .map(|(new, old)| new - old)
            .collect();
        for (line, &scale) in self.sums.chunks_exact_mut(width.max(1)).zip(&shift) {
            for (sum, &other) in line.iter_mut().zip(&shift) {
                *sum += before * share * scale * other;
            }
        }
        for (mean, shift) in self.mean.iter_mut().zip(&shift) {
            *mean += share * shift;
        }
        self.count += added as u64;
    }

    /// The directions that remain when the fewest principal ones are taken that explain `share` of
    /// the variance.
    pub(crate) fn outside(&self, share: f64) -> Result<Outside, StatisticsError> {
        let width = self.mean.len();
        let sums = MatRef::from_row_major_slice(&self.sums, width, width);
        let eigen = sums
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| StatisticsError::Covariance)?;
        // Ascending; rounding leaves those of no variance a little below zero.
        let variances: Vec<f64> = (0..width).map(|at| eigen.S()[at].max(0.0)).collect();
        let wanted = share * variances.iter().sum::<f64>();
        let mut explained = 0.0;
        let mut components = 0;
        for variance in variances.iter().rev() {
            explained += variance;
            components += 1;
            if explained >= wanted {
                break;
            }
        }
        let vectors = eigen.U();
        let basis = Array2::from_shape_fn((width - components, width), |(direction, at)| {
            vectors[(at, direction)] as f32
        });
        Ok(Outside { basis, components })
    }

    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let width = self.mean.len();
        writer.value("count", &self.count);
        writer.ints("mean", &[width, 2], halves(&self.mean));
        writer.ints("sums", &[width, width, 2], halves(&self.sums));
    }

    pub(crate) fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.count = reader.value("count")?;
        self.mean = doubles(reader, "mean", &[self.mean.len(), 2])?;
        let width = self.mean.len();
        self.sums = doubles(reader, "sums", &[width, width, 2])?;
        Ok(())
    }
}

/// Both halves of every number, the lower first: a state file holds 32 bits an entry.
fn halves(values: &[f64]) -> Vec<u32> {
    let split = |value: &f64| {
        let bits = value.to_bits();
        [bits as u32, (bits >> 32) as u32]
    };
    values.iter().flat_map(split).collect()
}

fn doubles(
    reader: &SnapshotReader<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f64>, SnapshotError> {
    let (found, values) = reader.ints(name)?;
    let entry = |problem: String| SnapshotError::Entry {
        name: name.to_owned(),
        problem,
    };
    if found != shape {
        return Err(entry(format!("has shape {found:?}, expected {shape:?}")));
    }
    let join = |pair: &[u32]| f64::from_bits(u64::from(pair[0]) | u64::from(pair[1]) << 32);
    let values: Vec<f64> = values.chunks_exact(2).map(join).collect();
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(entry("holds NaN or infinite values".into()))
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::Scatter;

    #[test]
    fn images_one_by_one_equal_all_at_once() {
        let all = arr2(&[[1.0, 2.0], [3.0, 5.0], [-2.0, 0.0], [0.5, 7.0], [4.0, 4.0]]);
        let mut whole = Scatter::new(2).unwrap();
        whole.add(all.view());
        let mut parts = Scatter::new(2).unwrap();
        parts.add(all.slice(ndarray::s![..2, ..]));
        parts.add(all.slice(ndarray::s![2.., ..]));
        let pairs = whole.sums.iter().zip(&parts.sums);
        assert!(pairs.map(|(a, b)| (a - b).abs()).all(|gap| gap < 1e-12));
        assert_eq!((parts.count, whole.mean.len()), (5, parts.mean.len()));
        assert!((parts.mean[0] - 1.3).abs() < 1e-12 && (parts.mean[1] - 3.6).abs() < 1e-12);
    }

    #[test]
    fn the_fewest_directions_that_explain_enough_are_taken() {
        let mut scatter = Scatter::new(3).unwrap();
        // Variances 8, 2 and 0 of 10.
        scatter.add(
            arr2(&[
                [2.0, 0.0, 0.0],
                [-2.0, 0.0, 0.0],
                [0.0, 1.0, 0.0],
                [0.0, -1.0, 0.0],
            ])
            .view(),
        );
        let components = |share| scatter.outside(share).unwrap().components;
        assert_eq!(
            [components(0.5), components(0.79), components(0.81)],
            [1, 1, 2]
        );
        let outside = scatter.outside(0.5).unwrap();
        assert_eq!(outside.basis.dim(), (2, 3));
        assert!(
            outside
                .basis
                .column(0)
                .iter()
                .all(|value| value.abs() < 1e-6)
        );
    }
}
