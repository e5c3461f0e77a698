//! Resizing of position embeddings to another patch grid, in 64-bit floats.

use ndarray::{Array2, ArrayView2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a table of position embeddings is brought to another grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PositionResize {
    /// Cubic with a = -0.5, its support widened when shrinking, weights beyond the border left out
    /// and the others scaled to sum 1: how OpenCLIP and RareCLIP resize CLIP's table.
    AntialiasedBicubic,
    /// Cubic with a = -0.75, four taps, border positions repeated: how DINOv2 resizes its table.
    Bicubic,
}

/// Resizes a table `[prefix + rows * columns, width]`; the first `prefix` rows (class token) are
/// copied, the rest is the grid row by row. Corners are not aligned. A grid that already fits is
/// copied.
pub fn resize(
    table: ArrayView2<'_, f32>,
    prefix: usize,
    from: (usize, usize),
    to: (usize, usize),
    rule: PositionResize,
) -> Array2<f32> {
    if from == to {
        return table.to_owned();
    }
    let width = table.ncols();
    let (down, across) = (taps(from.0, to.0, rule), taps(from.1, to.1, rule));
    let mut out = Array2::<f32>::zeros((prefix + to.0 * to.1, width));
    out.slice_mut(s![..prefix, ..])
        .assign(&table.slice(s![..prefix, ..]));
    let mut sum = vec![0.0_f64; width];
    for (row, rows) in down.iter().enumerate() {
        for (column, columns) in across.iter().enumerate() {
            sum.fill(0.0);
            for &(y, weight_y) in rows {
                for &(x, weight_x) in columns {
                    let source = table.row(prefix + y * from.1 + x);
                    for (total, value) in sum.iter_mut().zip(source) {
                        *total += weight_y * weight_x * f64::from(*value);
                    }
                }
            }
            let target = out.row_mut(prefix + row * to.1 + column);
            for (value, total) in target.into_iter().zip(&sum) {
                *value = *total as f32;
            }
        }
    }
    out
}

/// For every position of the new side, the old positions it reads and their weights.
fn taps(from: usize, to: usize, rule: PositionResize) -> Vec<Vec<(usize, f64)>> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|target| {
            let centre = (target as f64 + 0.5) * scale;
            match rule {
                PositionResize::AntialiasedBicubic => antialiased(centre, scale, from),
                PositionResize::Bicubic => plain(centre, from),
            }
        })
        .collect()
}

fn antialiased(centre: f64, scale: f64, from: usize) -> Vec<(usize, f64)> {
    let widening = scale.max(1.0);
    let reach = 2.0 * widening;
    let first = (centre - reach + 0.5).floor().max(0.0) as usize;
    let last = ((centre + reach + 0.5).floor().max(0.0) as usize).min(from);
    let weights: Vec<_> = (first..last)
        .map(|x| (x, cubic((x as f64 + 0.5 - centre) / widening, -0.5)))
        .collect();
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights
        .into_iter()
        .map(|(x, weight)| (x, weight / total))
        .collect()
}

fn plain(centre: f64, from: usize) -> Vec<(usize, f64)> {
    let at = centre - 0.5;
    let base = at.floor();
    (-1..=2)
        .map(|step| {
            let position = base + f64::from(step);
            let inside = position.clamp(0.0, from.saturating_sub(1) as f64) as usize;
            (inside, cubic(at - position, -0.75))
        })
        .collect()
}

/// Keys' cubic convolution kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::{PositionResize, resize};

    #[test]
    fn bicubic_repeats_the_border_and_uses_a_minus_three_quarters() {
        // Two positions to four: centres at -0.25, 0.25, 0.75 and 1.25; weights of Keys' kernel
        // with a = -0.75.
        let table = array![[0.0_f32], [1.0]];
        let out = resize(table.view(), 0, (1, 2), (1, 4), PositionResize::Bicubic);
        let expected = [-0.105_469, 0.226_563, 0.773_438, 1.105_469];
        for (found, expected) in out.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "{found} instead of {expected}"
            );
        }
    }

    #[test]
    fn the_same_grid_is_copied_to_the_bit() {
        let table = Array2::from_shape_fn((10, 3), |(row, column)| (row * 7 + column) as f32 * 0.1);
        for rule in [PositionResize::Bicubic, PositionResize::AntialiasedBicubic] {
            assert_eq!(resize(table.view(), 1, (3, 3), (3, 3), rule), table);
        }
    }

    proptest! {
        #[test]
        fn a_constant_table_stays_constant(from in 1_usize..12, to in 1_usize..24, value in -3.0_f32..3.0) {
            let table = Array2::from_elem((1 + from * from, 2), value);
            for rule in [PositionResize::Bicubic, PositionResize::AntialiasedBicubic] {
                let out = resize(table.view(), 1, (from, from), (to, to), rule);
                prop_assert_eq!(out.dim(), (1 + to * to, 2));
                prop_assert!(out.iter().all(|found| (found - value).abs() < 1e-5));
            }
        }
    }
}
