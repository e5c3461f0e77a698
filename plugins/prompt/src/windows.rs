//! The map of windows: every window of the image judged on its own (WinCLIP, CVPR 2023, section 4.2).

use ndarray::{Array1, ArrayView1};
use rareclip_core::{Features, Grid};

use crate::heads::TextSide;
use crate::{Error, Result};

/// The probability of every patch `[patches]`: the harmonic mean over the windows that hold it, then over all sides and the
/// probability `image` of the whole image.
pub(crate) fn map(
    features: &Features,
    sides: &[usize],
    image: f32,
    text: &TextSide,
) -> Result<Array1<f32>> {
    let patches = features.grid.patches();
    let mut inverse = Array1::from_elem(patches, f64::from(image).recip());
    for &side in sides {
        let windows = features.windows.get(&side).ok_or_else(|| Error::Windows {
            side,
            available: features.windows.keys().copied().collect(),
        })?;
        let probabilities: Result<Vec<f32>> = windows
            .rows()
            .into_iter()
            .map(|window| text.probability(&window.to_vec(), "a window"))
            .collect();
        let map = spread(ArrayView1::from(&probabilities?), side, features.grid);
        inverse.zip_mut_with(&map, |sum, &value| *sum += value.recip());
    }
    let count = (1 + sides.len()) as f64;
    Ok(inverse.mapv(|sum| ((count / sum) as f32).clamp(0.0, 1.0)))
}

/// Per patch the harmonic mean of the values of all windows that hold it; 0 where one of them is 0.
fn spread(values: ArrayView1<'_, f32>, side: usize, grid: Grid) -> Array1<f64> {
    let columns = (grid.columns + 1).saturating_sub(side);
    let mut inverse = vec![0.0f64; grid.patches()];
    let mut count = vec![0.0f64; grid.patches()];
    for (window, &value) in values.iter().enumerate() {
        let (top, left) = (window / columns.max(1), window % columns.max(1));
        for row in top..top + side {
            for column in left..left + side {
                let patch = row * grid.columns + column;
                inverse[patch] += f64::from(value).recip();
                count[patch] += 1.0;
            }
        }
    }
    inverse
        .into_iter()
        .zip(count)
        .map(|(inverse, count)| count / inverse)
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rareclip_core::Grid;

    use super::spread;

    #[test]
    fn a_patch_gets_the_harmonic_mean_of_the_windows_that_hold_it() {
        let grid = Grid {
            rows: 2,
            columns: 3,
        };
        // Two windows of 2 x 2: the middle column lies in both.
        let map = spread(array![0.2f32, 0.6].view(), 2, grid);
        let mean = 2.0 / (1.0 / 0.2 + 1.0 / 0.6);
        for row in 0..2 {
            assert!((map[row * 3] - 0.2).abs() < 1e-6);
            assert!((map[row * 3 + 1] - mean).abs() < 1e-6);
            assert!((map[row * 3 + 2] - 0.6).abs() < 1e-6);
        }
    }

    #[test]
    fn a_window_that_is_surely_normal_makes_its_patches_so() {
        let grid = Grid {
            rows: 1,
            columns: 2,
        };
        let map = spread(array![0.0f32, 0.6].view(), 1, grid);
        assert_eq!(map[0], 0.0);
    }
}
